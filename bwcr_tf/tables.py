"""The numbers of a report: runs read from their folders, and the tables made of them."""

import collections
import csv
import json
import math
import pathlib
from typing import NamedTuple

import numpy as np
from scipy import stats

from bwcr_tf import conventions, page, runs, statistics
from bwcr_tf.scans import DataError

# Tables 2 and 1: mean and sd of Dice, ECE and TACE (x 10) in per cent; N_tr or data set across.
_TABLE_2 = {
    ("nci", 6, 12, 36): """
        baseline 55 16 41 16 15 4   58 17 39 16 16 5   68 13 27 11 13 4
        da       66 13 24 12 11 4   69 13 23 11 12 4   75 11 13  9  7 3
        svls     66 14 23 13 11 4   68 14 20 11  9 3   75 12 14  9  7 2
        mls      66 14 31 15 13 5   68 14 22 10 11 4   75 12 14 10  7 2
        cr       65 14 18 14  6 3   68 14 18 14  6 3   73 12  9  9  4 2
        bwcr     67 13 14 12  5 3   69 13 13 12  3 1   75 11  7  7  3 1""",
    ("acdc", 5, 10, 95): """
        baseline 58 15 37 17 18 6   67 15 22 13  8 6   86  6  8  6  6 2
        da       76 12 20 14 10 4   82  8 11  9  6 3   90  3  4  3  3 2
        svls     75 12 19 14  8 4   83  7  9  8  5 3   90  3  3  3  3 2
        mls      75 12 20 14  9 4   82  8 12  9  7 3   90  3  3  3  3 2
        cr       75 12 13 12  5 2   81  8  8  6  4 1   88  4  7  2  4 1
        bwcr     75 11 11 10  5 2   82  8  8  5  4 1   89  3  8  2  4 1""",
}


_TABLE_1 = """
        0    66 13 24 14 11 4   76 12 20 14 10 4
        0.01 66 13 25 13 12 4   75 13 19 14  9 3
        0.1  66 14 24 14 11 3   75 12 17 14  7 3
        1    65 14 18 14  6 3   75 12 13 12  5 2
        10   63 13 13 12  1 1   70 12 16 11  1 0"""


def _parse(text, columns):
    """{(row, column): [(mean, sd)] of Dice, ECE, TACE} of a block of numbers."""
    found = {}
    for line in text.split("\n")[1:]:
        name, *numbers = line.split()
        for column, cell in zip(columns, np.reshape(numbers, (-1, 3, 2)), strict=True):
            found[name, column] = [tuple(map(int, pair)) for pair in cell]
    return found


PAPER_TABLE_2 = {name: _parse(text, ntr) for (name, *ntr), text in _TABLE_2.items()}


PAPER_TABLE_1 = _parse(_TABLE_1, ("nci", "acdc"))


METHODS = [name for name, ntr in PAPER_TABLE_2["acdc"] if ntr == 5]  # the paper's order


METRICS = {  # title: column of scores.csv, factor, which is best
    "Dice": ("dice", 100, max),
    "ECE": ("ece", 100, min),
    "TACE×10": ("tace_paper", 1000, min),  # the paper's convention
    "TACE": ("tace", 100, min),
}


TESTED = {name: METRICS[name] for name in ("Dice", "ECE", "TACE×10")}  # TACE's test is the same


FURTHER = {
    "HD95 mm": ("hd95_mm", 1, min),
    "ECE of all pixels": ("ece_all", 100, min),
    "NLL": ("nll", 1, min),
    "Brier": ("brier", 1, min),
}


class Run(NamedTuple):
    """A scored run; `scale` is the factor on lambda, `calibrated` is [] without a temperature."""

    dataset: str
    ntr: int
    method: str
    number: str
    scale: float
    flags: dict
    split: dict
    rows: list  # of scores.csv, dicts of texts
    calibrated: list  # of scores_calibrated.csv
    last: list  # of scores_last.csv, the averages of the last step
    summary: dict
    folder: pathlib.Path


def load(root):
    """All scored Runs below `root`, in the paper's order of methods.

    Raises:
      DataError: there are none, or a file is missing or broken.
    """
    found = [_load_run(path.parent) for path in sorted(root.rglob("scores.csv"))]
    if not found:
        raise DataError(f"{root}: no scores.csv in it or below; see evaluate.py")
    order = [*METHODS, *sorted({run.method for run in found} - set(METHODS))]
    return sorted(found, key=lambda r: (r.dataset, r.ntr, order.index(r.method), r.scale))


