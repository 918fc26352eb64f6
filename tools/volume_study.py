"""Errors of calibrated volumes, coverage and width of their intervals, on test subjects of runs.

    PYTHONPATH=. python tools/volume_study.py RUN ... [--calibration=KIND] [--unused=N] [--draws=R]

For each run and structure, a row for each set of calibration subjects: the run's validation
subjects, and N others that the run never saw (of --draws draws from --pool of them, the mean);
training subjects choose the kind of interval. Beside them, from the voxels of p > 0.975 to those of
p > 0.025; and, of many annotators, `relative` around the mean volume of all but the first: the
human limit. Errors are mean absolute relative ones against annotator 1 (of --labels=sample|mean,
the mean of all); held is the share of subjects all of whose volumes are inside, annotators that of
all annotators' volumes.
"""

import dataclasses
import functools
import itertools
import random

import numpy as np
import studies

from bwcr_tf.data import cache, datasets
from bwcr_tf.evaluation import (
    calibration,
    calibration_record,
    conformal,
    inference,
    significance,
    tile_choice,
    volume_choice,
    volume_estimator,
    volume_scans,
    volume_scores,
    volumes,
)
from bwcr_tf.system import command
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, labels, training_data

HEADS = ("volume", "error", "label's", "interval", "promised", "held", "annotators", "width_ml")


def cases_of(folder, arguments):
    """(RunSpec, {part: Cases}, names of unused subjects, labels as by --labels) of a run."""
    spec, flags, directory, kept = studies.load(folder, arguments)
    spec = dataclasses.replace(spec, calibration=())
    own = {*spec.training, *spec.validation, *spec.test}
    pool = [s for s in datasets.find(spec.dataset, directory).pool if s.name not in own]
    pool = random.Random(0).sample(pool, min(arguments.pool, len(pool)))
    if len(pool) < arguments.unused:
        raise DataError(
            f"{folder}: {len(pool)} unused subjects to draw from; expected {arguments.unused}"
        )
    parts = ("training", "validation", "test")
    subjects = {part: spec.subjects(part, directory) for part in parts}
    subjects["training"] = subjects["training"][:20]  # as export.calibration_cases
    found = {
        part: cache.prepare(some, spec.settings, kept)
        for part, some in (subjects | {"unused": pool}).items()
    }
    kind = flags.get("labels", "first")
    for part in ("training", "validation", "unused"):
        found[part] = labels.select_annotators(found[part], kind)
    return spec, found, [subject.name for subject in pool], kind


def measure(predict, spec, cases, test, frequencies, first, arguments):
    """{class: row} of volume_scores.summarize for the test Cases after one calibration."""
    asked = arguments.calibration, arguments.coverage, None, frequencies
    record = calibration_record.make(predict, cases, spec, *asked)
    its_map = calibration_record.to_map(record, spec.settings.num_classes)
    rules = volume_choice.rules(record["volumes"], spec.classes)
    beyond, rows = tile_choice.beyond(record), []
    for scan in (volume_scans.scan(predict, case, its_map, beyond) for case in test):
        rows += volume_scores.score(scan, rules, spec.classes, first)
    return volume_scores.summarize(rows, record["volumes"], spec.classes)["classes"]


def earlier(predict, spec, test, frequencies, first):
    """{class: (coverage, of annotators, width in ml)} of p > 0.975 to p > 0.025, by the centre."""
    no_map = calibration.identity(len(spec.classes) + 1)
    scans = [volume_scans.scan(predict, case, no_map, frequencies) for case in test]
    subjects = [scan.subject for scan in scans]
    result = {}
    for c, name in enumerate(spec.classes, start=1):
        p = (scan.probabilities()[..., c] for scan in scans)
        ends = np.array([[(each > t).sum() for t in (0.975, 0.025)] for each in p])
        drawn = [scan.true_sizes()[:, c - 1] for scan in scans]
        drawn = [np.r_[d[0] if first else d.mean(), d] for d in drawn]  # the true one first
        inside = [(low <= d) & (d <= high) for (low, high), d in zip(ends, drawn, strict=True)]
        held = significance.by_subject(subjects, [i[0] for i in inside], all)
        ml = np.ptp(ends, axis=1) * [scan.voxel_ml() for scan in scans]
        width = significance.by_subject(subjects, ml, np.mean).mean()
        result[name] = held.mean(), np.mean([i[1:].mean() for i in inside]), width
    return result


