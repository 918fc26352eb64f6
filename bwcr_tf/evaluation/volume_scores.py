"""scores_volumes.csv: volumes of test subjects and their intervals; its summary (NumPy)."""

import numpy as np

from bwcr_tf.evaluation import conformal, significance, volume_choice, volumes
from bwcr_tf.system import files

COLUMNS = (
    "subject", "volume", "class", "true_ml", "ml", "calibrated_ml", "low_ml", "high_ml",
    "annotators_inside",
)  # fmt: skip


def score(found, rules, classes, first=True):
    """Rows of scores_volumes.csv of a volume_scans.Scan, after the map.

    The true volume is annotator 1's or, unless `first`, the mean over annotators: that which the
    rules are of. `annotators_inside`, where there are several, is the fraction of all of them whose
    volume the interval holds.
    """
    own, voxel_ml, drawn = found.counted(), found.voxel_ml(), found.true_sizes()
    true = drawn[0] if first else drawn.mean(axis=0)
    rows = []
    for c, (name, rule) in enumerate(zip(classes, rules, strict=True), start=1):
        measured = volumes.measure(own, c, rule)
        row = {"subject": found.subject, "volume": found.case.name, "class": name}
        row["true_ml"] = voxel_ml * float(true[c - 1])
        ml = (voxel_ml * value for value in measured)
        row |= dict(zip(COLUMNS[4:8], ml, strict=True))
        if len(drawn) > 1:
            inside = (measured.low <= drawn[:, c - 1]) & (drawn[:, c - 1] <= measured.high)
            row["annotators_inside"] = float(inside.mean())
        rows.append(row)
    return rows


def write(path, rows):
    """Writes scores_volumes.csv: six digits."""
    files.write_csv(path, COLUMNS, rows, ".6g")


def summarize(rows, record, classes):
    """What summary.json keeps of the rows of all test volumes, by class.

    Returns:
      Dict of the `rules`; the nominal `coverage`; the number of `calibration_subjects` and the
      `part` of the split that they are; and `classes`. For each of these: `level`, what the
      intervals promise; `kind`; `volume`, which estimate is the calibrated one; `label_error` and
      `calibrated_error`, mean absolute relative errors; `covered` of `subjects`, all of whose
      volumes are in their intervals; `width_ml`; and `annotators_inside`. None is not measured.
      Means are over subjects' means.
    """
    rules = zip(classes, volume_choice.rules(record, classes), strict=True)
    return {
        "rules": to_json(record),
        "coverage": record["coverage"],
        "calibration_subjects": len(record["subjects"]),
        "part": record["part"],
        "classes": {
            name: _of_class([row for row in rows if row["class"] == name], rule)
            for name, rule in rules
        },
    }


def _of_class(rows, rule):
    columns = {key: np.array([row.get(key, np.nan) for row in rows]) for key in COLUMNS[3:]}
    subjects = [row["subject"] for row in rows]
    true = np.where(columns["true_ml"] > 0, columns["true_ml"], np.nan)
    above, below = columns["true_ml"] * (1 + 1e-9), columns["true_ml"] * (1 - 1e-9)  # roundings
    inside = (columns["low_ml"] <= above) & (below <= columns["high_ml"])
    values = {
        "label_error": np.abs(columns["ml"] - true) / true,
        "calibrated_error": np.abs(columns["calibrated_ml"] - true) / true,
        "width_ml": columns["high_ml"] - columns["low_ml"],
        "annotators_inside": columns["annotators_inside"],
    }
    covered = significance.by_subject(subjects, inside, all)
    return {
        "level": rule.level,
        "kind": rule.kind,
        "volume": _estimate(rule),
        "covered": int(covered.sum()),
        "subjects": len(covered),
    } | {key: _mean(subjects, value) for key, value in values.items()}


def to_json(record):
    """The rules of a record, as JSON: what its test scores are of."""
    return {
        name: {field: fields[field] for field in volumes.Rule._fields}
        for name, fields in record["classes"].items()
    }


def _estimate(rule):
    if rule.region is not None:
        return f"sum of p > {rule.region:g}"
    return "label" if rule.factor == 1 else f"label x {rule.factor:.3f}"


def _mean(subjects, values):
    mean = significance.mean(significance.by_subject(subjects, values))
    return None if np.isnan(mean) else mean


def to_text(summary):
    """A table for the terminal of what `summarize` returns."""
    heads = ("class", "label_error", "calibrated", "covered", "promised", "width_ml")
    lines = ["".join(f"{head:>15}" for head in heads)]
    for name, row in summary["classes"].items():
        errors = (_percent(row[f"{key}_error"]) for key in ("label", "calibrated"))
        covered = f"{row['covered']} of {row['subjects']}"
        level = f"{100 * conformal.rounded_down(row['level']):.1f}"
        cells = (name, *errors, covered, level, f"{row['width_ml']:.3g}")
        lines.append("".join(f"{cell:>15}" for cell in cells))
    return "\n".join([*lines, "volumes of test subjects; errors and promised coverage in %"])


def _percent(value):
    return "undefined" if value is None else f"{100 * value:.1f}"
