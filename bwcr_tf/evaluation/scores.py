"""scores.csv: what its metrics are and how they are shown; reading, writing and summary (NumPy).

scores_annotators.csv has the metrics of volume beside them.

A row is a dict of `subject`, `volume`, `class` (or `all`) and the metrics that it measures, as
fractions; NaN is undefined.
"""

import collections
import csv
import json
import math
from typing import NamedTuple

import numpy as np

from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError


class Metric(NamedTuple):
    """A column of scores.csv, and how it is shown."""

    column: str
    title: str
    unit: str  # "" if it has none
    factor: int  # from scores.csv to `unit`
    decimals: int
    sign: int  # 1 if higher is better, -1 if lower is
    undefined: str  # what NaN means


_EMPTY = "the volume has no pixels"
_BELOW = "no pixel has a probability over the threshold"
# fmt: off
METRICS = {
    metric.column: metric
    for metric in (
        Metric("dice", "Dice", "%", 100, 1, 1,
               "the class is neither in the label nor in the prediction"),
        Metric("hd95_mm", "HD95 mm", "mm", 1, 1, -1,
               "no surface of the class in the label, or in the prediction"),
        Metric("ece", "ECE", "%", 100, 1, -1, "no foreground in the label"),
        Metric("ece_all", "ECE of all pixels", "%", 100, 1, -1, _EMPTY),
        Metric("tace", "TACE", "%", 100, 1, -1, _BELOW),
        Metric("tace_paper", "TACE×10", "% x 10", 1000, 1, -1, _BELOW),  # as the paper prints it
        Metric("nll", "NLL", "", 1, 3, -1, _EMPTY),
        Metric("brier", "Brier", "", 1, 3, -1, _EMPTY),
    )
}
VOLUME_METRICS = {
    metric.column: metric
    for metric in (
        Metric("volume_crps_ml", "CRPS of the volume", "ml", 1, 2, -1, _EMPTY),
        Metric("volume_error", "Volume error", "%", 100, 1, -1, "no annotator drew the class"),
    )
}
# fmt: on
ALL_METRICS = METRICS | VOLUME_METRICS
COLUMNS = ("subject", "volume", "class", *METRICS)
CALIBRATION = ("ece", "ece_all", "tace", "tace_paper", "nll", "brier")  # of probabilities


def write(path, rows, metrics=METRICS):
    """Writes scores.csv: six decimals, empty where a row does not measure a column."""
    files.write_csv(path, (*COLUMNS[:3], *metrics), rows, ".6f")


def read(path, metrics=METRICS):
    """The rows that `write` was given, to six decimals; [] if there is no such file.

    Raises:
      DataError: a column is missing, a row is cut short, or a score is no number or infinite.
    """
    if not path.exists():
        return []
    try:
        table = files.read_csv(path)
        columns = (*COLUMNS[:3], *metrics)
        missing = [column for column in columns if column not in (table.fieldnames or ())]
        if missing:
            raise DataError(f"{path}: no column {missing[0]}; expected {','.join(columns)}")
        return [_parse(row, metrics, f"{path}, line {table.line_num}") for row in table]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of scores ({error})") from error


def _parse(texts, metrics, place):
    """A row of texts as a row of scores."""
    if None in texts or None in texts.values():
        raise DataError(f"{place}: another number of cells than columns")
    row = {column: texts[column] for column in COLUMNS[:3]}
    for column in metrics:
        if texts[column]:
            try:
                row[column] = float(texts[column])
            except ValueError:
                row[column] = math.inf
            if math.isinf(row[column]):
                raise DataError(f"{place}: {column} is {texts[column]}; expected a number")
    return row


def read_summary(folder):
    """The summary.json of a run's folder; {} where there is none, or a damaged one."""
    try:
        return dict(json.loads((folder / "summary.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def summarize(rows, classes):
    """What summary.json keeps of the rows of all test volumes.

    Returns:
      Dict of `scores` {class or all: {metric: {mean, sd, volumes}}}, where mean and sd are None
      if the metric is undefined in every volume; and `undefined`, a line for each NaN.
    """
    scores, undefined = {}, []
    for name in (*classes, "all"):
        of_class = [row for row in rows if row["class"] == name]
        scores[name] = {}
        for metric in ALL_METRICS.values():
            measured = [row for row in of_class if metric.column in row]
            if measured:
                scores[name][metric.column] = _mean_sd([row[metric.column] for row in measured])
            undefined += [
                f"{row['volume']} {name} {metric.column}: {metric.undefined}"
                for row in measured
                if math.isnan(row[metric.column])
            ]
    return {"scores": scores, "undefined": undefined}


def _mean_sd(values):
    kept = np.array([value for value in values if not math.isnan(value)])
    return {
        "mean": float(kept.mean()) if kept.size else None,  # JSON has no NaN
        "sd": float(kept.std()) if kept.size else None,
        "volumes": int(kept.size),
    }


def to_text(summary, columns=tuple(METRICS)):
    """A table for the terminal of `columns` of `scores` of `summarize`, mean +- sd."""
    metrics = [ALL_METRICS[column] for column in columns]
    lines = [f"{'class':>10}" + "".join(f" {metric.column:>14}" for metric in metrics)]
    for name, measured in summary.items():
        cells = [_cell(metric, measured.get(metric.column)) for metric in metrics]
        lines.append(f"{name:>10}" + "".join(f" {cell:>14}" for cell in cells))
    units = collections.defaultdict(list)
    for metric in metrics:
        units[metric.unit].append(metric.column)
    legend = (f"{', '.join(names)} in {unit}" for unit, names in units.items() if unit)
    lines.append("; ".join(["mean +- sd over test volumes", *legend]))
    return "\n".join(lines)


def _cell(metric, value):
    """`76.1 +- 12.3`: an entry of `summarize`; empty if not measured."""
    if not value:
        return ""
    if not value["volumes"]:
        return "undefined"
    mean, sd = (f"{metric.factor * value[key]:.{metric.decimals}f}" for key in ("mean", "sd"))
    return f"{mean} +- {sd}"