def _load_run(folder):
    given = runs.read_flags(folder)
    try:
        summary, split = (
            json.loads((folder / f"{name}.json").read_text("utf-8"))
            for name in ("summary", "split")
        )
        dataset = given["dataset"]
        if dataset == "nnunet":  # of which there are many
            dataset = pathlib.Path(given["data_dir"]).name
        name = dataset, int(given["ntr"]), given["method"], given["run"]
        names = ("scores", "scores_calibrated", "scores_last")
        tables = [_rows(folder / f"{kind}.csv") for kind in names]
        scale = float(given["consistency_scale"])
        return Run(*name, scale, given, split, *tables, summary, folder)
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{folder}: not a whole run ({error!r})") from error


def _rows(path):
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def group(found, key):
    """{key(run): Runs}, in order."""
    groups = collections.defaultdict(list)
    for run in found:
        groups[key(run)].append(run)
    return dict(groups)


def scores(found, column, rows="rows"):
    """{(subject, volume, run): value}, the mean over classes, of a column of scores.csv."""
    values = collections.defaultdict(list)
    for run in found:
        for row in getattr(run, rows):
            whole = row["class"] == "all"
            if row[column] and whole != (column == "hd95_mm"):  # which only classes have
                values[row["subject"], row["volume"], run.number].append(float(row[column]))
    return {key: mean(value) for key, value in values.items()}


def mean(values):
    """Mean of what is neither None nor NaN; NaN if nothing is."""
    values = [value for value in values if value is not None and not math.isnan(value)]
    return float(np.mean(values)) if values else math.nan


def average(found, *keys):
    """Mean over runs of the number under `keys` in summary.json; NaN where it is in none."""

    def dig(value):
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    return mean(dig(run.summary) for run in found)


def label(name):
    """A method's name in a table."""
    return name.title() if name == "baseline" else name.upper()


def show(value, factor=100.0, digits=1, sign=""):
    """A fraction as text in units of 1 / `factor`; empty for NaN."""
    if math.isnan(value):
        return ""
    return f"{round(factor * value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def mean_sd(values, factor):
    """(`76.1 ± 12.3`, 76.1, 12.3) over what is not NaN."""
    values = factor * np.array([value for value in values if not math.isnan(value)])
    if not values.size:
        return "", math.nan, math.nan
    digits = 3 if factor == 1 and values.mean() < 2 else 1
    rounded = [round(float(value), digits) for value in (values.mean(), values.std())]
    return " ± ".join(f"{value:.{digits}f}" for value in rounded), *rounded


def score_table(title, first, cells, names, columns, metrics, paper, note):
    """Mean ± sd over volumes and runs, in the form of Tables 1 and 2, the best in bold.

    Args:
      cells: {(row, column): Runs}; names, columns: {row: title} and {column: title}.
      metrics: rows of METRICS, all in each column.
      paper: {(row, column): [(mean, sd)]} of the first metrics, shown as asides.
    """
    header, table = [first], {row: [name] for row, name in names.items()}
    for column, heading in columns.items():
        for k, (metric, (name, factor, best)) in enumerate(metrics.items()):
            header.append(f"{heading} {metric} {'↑' if best is max else '↓'}".strip())
            found = {
                row: mean_sd(scores(cells.get((row, column), []), name).values(), factor)
                for row in names
            }
            winner = winner_of(found, -1 if best is max else 1)
            for row, (text, *_) in found.items():
                text = f"**{text}**" if row == winner else text
                theirs = paper.get((row, column), [])[k : k + 1]
                table[row].append(text + "".join(f" ({m} ± {sd})" for m, sd in theirs if text))
    return page.Table(title, header, list(table.values()), note)


def winner_of(found, sign):
    """The row of the best mean; of equal ones that of the lower sd (Table 2)."""
    known = {row: (sign * mean, sd) for row, (_, mean, sd) in found.items() if mean == mean}
    return min(known, key=known.get, default=None)


