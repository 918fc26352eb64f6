"""The tables of a report, made of scored runs."""

import math

import numpy as np
from scipy import stats

from bwcr_tf import conventions, page, paper, scores, statistics

ARROWS = {1: "↑", -1: "↓"}  # by the sign in scores.METRICS


def show(value, factor=100.0, digits=1, sign=""):
    """A fraction as text in units of 1 / `factor`; empty for NaN."""
    if math.isnan(value):
        return ""
    return f"{round(factor * value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def interval(values):
    """`−7.6 [−9.0, −6.1]`: mean and bootstrap interval of values [N]."""
    low, high = statistics.bootstrap_interval(values)
    shown = [show(value, 1, 1, "+") for value in (statistics.mean(values), low, high)]
    return "{} [{}, {}]".format(*shown) if shown[0] else ""


def mean_sd(values, factor):
    """(`76.1 ± 12.3`, 76.1, 12.3) over what is not NaN."""
    values = factor * np.array([value for value in values if not math.isnan(value)])
    if not values.size:
        return "", math.nan, math.nan
    digits = 3 if factor == 1 and values.mean() < 2 else 1
    rounded = [round(float(value), digits) for value in (values.mean(), values.std())]
    return " ± ".join(f"{value:.{digits}f}" for value in rounded), *rounded


def winner_of(cells, sign):
    """The `mean_sd` of the best mean; of equal ones that of the lower sd (Table 2)."""
    known = [cell for cell in cells if not math.isnan(cell[1])]
    return max(known, key=lambda cell: (sign * cell[1], -cell[2]), default=None)


def of_columns(title, columns, note):
    """A Table of columns, each with its heading on top."""
    header, *rows = map(list, zip(*columns, strict=True))
    return page.Table(title, header, rows, note)


def of_methods(title, methods, header, cells, note):
    """A Table with a row, `cells` of its Runs, for each of {method: Runs}."""
    rows = [[name, *cells(found)] for name, found in methods.items()]
    return page.Table(title, ["Method", *header], rows, note)


def score_table(title, first, groups, metrics, note):
    """Mean ± sd over volumes and runs of {column: {row: Runs}}, in the form of Tables 1 and 2.

    Each column has all `metrics` in it; `first` is the heading of the rows' names.
    """
    rows = list(dict.fromkeys(row for cells in groups.values() for row in cells))
    columns = [[first, *rows]]
    for column, cells in groups.items():
        for name, metric in metrics.items():
            top = f"{column} {name} {ARROWS[metric[-1]]}".strip()
            found = [cells.get(row, []) for row in rows]
            columns.append([top, *score_column(found, name, *metric)])
    return of_columns(title, columns, note)


def score_column(found, name, column, factor, sign):
    """`**76.1 ± 12.3** (76 ± 12)` of each Runs: the best in bold, the paper's as an aside."""
    cells = [mean_sd(scores.by_volume(some, column).values(), factor) for some in found]
    winner = winner_of(cells, sign)
    for some, cell in zip(found, cells, strict=True):
        text = f"**{cell[0]}**" if cell is winner else cell[0]
        theirs = some[0].reported.get(name) if text else None
        yield text + (" ({} ± {})".format(*theirs) if theirs else "")


def by_ntr(found):
    """{N_tr: {method: Runs}}, the columns and rows of Table 2."""
    groups = scores.group(found, "ntr").items()
    return {f"{ntr}:": scores.group(some, "label") for ntr, some in groups}


def main_table(dataset, found):
    """Table 2 of one data set."""
    groups = by_ntr(found)
    rows = {f"{m} at {ntr[:-1]}": c for ntr, row in groups.items() for m, c in row.items()}
    note = f"{runs_note(rows)} N_tr before each metric. "
    note += paper_note(found) if any(run.reported for run in found) else ""
    return score_table(f"Table 2, {dataset}", "Method", groups, scores.METRICS, note)


def runs_note(rows):
    """What {name: Runs} are the means of, and which names have fewer runs than others."""
    counts = {name: len(found) for name, found in rows.items()}
    most = max(counts.values())
    fewer = ", ".join(f"{name}: {count}" for name, count in counts.items() if count < most)
    note = f"Per cent, mean ± sd over volumes and {most} run(s)."
    return f"{note} Fewer runs: {fewer}." if fewer else note


def further_table(dataset, found):
    """The scores of one data set that the paper doesn't have."""
    title = f"Further scores, {dataset}"
    note = "HD95 is the mean over classes; ECE in per cent."
    return score_table(title, "Method", by_ntr(found), scores.FURTHER, note)


def sweep_table(found):
    """Table 1 of one data set and N_tr: DA (lambda = 0) and CR for each lambda that was run."""
    first, swept = found[0], [run for run in found if run.method in ("da", "cr")]
    swept = sorted(swept, key=lambda run: float(run.sweep_row))
    rows = {w if w != "0" else "0 (DA)": c for w, c in scores.group(swept, "sweep_row").items()}
    note = f"{runs_note(rows)} "
    note += paper_note(swept) if (first.dataset, first.ntr) in paper.SWEEP else ""
    return score_table(f"Table 1, {first.setting}", "λ of CR", {"": rows}, scores.METRICS, note)


def paper_note(found):
    """What to mind when the paper's numbers stand beside those of `found`."""
    theirs = paper.SETTINGS["steps"], paper.SETTINGS["size"]
    ours = {(run.flags["steps"], str(run.split["settings"]["size"])) for run in found}
    note = "In parentheses: the paper's."
    if ours != {theirs}:
        note += f" Its setting is another one ({int(theirs[0]):,} steps at {theirs[1]} pixels; "
        note += "see Settings): compare orders and differences, not levels."
    return note


