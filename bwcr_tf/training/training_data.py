"""training_data.json in the folder of a run: what prediction must know of the training scans."""

import json

import numpy as np

from bwcr_tf.system import files

_IDENTITIES = np.eye(3), np.diag([-1.0, -1.0, 1.0])  # in the axes of DICOM, and of NIfTI


def describe(cases, num_classes):
    """What is kept of the training cases.

    Returns:
      Dict of `class_frequencies` [C], the share of each class in the labelled pixels of the
      network's grid, and `directions_known`: whether any scan's directions are other than the
      identity, which is also what files say whose directions were lost.
    """
    label_maps = (m for case in cases for m in case.label_maps)
    counts = [np.bincount(m.ravel(), minlength=num_classes)[:num_classes] for m in label_maps]
    counts = np.sum(counts, axis=0)
    known = any(not _is_identity(case.original_grid.direction) for case in cases)
    return {
        "class_frequencies": (counts / counts.sum()).tolist(),
        "directions_known": known,
    }


def _is_identity(direction):
    axes = np.reshape(direction, (3, 3))
    return any(np.allclose(axes, identity, rtol=0, atol=1e-6) for identity in _IDENTITIES)


def join(described):
    """What is kept of several runs of one data set: mean frequencies, and any known directions."""
    frequencies = [each["class_frequencies"] for each in described]
    return {
        "class_frequencies": np.mean(frequencies, axis=0).tolist(),
        "directions_known": any(each["directions_known"] for each in described),
    }


def write(folder, cases, num_classes):
    """Writes what `describe` says of the training cases into the folder of a run."""
    save(folder, describe(cases, num_classes))


def save(folder, described):
    """Writes what `describe` or `join` returned."""
    files.write_json(folder / "training_data.json", described)


def read(folder):
    """What was written; {} of a run of an earlier version."""
    path = folder / "training_data.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else {}
