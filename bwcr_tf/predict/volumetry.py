"""Volumes in ml of predicted structures, and their table, volumes.csv."""

import csv

import numpy as np

from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError

SURE, POSSIBLE = 0.975, 0.025  # probabilities whose regions bound the volumes
VOLUMES = ("ml", "expected_ml", f"ml_where_p>{SURE}", f"ml_where_p>{POSSIBLE}")


def volumes(probabilities, image, classes):
    """Volumes in ml of each class, by column of volumes.csv.

    CLASS_ml is of the label map, and CLASS_expected_ml of the probabilities (their sum).
    CLASS_ml_where_p>0.975 and CLASS_ml_where_p>0.025 are the volumes of those regions. They are
    the central 95 % interval if voxels depend on each other fully: one uniform number decides
    them all, and a voxel is of the class where its probability exceeds that number. Of all
    dependence that agrees with the probabilities this gives the volume the largest variance;
    independent voxels would give an interval of next to no width.
    """
    ml = np.prod(image.GetSpacing()) / 1000
    labels = probabilities.argmax(axis=-1)
    row = {}
    for c, name in enumerate(classes, start=1):
        p = probabilities[..., c]
        sizes = [np.count_nonzero(labels == c), p.sum(dtype=np.float64)]
        sizes += [np.count_nonzero(p > bound) for bound in (SURE, POSSIBLE)]
        row |= {f"{name}_{what}": ml * size for what, size in zip(VOLUMES, sizes, strict=True)}
    return row


def read_volumes(output, model):
    """{scan: row} of the volumes.csv that is in `output`, to which the scans' rows are added."""
    path = output / "volumes.csv"
    if not path.exists():
        return {}
    expected = ["scan", *(f"{name}_{what}" for name in model.classes for what in VOLUMES)]
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if table.fieldnames != expected:
            raise DataError(f"{path}: of another model; choose another output folder")
        return {row["scan"]: row for row in table}


def write_volumes(output, rows):
    """Writes `rows`, dicts of one set of columns, to volumes.csv in `output`: three decimals."""
    files.write_csv(output / "volumes.csv", rows[0], rows, decimals=3)
