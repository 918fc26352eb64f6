"""How a model card tells of the scores on test subjects."""

import collections

import numpy as np

from bwcr_tf.evaluation import calibration_record, scores, significance

_METRICS = ("dice", "ece", "ece_all", "tace", "nll", "brier")
_SCORES = ("scores.csv", "scores_calibrated.csv")


def measured(folder, num_classes):
    """`by_subject` before and after the map of a run; {} if another one was scored."""
    old = calibration_record.outdated(folder, num_classes, scores.read_summary(folder))
    same = "scores_calibrated" not in old
    return [by_subject(scores.read(folder / name)) if same else {} for name in _SCORES]


def by_subject(rows):
    """Dict of (class, metric) to the mean of each subject's volumes [N]; NaN is left out."""
    values = collections.defaultdict(lambda: collections.defaultdict(list))
    for row in rows:
        for metric in _METRICS:
            if not np.isnan(row.get(metric, np.nan)):
                values[row["class"], metric][row["subject"]].append(row[metric])
    return {
        key: np.array([np.mean(found) for found in subjects.values()])
        for key, subjects in values.items()
    }


def to_table(before, after):
    """Mean [95 % interval] over subjects before and after calibration, as a Markdown table."""
    if not before or not after:
        return "Not measured yet: `python evaluate.py` fills in this table."
    lines = [
        "| metric | class | subjects | before | after |",
        "| --- | --- | --- | --- | --- |",
    ]
    order = sorted(before, key=lambda key: (_METRICS.index(key[1]), key[0] != "all"))
    for name, metric in order:
        cells = [to_cell(metric, table.get((name, metric))) for table in (before, after)]
        count = len(before[name, metric])
        lines.append(f"| {metric} | {name} | {count} | {cells[0]} | {cells[1]} |")
    plain = " and ".join(metric for metric in _METRICS if not scores.METRICS[metric].unit)
    lines.append(
        "\nOn the test subjects, before and after calibration: the mean over"
        "\nsubjects and its 95 % percentile bootstrap interval, subjects as the unit. Per cent,"
        f"\nexcept {plain}; ece is of labelled foreground pixels, ece_all of all."
    )
    return "\n".join(lines)


def to_cell(metric, values):
    """`76.1 [70.2, 81.0]` of a metric's means for each subject [N], or of None."""
    if values is None:
        return "undefined"
    shown = scores.METRICS[metric]
    numbers = values.mean(), *significance.bootstrap_interval(values)
    return "{} [{}, {}]".format(*(f"{shown.factor * n:.{shown.decimals}f}" for n in numbers))
