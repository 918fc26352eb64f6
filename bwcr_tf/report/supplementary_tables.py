"""The tables of a report that the paper does not have."""

import numpy as np
from scipy import stats

from bwcr_tf.evaluation import significance
from bwcr_tf.report import conventions, page, scored_runs, tables
from bwcr_tf.report.cells import show


def further_table(dataset, found):
    """The scores of one data set that the paper doesn't have."""
    title = f"Further scores, {dataset}"
    note = "HD95 is the mean over classes; ECE in per cent."
    return tables.score_table(title, "Method", tables.by_ntr(found), scored_runs.FURTHER, note)


def temperature_table(setting, methods):
    """Calibration of {method: Runs} before and after temperature scaling."""
    names = "ECE", "TACE×10", "ECE of all pixels", "NLL", "Brier"
    metrics = [(scored_runs.METRICS | scored_runs.FURTHER)[name] for name in names]

    def cells(found):
        yield show(scored_runs.average(found, "temperature"), 1, 2)
        for column, factor, _ in metrics:
            keys = "all", column, "mean"
            pair = (
                scored_runs.average(found, k, *keys) for k in ("scores", "scores_calibrated")
            )
            yield " → ".join(show(value, factor, 3 if factor == 1 else 1) for value in pair)

    header = ["T", *(f"{name} ↓" for name in names)]
    note = "Before → after division of the logits by the runs' temperatures; T is their mean."
    return page.of_methods(f"Temperature scaling, {setting}", methods, header, cells, note)


def selection_table(setting, methods):
    """What the choice of the averages by validation Dice does, against those of the last step."""

    def cells(found):
        for column, factor, _ in scored_runs.METRICS.values():
            pair = (scored_runs.by_volume(found, column, rows) for rows in ("rows", "last"))
            yield " → ".join(
                show(significance.mean(values.values()), factor) for values in pair
            )

    header = [
        f"{name} {tables.ARROWS[sign]}" for name, (*_, sign) in scored_runs.METRICS.items()
    ]
    note = "Per cent: of the selected averages → of the averages at the last step."
    return page.of_methods(f"Selection, {setting}", methods, header, cells, note)


def leakage_table(setting, methods):
    """What each class puts on other classes' boundaries, by method (Sec. 4.2, 6.)."""
    classes = [*next(iter(methods.values()))[0].spec.classes, "mean"]

    def cells(found):
        for name in classes:
            pair = (scored_runs.average(found, "leakage", name, key) for key in ("on", "off"))
            yield "{} ({})".format(*(show(value, digits=2) for value in pair))

    note = (
        "Per cent: the probability that a class puts on the boundaries of other classes, away "
        "from its own (and what it puts off them, at the same distances from itself)."
    )
    return page.of_methods(f"Confidence leakage, {setting}", methods, classes, cells, note)


def truth_table(setting, methods):
    """Does ECE rank the methods as the error against the truth does?"""
    measures = {"total variation": ("truth", "variation"), "rms": ("truth", "rms")}
    measures |= {
        m: ("scores", "all", scored_runs.METRICS[m][0], "mean") for m in ("ECE", "TACE")
    }
    columns = [["Method", *methods]]
    ranks = []
    for name, keys in measures.items():
        values = [scored_runs.average(found, *keys) for found in methods.values()]
        ranks.append(stats.rankdata(values))
        cells = [f"{show(v, digits=2)} ({r:g})" for v, r in zip(values, ranks[-1], strict=True)]
        columns.append([f"{name} ↓", *cells])
    floor = significance.mean(
        scored_runs.average(c, "truth", "label_variation") for c in methods.values()
    )
    note = (
        f"Per cent (rank), near the foreground. The drawn label is off by {show(floor)} itself."
    )
    if len(methods) > 2:
        with np.errstate(invalid="ignore"):  # NaN where all ranks are tied
            ece, tace = (show(r, 1, 2, "+") for r in np.corrcoef(ranks)[0, 2:])
        note += f" Rank correlation with the total variation: ECE {ece}, TACE {tace}."
    return page.of_columns(f"Error against the truth, {setting}", columns, note)


def conventions_table():
    """ECE and TACE of one prediction set by each library's convention."""
    rows = [
        [name, *("" if value is None else show(value, 1, 4) for value in values), why]
        for name, *values, why in conventions.compare()
    ]
    header = ["convention", "library", "ours", "library, sure", "ours, sure", "what it is"]
    note = "Made-up predictions; in the `sure` set some confidences are exactly 1."
    return page.Table("One prediction set by every convention", header, rows, note)
