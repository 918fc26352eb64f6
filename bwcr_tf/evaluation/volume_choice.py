"""The volumes.Rule of each class, chosen on calibration subjects, and its record (NumPy)."""

import math
from typing import NamedTuple

import numpy as np

from bwcr_tf.evaluation import (
    calibration,
    calibration_choice,
    conformal,
    inference,
    volume_estimator,
    volumes,
)

DEFAULT = "nested"  # the kind of interval where there are no subjects to choose it on


class Scan(NamedTuple):
    """A labelled scan on its own grid."""

    subject: str
    probabilities: np.ndarray  # [Z, Y, X, C]
    sizes: np.ndarray  # true voxels [C-1], the mean over annotators
    voxel_ml: float


def scan(probabilities, case):
    """The Scan of a preprocess.Case, of probabilities [Z, H, W, C] on the network's grid.

    Ignored voxels are background for certain, in the label as in the probabilities.
    """
    own = np.clip(inference.restore(probabilities, case), 0, 1)  # as bwcr_tf.predict has them
    num_classes = probabilities.shape[-1]
    own[case.original_label_map == num_classes] = np.eye(num_classes)[0]
    sizes = true_sizes(case, num_classes).mean(axis=0)
    return Scan(case.subject, own, sizes, float(np.prod(case.original_grid.spacing_mm) / 1000))


def true_sizes(case, num_classes):
    """Voxels [K, C-1] of each foreground class by annotator."""
    counts = [np.bincount(m.ravel(), minlength=num_classes) for m in case.original_label_maps]
    return np.array([each[1:num_classes] for each in counts], np.float64)


def scans(predict, cases, maps):
    """The Scans of Cases after the calibration.Map of each subject."""
    known = [case for case in cases if case.subject in maps]  # some pixels are not ignored
    return [scan(calibration.apply(maps[c.subject], predict(c.image)), c) for c in known]


def held_out_maps(found, predict, cases):
    """{subject: the calibration.Map of its kind that is fitted without the subject}.

    Of one subject, and of the kind none, it is the Map `found` itself.
    """
    if found.kind == "none":
        return dict.fromkeys((case.subject for case in cases), found)
    pixels = calibration_choice.join(predict, cases)
    samples = {name: calibration.sample(*arrays) for name, arrays in pixels.items()}
    return {
        name: calibration.fit(found.kind, [samples[o] for o in samples if o != name])
        if len(samples) > 1
        else found
        for name in samples
    }


def choose(found, others, coverage, classes):
    """The record of volumes: a Rule for each class, and what was tried.

    Args:
      found: Scans of the calibration subjects, which give the interval its width.
      others: Scans of other subjects, on which the narrower kind of interval is chosen; chosen
        on the same ones, its level would not hold. Without any, it is DEFAULT.
    """
    return {
        "coverage": coverage,
        "subjects": list(dict.fromkeys(each.subject for each in found)),
        "chosen_on": list(dict.fromkeys(each.subject for each in others)),
        "classes": {
            name: _of_class(found, others, coverage, c)
            for c, name in enumerate(classes, start=1)
        },
    }


def rules(record, classes):
    """A tuple of a Rule for each class, from a record that JSON kept; None without a record.

    Raises:
      KeyError, TypeError or ValueError: it is not a record of these classes.
    """
    if record is None:
        return None
    return tuple(_rule(record["classes"][name]) for name in classes)


def _rule(fields):
    region, quantile = fields["region"], fields["quantile"]
    if fields["kind"] not in volumes.KINDS:
        raise ValueError(f"intervals of kind {fields['kind']}")
    return volumes.Rule(
        None if region is None else float(region),
        float(fields["factor"]),
        fields["kind"],
        math.inf if quantile is None else float(quantile),
        float(fields["level"]),
    )


def _of_class(found, others, coverage, c):
    widths = {kind: width(kind, others, coverage, c) for kind in volumes.KINDS if others}
    kind = min(widths, key=widths.get, default=DEFAULT)
    own = scores(kind, found, c)
    quantile = float(conformal.quantile(own, coverage))
    true = np.array([each.sizes[c - 1] for each in found])
    sizes = {
        region: np.array([volumes.estimate(each.probabilities, c, region) for each in found])
        for region in volume_estimator.REGIONS
    }
    subjects = [each.subject for each in found]
    region, factor, errors = volume_estimator.choose(subjects, true, sizes)
    return {
        "region": region,
        "factor": factor,
        "kind": kind,
        "quantile": quantile if math.isfinite(quantile) else None,  # JSON has no infinity
        "level": conformal.level(len(own), coverage),
        "widths_ml": widths,
        "held_out_errors": {name: values.tolist() for name, values in errors.items()},
    }


def scores(kind, found, c):
    """The score [n] of each subject of Scans: the largest of its volumes'."""
    score = volumes.KINDS[kind].score
    values = [score(each.probabilities, c, each.sizes[c - 1]) for each in found]
    return volume_estimator.by_subject([each.subject for each in found], values, max)


def width(kind, found, coverage, c):
    """Mean width in ml of intervals that have this coverage of the same Scans."""
    quantile = conformal.quantile(scores(kind, found, c), coverage)
    ends = [volumes.KINDS[kind].interval(each.probabilities, c, quantile) for each in found]
    return float(
        np.mean([e.voxel_ml * np.ptp(pair) for e, pair in zip(found, ends, strict=True)])
    )