def settings_table(found):
    """The settings of each data set's runs, and the paper's for comparison."""
    rows = []
    for dataset, some in scores.group(found, "dataset").items():
        ours = [
            run.flags | run.split["settings"] | {"test subjects": len(run.split["test"])}
            for run in some
        ]
        values = [sorted({str(each.get(key, "")) for each in ours}) for key in paper.SETTINGS]
        rows.append([dataset, str(len(some)), *map(" and ".join, values)])
    rows.append(["the paper", "", *paper.SETTINGS.values()])
    note = "Two values in a cell: runs of different settings are mixed and do not compare."
    return page.Table("Settings", ["data set", "runs", *paper.SETTINGS], rows, note)


def test_table(title, found):
    """Tests of {what is compared: its `differences`}, Holm's family being a metric's rows."""
    columns = [["difference in points", *found]]
    for metric, (*_, sign) in scores.TESTED.items():
        values = [row[metric] for row in found.values()]
        p_values = [statistics.permutation_test(row) for row in values]
        corrected = statistics.holm(p_values)
        columns.append([f"{metric} [95 %]"])
        for row, p in zip(values, corrected, strict=True):
            better = p < 0.05 and sign * row.mean() > 0
            columns[-1].append(f"**{interval(row)}**" if better else interval(row))
        columns.append(["p", *(show(p, 1, 4) for p in p_values)])
        columns.append(["Holm", *(show(p, 1, 4) for p in corrected)])
    counts = sorted({values.size for row in found.values() for values in row.values()})
    note = (
        f"{' or '.join(map(str, counts))} subjects, each the mean of its volumes and of the runs "
        "that both have. Paired sign flips, n = 10,000, two-sided; Holm over the rows of a "
        "metric. Bold: BWCR is better at Holm's p < 0.05."
    )
    return of_columns(title, columns, note)


def temperature_table(setting, methods):
    """Calibration of {method: Runs} before and after temperature scaling."""
    names = "ECE", "TACE×10", "ECE of all pixels", "NLL", "Brier"
    metrics = [(scores.METRICS | scores.FURTHER)[name] for name in names]

    def cells(found):
        yield show(scores.average(found, "temperature"), 1, 2)
        for column, factor, _ in metrics:
            keys = "all", column, "mean"
            pair = (scores.average(found, k, *keys) for k in ("scores", "scores_calibrated"))
            yield " → ".join(show(value, factor, 3 if factor == 1 else 1) for value in pair)

    header = ["T", *(f"{name} ↓" for name in names)]
    note = (
        "Before → after division of the logits by T, which the validation subjects' NLL chose."
    )
    return of_methods(f"Temperature scaling, {setting}", methods, header, cells, note)


def selection_table(setting, methods):
    """What the choice of the averages by validation Dice does, against those of the last step."""

    def cells(found):
        for column, factor, _ in scores.METRICS.values():
            pair = (scores.by_volume(found, column, rows) for rows in ("rows", "last"))
            yield " → ".join(show(statistics.mean(values.values()), factor) for values in pair)

    header = [f"{name} {ARROWS[sign]}" for name, (*_, sign) in scores.METRICS.items()]
    note = "Per cent: of the selected averages → of the averages at the last step."
    return of_methods(f"Selection, {setting}", methods, header, cells, note)


def leakage_table(setting, methods):
    """What each class puts on other classes' boundaries, by method (Sec. 4.2, 6.)."""
    classes = [*next(iter(methods.values()))[0].split["classes"], "mean"]

    def cells(found):
        for name in classes:
            pair = (scores.average(found, "leakage", name, key) for key in ("on", "off"))
            yield "{} ({})".format(*(show(value, digits=2) for value in pair))

    note = (
        "Per cent: the probability that a class puts on the boundaries of other classes, away "
        "from its own (and what it puts off them, at the same distances from itself)."
    )
    return of_methods(f"Confidence leakage, {setting}", methods, classes, cells, note)


def truth_table(setting, methods):
    """Does ECE rank the methods as the error against the truth does?"""
    measures = {"total variation": ("truth", "variation"), "rms": ("truth", "rms")}
    measures |= {m: ("scores", "all", scores.METRICS[m][0], "mean") for m in ("ECE", "TACE")}
    columns = [["Method", *methods]]
    ranks = []
    for name, keys in measures.items():
        values = [scores.average(found, *keys) for found in methods.values()]
        ranks.append(stats.rankdata(values))
        cells = [f"{show(v, digits=2)} ({r:g})" for v, r in zip(values, ranks[-1], strict=True)]
        columns.append([f"{name} ↓", *cells])
    floor = statistics.mean(
        scores.average(c, "truth", "label_variation") for c in methods.values()
    )
    note = (
        f"Per cent (rank), near the foreground. The drawn label is off by {show(floor)} itself."
    )
    if len(methods) > 2:
        with np.errstate(invalid="ignore"):  # NaN where all ranks are tied
            ece, tace = (show(r, 1, 2, "+") for r in np.corrcoef(ranks)[0, 2:])
        note += f" Rank correlation with the total variation: ECE {ece}, TACE {tace}."
    return of_columns(f"Error against the truth, {setting}", columns, note)


def conventions_table():
    """ECE and TACE of one prediction set by each library's convention."""
    rows = [
        [name, *("" if value is None else show(value, 1, 4) for value in values), why]
        for name, *values, why in conventions.compare()
    ]
    header = ["convention", "library", "ours", "library, sure", "ours, sure", "what it is"]
    note = "Made-up predictions; in the `sure` set some confidences are exactly 1."
    return page.Table("One prediction set by every convention", header, rows, note)
