"""validation.csv of a run: its scores on the validation volumes and its losses, by step."""

import csv

import numpy as np

from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError

EARLY = 0.1  # where networks are still unsure of everything; docs/training.md has the trial
TERMS = ("loss", "supervised", "consistency")  # means over the steps since the last validation


def columns(classes):
    """The columns of a run of these foreground classes."""
    return ["step", *(f"dice_{name}" for name in classes), "dice", "ece", *TERMS]


def record(path, row):
    """Writes the row of a validation, a dict by `columns`, in place of those from its step on.

    So a run that resumes from an earlier step, whatever was written after that, has each row once.
    """
    kept = [earlier for earlier in read(path) if earlier["step"] < row["step"]]
    write(path, [*kept, row])


def write(path, rows):
    """Writes rows in the order of their steps; the Dice, by which one is selected, in full."""
    full = [row | {"dice": repr(float(row["dice"]))} for row in rows]
    files.write_csv(path, list(rows[0]), full, ".6f")


def read(path):
    """The rows, `step` being an int and the rest floats; [] if there is no such file.

    Raises:
      DataError: it is not a table of validations.
    """
    if not path.exists():
        return []
    try:
        rows = list(files.read_csv(path))
        return [
            {name: (int if name == "step" else float)(cell) for name, cell in row.items()}
            for row in rows
            if row["step"]
        ]
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a table of validations ({error!r})") from error


def selected(rows):
    """The step whose averages are kept: the best Dice, NaN counting as 0; a later tie wins.

    None without rows.
    """
    found = max(rows, key=lambda row: (np.nan_to_num(row["dice"]), row["step"]), default={})
    return found.get("step")


def is_early(rows):
    """Whether the averages that are kept are of the first EARLY of the steps."""
    return bool(rows) and selected(rows) <= EARLY * rows[-1]["step"]


def in_words(rows):
    """` (step 200 of 5000: hardly trained)`, or less: where the averages that are kept are from."""
    if not rows:  # of a run of an earlier version, or an ensemble
        return ""
    early = ": hardly trained" if is_early(rows) else ""
    return f" (step {selected(rows)} of {rows[-1]['step']}{early})"
