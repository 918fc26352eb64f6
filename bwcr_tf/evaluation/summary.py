"""What summary.json keeps of the scores of test volumes, and the table that is printed."""

import numpy as np

from bwcr_tf.evaluation import inference


def summarize(rows, classes):
    """Mean and sd over test volumes of each metric by class (None if undefined in all of them),
    and which values are undefined."""
    scores, undefined = {}, []
    for name in (*classes, "all"):
        of_class = [row for row in rows if row["class"] == name]
        scores[name] = {}
        for metric in inference.COLUMNS[3:]:
            values = np.array([row[metric] for row in of_class if metric in row])
            if values.size:
                kept = values[~np.isnan(values)]
                scores[name][metric] = {
                    "mean": float(kept.mean()) if kept.size else None,  # JSON has no NaN
                    "sd": float(kept.std()) if kept.size else None,
                    "volumes": int(kept.size),
                }
                undefined += [
                    f"{row['volume']} {name} {metric}: {REASONS[metric]}"
                    for row in of_class
                    if np.isnan(row[metric])
                ]
    return {"scores": scores, "undefined": undefined}


REASONS = {
    "dice": "the class is neither in the label nor in the prediction",
    "hd95_mm": "the class is not in the label, or not in the prediction",
    "ece": "no foreground in the label",
    "tace": "no pixel has a probability over the threshold",
    "tace_paper": "no pixel has a probability over the threshold",
}


def to_table(scores, metrics=inference.COLUMNS[3:]):
    """The summary as text: mean +- sd over volumes, in per cent and mm."""
    lines = [f"{'class':>10}" + "".join(f"{metric:>15}" for metric in metrics)]
    for name, columns in scores.items():
        cells = [to_cell(metric, columns.get(metric)) for metric in metrics]
        lines.append(f"{name:>10}" + "".join(f"{cell:>15}" for cell in cells))
    lines.append("mean +- sd over test volumes; dice, ece and tace in per cent")
    return "\n".join(lines)


def to_cell(metric, value):
    """`76.12 +- 12.30`: one entry of `summarize`, in per cent or mm; empty if not measured."""
    if not value:
        return ""
    if not value["volumes"]:
        return "undefined"
    factor = 1 if metric in ("hd95_mm", "nll", "brier") else 100
    return f"{factor * value['mean']:.2f} +- {factor * value['sd']:.2f}"