def main_table(dataset, found):
    """Table 2 of one data set."""
    cells = group(found, lambda run: (run.method, run.ntr))
    names = {method: label(method) for method, _ in cells}
    columns = {ntr: f"{ntr}:" for ntr in sorted({ntr for _, ntr in cells})}
    most = max(map(len, cells.values()))
    fewer = [f"{label(m)} at {ntr}: {len(c)}" for (m, ntr), c in cells.items() if len(c) < most]
    note = f"Per cent, mean ± sd over volumes and {most} run(s); N_tr before each metric. "
    note += f"Fewer runs: {', '.join(fewer)}. " if fewer else ""
    paper = PAPER_TABLE_2.get(dataset, {})
    note += paper_note(found) if any(cell in paper for cell in cells) else ""
    return score_table(
        f"Table 2, {dataset}", "Method", cells, names, columns, METRICS, paper, note
    )


def sweep_table(dataset, ntr, found):
    """Table 1 of one data set: DA (lambda = 0) and CR for the values of lambda that were run."""
    found = [run for run in found if run.method in ("da", "cr")]
    found = sorted(found, key=lambda run: run.scale * (run.method == "cr"))
    cells = group(found, lambda run: (f"{run.scale * (run.method == 'cr'):g}", dataset))
    names = {scale: scale if scale != "0" else "0 (DA)" for scale, _ in cells}
    paper = PAPER_TABLE_1 if (dataset, ntr) in (("nci", 6), ("acdc", 5)) else {}
    note = "Per cent, mean ± sd over volumes and runs. " + (paper_note(found) if paper else "")
    title = f"Table 1, {dataset}, {ntr} training subjects"
    return score_table(title, "λ of CR", cells, names, {dataset: ""}, METRICS, paper, note)


def paper_note(found):
    """What to mind when the paper's numbers stand beside those of `found`."""
    note = "In parentheses: the paper's."
    steps, sizes = ({str(pick(run)) for run in found} for pick in (_steps, _size))
    if (steps, sizes) != ({"50000"}, {"192"}):
        note += " Its setting is another one (50,000 steps at 192 pixels; see Settings): "
        note += "compare orders and differences, not levels."
    return note


def _steps(run):
    return run.flags["steps"]


def _size(run):
    return run.split["settings"]["size"]


def differences(found, reference, rows="rows"):
    """{metric: differences by subject [N]} in the metrics' units, `found` minus `reference`."""
    return {
        metric: factor
        * statistics.subject_differences(scores(found, column), scores(reference, column, rows))
        for metric, (column, factor, _) in TESTED.items()
    }


def test_table(title, found):
    """Tests of {what is compared: its `differences`}, Holm's family being a metric's rows."""
    table, header = {name: [name] for name in found}, ["difference in points"]
    for metric, (*_, best) in TESTED.items():
        header += [f"{metric} [95 %]", "p", "Holm"]
        p_values = [statistics.permutation_test(d[metric]) for d in found.values()]
        for name, p, holm in zip(found, p_values, statistics.holm(p_values), strict=True):
            text = interval(found[name][metric])
            better = holm < 0.05 and (found[name][metric].mean() > 0) == (best is max)
            table[name] += [f"**{text}**" if better else text, show(p, 1, 4), show(holm, 1, 4)]
    counts = sorted({d.size for row in found.values() for d in row.values()})
    note = (
        f"{' or '.join(map(str, counts))} subjects, each the mean of its volumes and of the runs "
        "that both have. Paired sign flips, n = 10,000, two-sided; Holm over the rows of a "
        "metric. Bold: BWCR is better at Holm's p < 0.05."
    )
    return page.Table(title, header, list(table.values()), note)


def interval(values):
    """`−7.6 [−9.0, −6.1]`: mean and bootstrap interval of values [N]."""
    low, high = statistics.bootstrap_interval(values)
    shown = [show(value, 1, 1, "+") for value in (mean(values), low, high)]
    return "{} [{}, {}]".format(*shown) if shown[0] else ""


def temperature_table(title, methods):
    """Calibration of {method: Runs} before and after temperature scaling."""
    columns = {m: METRICS[m] for m in ("ECE", "TACE×10")}
    columns |= {m: FURTHER[m] for m in ("ECE of all pixels", "NLL", "Brier")}
    rows = []
    for name, found in methods.items():
        cells = [label(name), show(average(found, "temperature"), 1, 2)]
        for column, factor, _ in columns.values():
            before, after = (
                show(
                    average(found, key, "all", column, "mean"), factor, 3 if factor == 1 else 1
                )
                for key in ("scores", "scores_calibrated")
            )
            cells.append(f"{before} → {after}")
        rows.append(cells)
    note = (
        "Before → after division of the logits by T, which the validation subjects' NLL chose."
    )
    return page.Table(title, ["Method", "T", *(f"{m} ↓" for m in columns)], rows, note)


