"""The tables of a report that the paper does not have."""

import collections

import numpy as np
from scipy import stats

from bwcr_tf.evaluation import scores, significance
from bwcr_tf.report import notes, page, run_scores
from bwcr_tf.report.tables import (
    arrowed,
    best_in_bold,
    by_ntr,
    mean_sd,
    score_table,
    show,
)


def further_table(dataset, found):
    """The scores of one data set that the paper doesn't have."""
    title, groups = f"Further scores, {dataset}", by_ntr(found)
    others = [m for m in scores.METRICS.values() if m not in (*run_scores.MAIN, _HD95)]
    table = score_table(title, "Method", groups, others, "")
    columns = list(zip(table.header, *table.rows, strict=True))
    for heading, methods in groups.items():
        columns += _hd95_columns(heading, {row: methods.get(row, []) for row in columns[0][1:]})
    note = (
        "ECE in per cent. HD95 is over the structures that every method found in all its runs, "
        "each by its mean over runs; beside it, how many of all structures each method missed, or "
        "found where there are none."
    )
    return page.of_columns(title, columns, note)


_HD95 = scores.METRICS["hd95_mm"]


def _hd95_columns(heading, methods):
    """HD95 of {method: Runs} on the structures that none missed, and how many each missed."""
    found = {name: _hd95_by_structure(some) for name, some in methods.items()}
    measured = [
        {k for k, v in each.items() if not np.isnan(v)} for each in found.values() if each
    ]
    common = set.intersection(*measured) if measured else set()
    cells = [
        mean_sd([each[key] for key in sorted(common) if each], _HD95.factor, _HD95.decimals)
        for each in found.values()
    ]
    missed = [
        f"{sum(map(np.isnan, each.values()))} of {len(each)}" if each else ""
        for each in found.values()
    ]
    yield [f"{heading} {arrowed(_HD95)}".strip(), *best_in_bold(cells, _HD95.sign)]
    yield [f"{heading} missed".strip(), *missed]


def _hd95_by_structure(found):
    """{(subject, volume, class): mean HD95 over runs}, NaN if one run's is.

    Without the structures that are neither in the label nor in a prediction, whose Dice is NaN too.
    """
    values = collections.defaultdict(list)
    for run in found:
        for row in run.rows:
            if row["class"] != "all" and not np.isnan(row["dice"]):
                values[row["subject"], row["volume"], row["class"]].append(row["hd95_mm"])
    return {key: float(np.mean(value)) for key, value in values.items()}


def calibration_table(setting, methods):
    """Calibration of {method: Runs} before and after each run's map."""
    names = "ece", "tace_paper", "ece_all", "nll", "brier"
    metrics = [scores.METRICS[name] for name in names]

    def cells(found):
        yield _maps(found)
        for metric in metrics:
            keys = "all", metric.column, "mean"
            pair = (
                run_scores.average(found, k, *keys) for k in ("scores", "scores_calibrated")
            )
            yield " → ".join(show(value, metric.factor, metric.decimals) for value in pair)

    header = ["Map", *map(arrowed, metrics)]
    note = "Before → after the map that each run exports."
    if any("temperature" in run.summary for found in methods.values() for run in found):
        note += (
            " A number is the mean temperature of runs of earlier versions, whose default it was, "
            "fitted to all pixels of the validation subjects."
        )
    note += notes.undefined(methods, metrics, ("rows", "calibrated"))
    return page.of_methods(f"Post-hoc calibration, {setting}", methods, header, cells, note)


def _maps(found):
    """The kinds of map of Runs; the mean temperature where all are of an earlier version."""
    kinds = [
        run.summary["calibration"]["kind"] for run in found if "calibration" in run.summary
    ]
    return ", ".join(kinds) or show(run_scores.average(found, "temperature"), 1, 2)


def selection_table(setting, methods, metrics=run_scores.MAIN, kinds=("rows", "last")):
    """What the choice of the averages by validation Dice does, against those of the last step.

    `kinds` are the tables of a Run that have the scores of either.
    """

    def cells(found):
        for metric in metrics:
            pair = (run_scores.by_volume(found, metric.column, kind) for kind in kinds)
            means = (significance.mean(values.values()) for values in pair)
            yield " → ".join(show(mean, metric.factor, metric.decimals) for mean in means)

    header = map(arrowed, metrics)
    note = "Per cent unless the heading has a factor: averages selected by validation Dice → "
    note += "averages at the last step."
    note += notes.undefined(methods, metrics, kinds)
    return page.of_methods(f"Selection, {setting}", methods, header, cells, note)


def leakage_table(setting, methods):
    """What each class puts on other classes' boundaries, by method (Sec. 4.2, 6.)."""
    classes = [*next(iter(methods.values()))[0].spec.classes, "mean"]

    def cells(found):
        for name in classes:
            pair = (run_scores.average(found, "leakage", name, key) for key in ("on", "off"))
            yield "{} ({})".format(*(show(value, decimals=2) for value in pair))

    note = (
        "Per cent: mean probability of a class on the boundaries of other classes, away from its "
        "own boundary (in parentheses: elsewhere, at the same distances from its own boundary)."
    )
    return page.of_methods(f"Confidence leakage, {setting}", methods, classes, cells, note)


def truth_table(setting, methods):
    """Does ECE rank the methods as the error against the truth does?

    The truth of several annotators is their fractions, and annotator 1 its sample.
    """
    several = all(run.annotated for found in methods.values() for run in found)
    truth = "fractions of annotators" if several else "true probabilities"
    sample = "Annotator 1" if several else "The sampled label"
    measures = {"total variation": ("truth", "variation"), "rms": ("truth", "rms")}
    measures |= {
        scores.METRICS[name].title: ("scores", "all", name, "mean") for name in ("ece", "tace")
    }
    columns = [["Method", *methods]]
    ranks = []
    for name, keys in measures.items():
        values = [run_scores.average(found, *keys) for found in methods.values()]
        ranks.append(stats.rankdata(values))
        cells = [
            f"{show(v, decimals=2)} ({r:g})" for v, r in zip(values, ranks[-1], strict=True)
        ]
        columns.append([f"{name} ↓", *cells])
    floor = significance.mean(
        run_scores.average(c, "truth", "label_variation") for c in methods.values()
    )
    note = f"Per cent (rank), near the foreground. {sample} is itself {show(floor)} off."
    if len(methods) > 2:
        with np.errstate(invalid="ignore"):  # NaN where all ranks are tied
            ece, tace = (show(r, 1, 2, "+") for r in np.corrcoef(ranks)[0, 2:])
        note += f" Rank correlation with the total variation: ECE {ece}, TACE {tace}."
    note += notes.undefined(methods, [scores.METRICS[name] for name in ("ece", "tace")])
    return page.of_columns(f"Error against the {truth}, {setting}", columns, note)