def ceiling(test, classes, arguments):
    """{class: rows as of `measure`, of draws} of intervals around the other annotators' mean."""
    nothing, subjects = np.empty((0, len(classes) + 1)), [case.subject for case in test]
    scans = [volume_scans.Scan(case.subject, nothing, case.grid, case) for case in test]
    sizes = [scan.true_sizes() for scan in scans]
    names = list(dict.fromkeys(subjects))
    by_subject = functools.partial(significance.by_subject, subjects)
    result = {name: [] for name in classes}
    level = conformal.level(arguments.unused, arguments.coverage)
    for (c, name), draw in itertools.product(enumerate(classes), range(arguments.draws)):
        true = np.array([each[0, c] for each in sizes])
        others = np.array([each[1:, c].mean() for each in sizes])
        unit = np.maximum(others, volumes.FLOOR)
        known = np.isin(names, random.Random(draw).sample(names, arguments.unused))
        scores = by_subject(np.abs(true - others) / unit, max)
        score = conformal.quantile(scores[known], arguments.coverage)
        ends = np.maximum(others - score * unit, 0), others + score * unit
        width = by_subject([s.voxel_ml() for s in scans] * (ends[1] - ends[0]), np.mean)
        error = by_subject(volume_estimator.relative_errors(others, true), np.mean)
        row = {"volume": "annotators", "kind": "relative", "label_error": None}
        row |= {"calibrated_error": error.mean(), "annotators_inside": None}
        row |= {"level": level, "covered": (scores <= score)[~known].sum()}
        row |= {"subjects": (~known).sum(), "width_ml": width[~known].mean()}
        result[name].append(row)
    return result


def line(title, rows):
    """A row of the table: means over draws."""

    def mean(value):
        found = [value(row) for row in rows]
        return np.nan if None in found else np.mean(found)

    cells = [
        ", ".join(sorted({row["volume"].partition(" x")[0] for row in rows})),
        f"{100 * mean(lambda row: row['calibrated_error']):.1f}",
        f"{100 * mean(lambda row: row['label_error']):.1f}",
        ", ".join(sorted({row["kind"] for row in rows})),
        f"{100 * conformal.rounded_down(rows[0]['level']):.1f}",
        f"{100 * mean(lambda row: row['covered'] / row['subjects']):.1f}",
        f"{100 * mean(lambda row: row['annotators_inside']):.1f}",
        f"{mean(lambda row: row['width_ml']):.3g}",
    ]
    return f"{title} | {' | '.join(cells)}"


def study(folder, arguments):
    """Prints the table of one run."""
    spec, cases, unused, kind = cases_of(folder, arguments)
    predict = studies.memoized(inference.predictor(checkpoints.load_best(folder)))
    known = training_data.describe(cases["training"], spec.settings.num_classes)
    frequencies = tuple(known["class_frequencies"])
    fixed = {"test": cases["test"], "frequencies": frequencies, "first": kind == "first"}
    run = functools.partial(measure, predict, **fixed, arguments=arguments)
    seen = {part: cases[part] for part in ("training", "validation")}
    own = run(spec, cases=seen)
    drawn = []
    for draw in range(arguments.draws):
        names = tuple(random.Random(draw).sample(unused, arguments.unused))
        some = [case for case in cases["unused"] if case.subject in names]
        parts = seen | {"calibration": some}
        drawn.append(run(dataclasses.replace(spec, calibration=names), cases=parts))
    before = earlier(predict, spec, **fixed)
    several = all(len(case.other_label_maps) for case in cases["test"])
    enough = len(spec.test) > arguments.unused
    people = ceiling(cases["test"], spec.classes, arguments) if several and enough else {}
    print(f"\n{folder}: {len(spec.test)} test subjects, calibration {arguments.calibration}")
    print(f"structure, calibrated on | {' | '.join(HEADS)}")
    for name in spec.classes:
        print(line(f"{name}, {len(spec.validation)} validation", [own[name]]))
        print(line(f"{name}, {arguments.unused} unused", [each[name] for each in drawn]))
        held, annotators, width = before[name]
        cells = f"{100 * held:.1f} | {100 * annotators:.1f} | {width:.3g}"
        print(f"{name}, p > 0.975 to p > 0.025 | | | | | | {cells}", flush=True)
        if people:
            print(line(f"{name}, other annotators", people[name]), flush=True)


def main():
    parser = studies.parser(__doc__)
    parser.add_argument("--calibration", default="none")
    parser.add_argument("--coverage", type=float, default=0.9)
    parser.add_argument("--unused", type=int, default=20)
    parser.add_argument("--pool", type=int, default=100)
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    for folder in arguments.runs:
        study(folder, arguments)


if __name__ == "__main__":
    with command.errors_in_one_line():
        main()
