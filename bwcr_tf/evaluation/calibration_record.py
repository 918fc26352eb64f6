"""calibration.json: all that is fitted to calibration subjects (NumPy).

First the map, then tiles, then volumes.
"""

import json
import pathlib

import numpy as np

from bwcr_tf.evaluation import (
    calibration,
    calibration_choice,
    tile_choice,
    volume_choice,
    volume_scans,
    volume_scores,
)
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError

NAMES = "calibration.json", "temperature.json"  # the second is of runs of earlier versions
COVERAGE = 0.9  # of the intervals of volumes


def make(predict, cases, spec, choice, coverage, old=None, frequencies=None):
    """The record of a calibration, as calibration.json keeps it.

    Raises:
      DataError: there are no calibration subjects for what is asked.

    Args:
      predict: slices [Z, H, W, K] -> probabilities [Z, H, W, C], the network's own.
      cases: {part of the split: preprocess.Cases}, of training subjects perhaps some; with the
        choice `none` and a coverage of zero, none are used.
      spec: training.run_folder.RunSpec.
      choice: of calibration_choice.choose; None keeps the map of the record `old`. Without cases,
        its choice between tiles and the centre is kept, too.
      coverage: of the intervals; zero leaves them out, so that `volumes` is None. None is that of
        the record `old`, or COVERAGE where it is of a version without intervals.
    """
    part = spec.calibration_part
    own = cases[part] if cases else ()
    if coverage is None:
        volumes = (old or {}).get("volumes", {"coverage": COVERAGE})
        coverage = volumes["coverage"] if volumes else 0
    if not own and (choice not in (None, "none") or coverage):
        raise DataError(
            "no subjects to calibrate on; expected some that no run trained on, or "
            "--calibration=none --coverage=0"
        )
    record = (
        dict(old) if choice is None else calibration_choice.choose(choice, predict, own, part)
    )
    found = to_map(record, spec.settings.num_classes)
    record["tiles"], record["volumes"] = (old or {}).get("tiles"), None
    if own and frequencies:  # not by a calibration set, whose intervals that would void
        judges = cases.get("validation") or cases["training"]  # an ensemble may have no others
        record["tiles"] = tile_choice.choose(predict, judges, found, frequencies)
    if coverage:
        others = [case for other, some in cases.items() if other != part for case in some]
        how = found, tile_choice.beyond(record), coverage, spec.classes
        record["volumes"] = _volumes(predict, own, others, *how) | {"part": part}
    return record


def _volumes(predict, own, others, its_map, beyond, coverage, classes):
    """The record of volumes of calibration Cases and of others, which have no part in the map."""
    maps = volume_choice.held_out_maps(its_map, predict, own)
    rest = dict.fromkeys((case.subject for case in others), its_map)
    found = volume_scans.scans(predict, own, maps, beyond)
    return volume_choice.choose(
        found, volume_scans.scans(predict, others, rest, beyond), coverage, classes
    )


def save(folder, record):
    """Writes the record as a run's calibration.json, which marks a run that is trained."""
    files.write_json(pathlib.Path(folder) / NAMES[0], record)


def finished(folder):
    """Whether a run's folder has a record, which is written once the run is trained."""
    return any((pathlib.Path(folder) / name).exists() for name in NAMES)


def load(folder, num_classes):
    """The record of a run, and its calibration.Map.

    A temperature.json of an earlier version is read as a record of kind `temperature`, or `none`.

    Raises:
      DataError: there is none, or not one for so many classes.
    """
    if not finished(folder):
        raise DataError(f"{folder}: not trained to the end; the same train.py command resumes")
    path = next(p for p in (pathlib.Path(folder) / name for name in NAMES) if p.exists())
    try:
        record = json.loads(path.read_text("utf-8"))
        if path.name == NAMES[1]:
            return _of_temperature(record, num_classes)
        return record, to_map(record, num_classes)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not the calibration of a network of {num_classes} classes"
        ) from error


def outdated(folder, num_classes, summary):
    """The keys of a run's summary.json, given as a dict, of another calibration than it has now.

    Raises:
      DataError: as `load`.
    """
    record, found = load(folder, num_classes)
    if "temperature" in summary:  # of an earlier version
        of_scores = to_json(calibration.scaled(num_classes, summary["temperature"]))
    else:
        of_scores = summary.get("calibration", {}).get("map")
    keys = [] if of_scores == to_json(found) else ["calibration", "scores_calibrated"]
    rules = record.get("volumes") and volume_scores.to_json(record["volumes"])
    of_volumes = (summary.get("volumes") or {}).get("rules")
    return keys if of_volumes == (rules or None) else [*keys, "volumes"]


def to_map(record, num_classes):
    """The calibration.Map of a record."""
    if record["kind"] == "none":
        return calibration.identity(num_classes)
    weights, bias = (np.array(record[key], np.float64) for key in ("weights", "bias"))
    shapes = weights.shape == (2 * num_classes, num_classes), bias.shape == (num_classes,)
    finite = np.isfinite(weights).all() and np.isfinite(bias).all()
    if not all(shapes) or not finite or record["kind"] not in calibration.PARAMETERS:
        raise ValueError("another map")
    return calibration.Map(record["kind"], weights, bias)


def to_json(found):
    """What summary.json keeps of a calibration.Map."""
    return [found.weights.tolist(), found.bias.tolist()]


def _of_temperature(record, num_classes):
    value, choice = record["temperature"], record.get("choice")
    if not 0 < value < np.inf:
        raise ValueError("not positive")
    found = calibration.scaled(num_classes, value)
    subjects = record.get("validation_subjects", [])
    fitted = {"subjects": subjects, "part": "validation", "selected_weights": True}
    read = {"choice": choice, "kind": found.kind} | (fitted if choice == "fit" else {})
    return read | dict(zip(("weights", "bias"), to_json(found), strict=True)), found
