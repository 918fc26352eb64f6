"""Volumes in ml of predicted structures, and their table, volumes.csv."""

import csv

from bwcr_tf.evaluation import conformal, volumes
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError

VOLUMES = ("ml", "calibrated_ml", "low_ml", "high_ml", "coverage")


def columns(classes):
    """The columns of volumes.csv beside `scan`, in order."""
    return [f"{name}_{what}" for name in classes for what in VOLUMES]


def check_classes(classes, folder):
    """Raises DataError where classes of the model in `folder` share a column of volumes.csv.

    dataset_json refuses such names; models of earlier versions may have them.
    """
    found = columns(classes)
    if shared := [name for i, name in enumerate(found) if name in found[:i]]:
        raise DataError(
            f"{folder}: column {shared[0]!r} of volumes.csv is of two of the classes "
            f"{', '.join(classes)}; expected other names, in dataset.json before training"
        )


def of_scan(probabilities, voxel_ml, classes, rules=None):
    """Volumes in ml of each class in probabilities [Z, Y, X, C], by column of volumes.csv.

    CLASS_ml is of the label map, CLASS_calibrated_ml, CLASS_low_ml and CLASS_high_ml are those of
    volumes.measure, and CLASS_coverage is the level that the interval promises, as a fraction. All
    but the first are empty for a model without `rules`, a volumes.Rule for each class.
    """
    row = {}
    for c, name in enumerate(classes, start=1):
        values = [voxel_ml * volumes.label_size(probabilities, c), "", "", "", ""]
        if rules:
            values = [
                voxel_ml * size for size in volumes.measure(probabilities, c, rules[c - 1])
            ]
            values.append(conformal.rounded_down(rules[c - 1].level))
        row |= {f"{name}_{what}": v for what, v in zip(VOLUMES, values, strict=True)}
    return row


def read_volumes(output, model):
    """{scan: row} of the volumes.csv that is in `output`, to which the scans' rows are added.

    Raises:
      DataError: it is of another model, or of an earlier version, which did not say of which; or
        no table in UTF-8; or a row has more cells than the table has columns.
    """
    path = output / "volumes.csv"
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets write the mark
        table = csv.DictReader(file)
        try:
            header, rows = table.fieldnames, list(table)
        except (UnicodeDecodeError, csv.Error) as error:  # saved by another program, perhaps
            raise _refused(path, "no table in UTF-8") from error
    known = header == ["scan", *columns(model.classes), "model"]
    if not known or any(row["model"] != model.name for row in rows):
        raise _refused(path, "of another model, or of an earlier version")
    for row in rows:
        if None in row:  # else these cells would become a column
            raise _refused(path, f"{row['scan']} has more cells than there are columns")
    return {row["scan"]: row for row in rows}


def _refused(path, reason):
    return DataError(f"{path}: {reason}; choose another output folder")


def write_volumes(output, rows):
    """Writes `rows`, dicts of one set of columns, to volumes.csv in `output`: six digits."""
    files.write_csv(output / "volumes.csv", rows[0], rows, ".6g")
