"""What model.json says of a SavedModel, and that both are as they were written."""

import dataclasses
import hashlib
import json
import pathlib

from bwcr_tf.data import coding, formats, normalization, tiles
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import training_data
from bwcr_tf.training.flag_roles import training_flags
from bwcr_tf.training.run_folder import digest


def describe(spec, flags, codes):
    """What model.json says beside a SavedModel: all that a scan needs to be predicted.

    `codes` are those of `class_codes`.
    """
    return {
        "dataset": spec.dataset,
        "classes": ["background", *spec.classes],
        "channels": spec.channels or ["image"],
        "input": f"image [N, H, W, {len(spec.settings.windows)}] float32 in [0, 1]",
        "preprocessing": dataclasses.asdict(spec.settings)
        | {"percentiles": normalization.PERCENTILES},
        "members": [name for name in flags.get("members", "").split(",") if name],
        "split_hash": spec.hash,
        "training_subjects": spec.training,
        "codes": codes,
        "flags": training_flags(flags),
    }


def class_codes(directory, folder):
    """{class: code} of a data folder's dataset.json; without one, of a SavedModel `folder`.

    Raises:
      DataError: as coding.read_codes.
    """
    path = pathlib.Path(directory, "dataset.json")
    return coding.read_codes(path) if path.exists() else read(folder).get("codes", {})


def read(folder):
    """What a SavedModel's model.json says, unverified; {} where there is none."""
    try:
        return dict(json.loads((folder / "model.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def max_tiles(record):
    """The most tiles of a slice that bwcr_tf.predict takes, by a calibration's record."""
    return (record.get("tiles") or {}).get("max_tiles", tiles.LIMIT)


def class_frequencies(description):
    """Probabilities [C] where nothing is seen: those of the training labels, or uniform."""
    count = len(description["classes"])
    return tuple(description.get("class_frequencies") or (1 / count,) * count)


def outside_in_words(folder):
    """The probabilities that `slices` of a SavedModel gives beyond the network's grid, in words."""
    model = read(folder)
    if model and "slices_outside" not in model:
        return "background for certain (of an earlier version: export the run again)"
    if model and "class_frequencies" not in model:
        return "alike for all classes"
    return "the class frequencies of training"


def write_manifest(folder, description):
    """Writes model.json into a SavedModel: `description`, and digests of it and of all files.

    TensorFlow keeps no checksum of the graph.
    """
    content = description | {"files": _digests(folder)}
    files.write_json(folder / "model.json", content | {"digest": digest(content)})


def verify_manifest(folder):
    """The description in a SavedModel's model.json, if it and all files are as they were.

    Warns where training had another version of the preprocessing.

    Raises:
      DataError: it is no SavedModel of this package, or not what was written.
    """
    path = folder / "model.json"
    try:
        content = json.loads(path.read_text("utf-8"))
        expected, files = content.pop("digest"), content["files"]
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{folder}: not a model of this package ({path.name})") from error
    if expected != digest(content) or files != _digests(folder):
        raise DataError(f"{folder}: damaged, its files are not those that were exported")
    training_data.check_version(folder, content)
    return content


def _digests(folder):
    """SHA-256 of the files that TensorFlow reads from a SavedModel, by name."""
    files = [*formats.visible(folder, "*.pb"), *formats.visible(folder / "variables")]
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
    }
