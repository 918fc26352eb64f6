"""Scores on test scans made worse (evaluate.py --shift) against the severity, by method."""

import collections
import itertools
import json
import math

import matplotlib.pyplot as plt

from bwcr_tf.data.shifts import SHIFTS
from bwcr_tf.evaluation import significance
from bwcr_tf.evaluation.figures import place_legend, save
from bwcr_tf.report import names, notes, page, run_scores
from bwcr_tf.report.tables import show
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

SEVERITIES = range(6)  # 0: as they are
_MEASURES = {  # title: keys of summary.json, before and after the calibration map
    "Dice": (("scores", "all", "dice", "mean"), None),
    "ECE": (("scores", "all", "ece", "mean"), ("scores_calibrated", "all", "ece", "mean")),
    "ECE against the annotators": (("annotators", "scores", "all", "ece", "mean"), None),
}


def make_blocks(folder, setting, methods):
    """The figure and the table of {method: Runs}; [] if no run was scored on shifted scans."""
    curves, counts = {}, {}  # {(shift, measure): {line: values of SEVERITIES}}, and runs
    for method, found in methods.items():
        for shift, summaries in _by_shift(found).items():
            for measure, line, keys in _lines(method, found):
                if kept := _without_gaps(summaries, keys):
                    values = [significance.mean(run.get(s) for run in kept) for s in SEVERITIES]
                    curves.setdefault((shift, measure), {})[line] = values
                    counts.setdefault(line, {})[f"{measure} with {shift}"] = len(kept)
    if not curves:
        return []
    return [_figure(folder, setting, methods, curves), _table(setting, curves, counts)]


def _lines(method, found):
    """(measure, name of a line, keys of summary.json) of all that is shown of a method's Runs."""
    mapped = all(
        run.summary.get("calibration", {}).get("kind", "none") != "none" for run in found
    )
    for measure, (keys, calibrated) in _MEASURES.items():
        if keys[0] == "annotators" and not all(run.annotated for run in found):
            continue  # of a phantom, which has true probabilities in their place
        yield measure, method, keys
        if calibrated and mapped:
            yield measure, f"{method}, calibrated", calibrated


def _by_shift(found):
    """{shift: [{severity: summary} of each of the Runs that has it]}, in the order of SHIFTS."""
    result = collections.defaultdict(list)
    for run in found:
        summaries = [_read(path) for path in sorted(run.folder.glob("shifts/*/summary.json"))]
        _leave_out_other_maps(run, summaries)
        own = {}
        for summary in summaries:
            shift, severity = summary["shift"]
            own.setdefault(shift, {0: run.summary})[severity] = summary
        for shift, by_severity in own.items():
            result[shift].append(by_severity)
    return {shift: result[shift] for shift in SHIFTS if shift in result}


def _without_gaps(summaries, keys):
    """The numbers under `keys`, {severity: number} of each run, that a line is the means of.

    All runs have all its severities, since a run that has but some would move their means alone.
    Of what the runs have, that is the most numbers; of as many, those of more runs.
    """
    runs = [{s: run_scores.number(each[s], *keys) for s in each} for each in summaries]

    def having(severities):
        rows = ([run.get(s) for s in severities] for run in runs)
        return [dict(zip(severities, row, strict=True)) for row in rows if None not in row]

    sizes = range(1, len(SEVERITIES) + 1)
    choices = (some for size in sizes for some in itertools.combinations(SEVERITIES, size))
    tables = (having(severities) for severities in choices if any(severities))
    return max(tables, key=lambda table: sum(map(len, table)))


def _read(path):
    """The summary.json of a shift."""
    try:
        summary = json.loads(path.read_text("utf-8"))
        shift, severity = summary["shift"]
        if shift not in SHIFTS or severity not in SEVERITIES[1:]:
            raise ValueError(f"{shift}:{severity}")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the summary of a shift ({error!r})") from error
    return summary


def _leave_out_other_maps(run, summaries):
    """Deletes the calibrated scores that are after another map than the Run's, with a warning."""
    own = _map(run.summary)
    others = [each for each in summaries if own and _map(each) and _map(each) != own]
    for summary in others:
        del summary["scores_calibrated"]
    if others:
        shifts = ",".join("{}:{}".format(*each["shift"]) for each in others)
        errors.warn(
            f"{run.folder}: its shifted scores are calibrated by another map than its others; "
            f"left out, until evaluate.py --shift={shifts} is run again"
        )


def _map(summary):
    """The calibration map of a summary.json; None in one of an earlier version."""
    return summary.get("calibration", {}).get("map")


def _figure(folder, setting, methods, curves):
    """A row of axes for each measure, a column for each shift."""
    looks = names.lines(methods)
    shifts, measures = ([*dict.fromkeys(key[i] for key in curves)] for i in range(2))
    size = (max(2.6 * len(shifts), 4.5), 2.5 * len(measures))
    figure, axes = plt.subplots(
        len(measures), len(shifts), figsize=size, sharex=True, sharey="row", squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for row, measure in zip(axes, measures, strict=True):
        for axis, shift in zip(row, shifts, strict=True):
            for line, values in curves.get((shift, measure), {}).items():
                look = looks[line.removesuffix(", calibrated")]
                look = look | ({} if line in methods else {"linestyle": ":", "marker": ""})
                pairs = [(s, 100 * v) for s, v in enumerate(values) if not math.isnan(v)]
                axis.plot(*zip(*pairs, strict=True), **look, label=line)
        row[0].set_ylabel(f"{measure}, per cent", fontsize=8)
    for axis, shift in zip(axes[0], shifts, strict=True):
        axis.set_title(shift, fontsize=9)
    for axis in axes[-1]:
        axis.set(xlabel="severity", xticks=SEVERITIES)
    place_legend(figure, axes[min(1, len(measures) - 1), 0])
    path = names.path(folder, "shifts", methods)
    save(figure, path)
    return page.Figure(path, f"Test scans made worse, means over runs and volumes: {setting}.")


def _table(setting, curves, counts):
    """A row for each shift, measure and line."""
    header = ["Shift", "measure", "method", *map(str, SEVERITIES)]
    rows = [
        [shift, measure, line, *map(show, values)]
        for (shift, measure), lines in curves.items()
        for line, values in lines.items()
    ]
    named = {}
    for line, of_line in counts.items():
        alike = len({*of_line.values()}) == 1
        named |= {line if alike else f"{line}, {what}": n for what, n in of_line.items()}
    note = (
        "Per cent, by severity: 0 is the scans as they are. Values: docs/shifts.md. Means over "
        f"volumes and {notes.counted(named)} A line is of the same runs at all its severities."
    )
    return page.Table(
        f"Test scans made worse, {setting}", header, sorted(rows, key=_order), note
    )


def _order(row):
    return list(SHIFTS).index(row[0]), list(_MEASURES).index(row[1])
