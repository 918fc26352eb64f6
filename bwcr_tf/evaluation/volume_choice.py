"""The volumes.Rule of each class, chosen on calibration subjects, and its record (NumPy)."""

import math
from typing import NamedTuple

import numpy as np

from bwcr_tf.evaluation import (
    calibration,
    calibration_choice,
    conformal,
    significance,
    volume_estimator,
    volumes,
)

DEFAULT = "nested"  # the kind of interval where there are no subjects to choose it on


class Measured(NamedTuple):
    """What the choice needs of a volume_scans.Scan."""

    subject: str
    true: np.ndarray  # voxels [C-1], the mean over annotators
    scores: dict  # of a kind: [C-1]
    sizes: dict  # of a region of volume_estimator.REGIONS: voxels [C-1]


def measure(scan):
    """The Measured of a Scan."""
    p, true = scan.counted(), scan.true_sizes().mean(axis=0)
    classes = range(1, p.shape[-1])
    return Measured(
        scan.subject,
        true,
        {
            k: [kind.score(p, c, true[c - 1]) for c in classes]
            for k, kind in volumes.KINDS.items()
        },
        {
            region: [volumes.estimate(p, c, region) for c in classes]
            for region in volume_estimator.REGIONS
        },
    )


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
    measured = [measure(each) for each in found]
    by_kind = widths(others, coverage) if others else {}
    return {
        "coverage": coverage,
        "subjects": list(dict.fromkeys(each.subject for each in found)),
        "chosen_on": list(dict.fromkeys(each.subject for each in others)),
        "classes": {
            name: _of_class(
                measured, {kind: table[c - 1] for kind, table in by_kind.items()}, coverage, c
            )
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


def _of_class(measured, widths_ml, coverage, c):
    kind = min(widths_ml, key=widths_ml.get, default=DEFAULT)
    own = scores(kind, measured, c)
    quantile = float(conformal.quantile(own, coverage))
    subjects = [each.subject for each in measured]
    true = np.array([each.true[c - 1] for each in measured])
    sizes = {
        region: np.array([each.sizes[region][c - 1] for each in measured])
        for region in volume_estimator.REGIONS
    }
    region, factor, errors = volume_estimator.choose(subjects, true, sizes)
    return {
        "region": region,
        "factor": factor,
        "kind": kind,
        "quantile": quantile if math.isfinite(quantile) else None,  # JSON has no infinity
        "level": conformal.level(len(own), coverage),
        "widths_ml": widths_ml,
        "held_out_errors": {name: values.tolist() for name, values in errors.items()},
    }


def scores(kind, measured, c):
    """The score [n] of each subject of a list of Measured: the largest of its volumes'."""
    values = [each.scores[kind][c - 1] for each in measured]
    return significance.by_subject([each.subject for each in measured], values, max)


def widths(found, coverage):
    """{kind: mean width in ml [C-1] of intervals that have this coverage of the same Scans}."""
    measured = [measure(each) for each in found]
    classes = range(1, len(measured[0].true) + 1)
    quantiles = {
        kind: [conformal.quantile(scores(kind, measured, c), coverage) for c in classes]
        for kind in volumes.KINDS
    }
    rows = {kind: [] for kind in quantiles}
    for each in found:
        p = each.counted()
        for kind, found_quantiles in quantiles.items():
            interval = volumes.KINDS[kind].interval
            ends = [interval(p, c, q) for c, q in zip(classes, found_quantiles, strict=True)]
            rows[kind].append(each.voxel_ml() * np.ptp(ends, axis=1))
    return {kind: np.mean(table, axis=0).tolist() for kind, table in rows.items()}
