"""Which cases of a data set are volumes of one patient: `patients` in its dataset.json."""

import functools
import json
import os
import re

from bwcr_tf.data.subjects import Subject
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

_SERIES = re.compile(r"(.+)_(ed|es|t\d+|(frame|visit|scan|ses|tp)_?[^_]*)", re.I | re.DOTALL)


def subjects(path, about, pool, test):
    """The Subjects of the Volumes of the pool and of the test set, two tuples.

    A patient's volumes come in the order of their names. Warns where cases that count as patients
    look like volumes of one.

    Args:
      path: of the dataset.json.
      about: its Description, or None.

    Raises:
      DataError: `patients` lacks a case or has another, or a patient is in both folders.
    """
    cases = [volume.name for volume in (*pool, *test)]
    if about is None or about.patients is None:
        _warn_of_series(path, tuple(cases))
        return tuple(
            _join(volumes, dict(zip(cases, cases, strict=True))) for volumes in (pool, test)
        )
    if left := sorted(set(cases) - about.patients.keys()):
        raise DataError(f"{path}: 'patients' lacks {left[0]}; expected every case")
    for case in sorted(about.patients.keys() - set(cases)):
        unlabelled = path.parent / "imagesTs" / f"{case}_0000{about.ending}"
        if not os.path.exists(unlabelled):
            raise DataError(f"{path}: 'patients' has {case}; expected names of cases")
    trained, tested = (
        {about.patients[volume.name] for volume in part} for part in (pool, test)
    )
    if both := sorted(trained & tested):
        raise DataError(f"{path}: patient {both[0]} has cases for training and for test")
    return tuple(_join(volumes, about.patients) for volumes in (pool, test))


def _join(volumes, patients):
    found = {}
    for volume in sorted(volumes, key=lambda volume: volume.name):
        found.setdefault(patients[volume.name], []).append(volume)
    return tuple(Subject(patient, "", tuple(some)) for patient, some in found.items())


@functools.cache  # so once for each data set, however often it is read
def _warn_of_series(path, cases):
    """Warns where names of cases, a tuple, look like those of several volumes of one patient."""
    series = {}
    for case in cases:
        if found := _SERIES.fullmatch(case):
            series.setdefault(found[1], []).append(case)
    if several := {patient: some for patient, some in series.items() if len(some) > 1}:
        patient, (one, other, *_) = next(iter(several.items()))
        entry = json.dumps({one: patient, other: patient}, ensure_ascii=False)
        errors.warn(
            f"{path}: {one} and {other} look like volumes of one patient, but each case counts as "
            "a patient: they may be drawn for training and test, and tests and intervals take them "
            f'for independent; if they are not, write "patients": {entry[:-1]}, ...}}'
        )