def selection_table(title, methods):
    """What the choice of the averages by validation Dice does, against those of the last step."""
    rows = []
    for name, found in methods.items():
        cells = [label(name)]
        for column, factor, _ in METRICS.values():
            best, last = (
                show(mean(scores(found, column, kind).values()), factor)
                for kind in ("rows", "last")
            )
            cells.append(f"{best} → {last}")
        rows.append(cells)
    note = "Per cent: of the selected averages → of the averages at the last step."
    header = [f"{m} {'↑' if best is max else '↓'}" for m, (*_, best) in METRICS.items()]
    return page.Table(title, ["Method", *header], rows, note)


def leakage_table(title, methods):
    """What each class puts on other classes' boundaries, by method (Sec. 4.2, 6.)."""
    classes = [*next(iter(methods.values()))[0].split["classes"], "mean"]
    rows = []
    for name, found in methods.items():
        pairs = [[average(found, "leakage", c, k) for k in ("on", "off")] for c in classes]
        cells = [f"{show(on, digits=2)} ({show(off, digits=2)})" for on, off in pairs]
        rows.append([label(name), *cells])
    note = (
        "Per cent: the probability that a class puts on the boundaries of other classes, away "
        "from its own (and what it puts off them, at the same distances from itself)."
    )
    return page.Table(title, ["Method", *classes], rows, note)


def truth_table(title, methods):
    """Does ECE rank the methods as the error against the truth does?"""
    measures = {"total variation": ("truth", "variation"), "rms": ("truth", "rms")}
    measures |= {m: ("scores", "all", METRICS[m][0], "mean") for m in ("ECE", "TACE")}
    values = np.array(
        [[average(found, *keys) for keys in measures.values()] for found in methods.values()]
    )
    ranks = stats.rankdata(values, axis=0)
    rows = [
        [label(name), *(f"{show(v, digits=2)} ({r:g})" for v, r in zip(*pair, strict=True))]
        for name, *pair in zip(methods, values, ranks, strict=True)
    ]
    floor = show(mean(average(found, "truth", "label_variation") for found in methods.values()))
    note = f"Per cent (rank), near the foreground. The drawn label is off by {floor} itself."
    if len(methods) > 2:
        with np.errstate(invalid="ignore"):  # NaN where all ranks are tied
            ece, tace = (show(r, 1, 2, "+") for r in np.corrcoef(ranks.T)[0, 2:])
        note += f" Rank correlation with the total variation: ECE {ece}, TACE {tace}."
    return page.Table(title, ["Method", *(f"{m} ↓" for m in measures)], rows, note)


def settings_table(found):
    """What each data set was trained with, and the paper's setting for comparison."""
    names = ("steps", "batch_size", "learning_rate", "size", "pixel_mm", "width", "radius")
    rows = []
    for dataset, some in group(found, lambda run: run.dataset).items():
        given = [run.flags | run.split["settings"] for run in some]
        values = [sorted({str(each.get(name, "")) for each in given}) for name in names]
        tests = {str(len(run.split["test"])) for run in some}
        cells = [" and ".join(value) for value in (sorted(tests), *values)]
        rows.append([dataset, str(len(some)), *cells])
    rows.append(["the paper", "", "50 or 30", *"50000 16 0.0001 192".split(), "1.33 or 0.625"])
    rows[-1] += ["16 (its code)", "10.0"]
    note = "Two values in a cell: runs of different settings are mixed and do not compare."
    return page.Table("Settings", ["data set", "runs", "test subjects", *names], rows, note)


def conventions_table():
    """ECE and TACE of one prediction set by each library's convention."""
    rows = [
        [name, *("" if value is None else show(value, 1, 4) for value in values), why]
        for name, *values, why in conventions.compare()
    ]
    header = ["convention", "library", "ours", "library, sure", "ours, sure", "what it is"]
    note = "Made-up predictions; in the `sure` set some confidences are exactly 1."
    return page.Table("One prediction set by every convention", header, rows, note)
