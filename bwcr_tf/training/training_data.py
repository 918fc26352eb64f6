"""training_data.json in the folder of a run: what prediction must know of the training scans."""

import json

import numpy as np

from bwcr_tf.data import grids, preprocess
from bwcr_tf.system import errors, files
from bwcr_tf.system.errors import DataError

_IDENTITIES = np.eye(3), np.diag([-1.0, -1.0, 1.0])  # in the axes of DICOM, and of NIfTI


def describe(cases, num_classes):
    """What is kept of the training cases.

    Returns:
      Dict of `class_frequencies` [C], and `directions_known`: whether any scan's directions are
      other than the identity, which is also what files say whose directions were lost.
    """
    known = any(not _is_identity(case.original_grid.direction) for case in cases)
    return {
        "class_frequencies": class_frequencies(cases, num_classes).tolist(),
        "directions_known": known,
    }


def class_frequencies(cases, num_classes):
    """Share [C] of each class in the labelled voxels beyond the network's grid.

    One extra scan with the frequencies of the grid is counted in: that five scans show
    nothing does not mean that no scan does. Where no scan is larger, they are those of the grid.
    """
    within = sum(_counts(case.label_maps, num_classes) for case in cases)
    within = within / within.sum()
    beyond = np.array([_counts_beyond(case, num_classes) for case in cases])
    scans = np.count_nonzero(beyond.any(axis=1))
    if not scans:
        return within
    return (scans * beyond.sum(axis=0) / beyond.sum() + within) / (scans + 1)


def _counts_beyond(case, num_classes):
    """`_counts` of a Case's voxels that the network's grid does not hold."""
    beyond = grids.outside(case.grid, case.original_grid)
    return _counts((label_map[beyond] for label_map in case.original_label_maps), num_classes)


def _counts(label_maps, num_classes):
    """Pixels [C] of each class, without those that are ignored."""
    joined = np.concatenate([label_map.ravel() for label_map in label_maps])
    return np.bincount(joined, minlength=num_classes)[:num_classes]


def _is_identity(direction):
    axes = np.reshape(direction, (3, 3))
    return any(np.allclose(axes, identity, rtol=0, atol=1e-6) for identity in _IDENTITIES)


def join(described):
    """What is kept of several runs of one data set: mean frequencies, and any known directions.

    The version of the preprocessing, `preprocessed_by`, is kept where it is one.
    """
    frequencies = [each["class_frequencies"] for each in described]
    versions = {each.get("preprocessed_by") for each in described}
    return {
        "class_frequencies": np.mean(frequencies, axis=0).tolist(),
        "directions_known": any(each["directions_known"] for each in described),
        "preprocessed_by": versions.pop() if len(versions) == 1 else None,
    }


def with_version(folder, described):
    """`described` and the version of the preprocessing; None for a run that began with another."""
    if not any((folder / "checkpoints").glob("*")):
        return described | {"preprocessed_by": preprocess.VERSION}
    earlier = read(folder)
    check_version(folder, earlier)
    same = earlier.get("preprocessed_by") == preprocess.VERSION
    return described | {"preprocessed_by": preprocess.VERSION if same else None}


def check_version(folder, described):
    """Warns if training had another version of the preprocessing, or one that is not known."""
    found = described.get("preprocessed_by")
    if found != preprocess.VERSION:
        errors.warn(
            f"{folder}: trained on scans that were preprocessed by "
            f"{f'version {found}' if found else 'an unknown version'} of the package's "
            f"preprocessing; expected {preprocess.VERSION}, the present one. Scores may be lower; "
            "train it again, or use the package that trained it"
        )


def write(folder, described):
    """Writes what `describe` or `join` returned into the folder of a run."""
    files.write_json(folder / "training_data.json", described)


def read(folder):
    """What was written; {} of a run of an earlier version.

    Raises:
      DataError: the file is damaged.
    """
    path = folder / "training_data.json"
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError as error:
        raise DataError(f"{path}: not JSON; expected what training wrote") from error
