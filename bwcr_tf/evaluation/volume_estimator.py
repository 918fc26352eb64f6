"""Which estimate of a volume has the least relative error on subjects left out (NumPy)."""

import numpy as np
from scipy import stats

from bwcr_tf.evaluation import significance, volumes

REGIONS = (None, 0.01, 0.05, 0.2, 0.5)  # of volumes.estimate; None is the label's size
_SHRINK = 5  # the log factor is shrunk as if by this many more volumes of factor 1
_FACTORS = 0.5, 2.0
_CONFIDENCE = 0.975  # that a candidate gains on the label's size (one-sided t test)


def choose(subjects, true, sizes):
    """(region, factor, held-out errors) of the calibrated volume of one class.

    Candidates are the label's size, that times a factor, and the sum of p over REGIONS. Of those
    whose mean absolute relative error on subjects left out is, by a t test, below that of the
    label's size, the one that gains most is taken; else the label's size.

    Args:
      subjects: whose each of N volumes is.
      true: [N] voxels.
      sizes: {region: [N]} of volumes.estimate.

    Returns:
      The last is {candidate: mean error [n] of each subject's volumes, left out}.
    """
    subjects = np.array(subjects)
    errors = {
        str(region or "label"): relative_errors(sizes[region], true) for region in REGIONS
    }
    factors = [factor(sizes[None][subjects != s], true[subjects != s]) for s in subjects]
    errors["factor"] = relative_errors(factors * sizes[None], true)
    errors = {name: significance.by_subject(subjects, e, np.mean) for name, e in errors.items()}
    name = best(errors)
    if name == "factor":
        return None, factor(sizes[None], true), errors
    return (None if name == "label" else float(name)), 1.0, errors


def best(errors):
    """The candidate of {candidate: errors [n]} that is taken; `label` unless one is better."""
    gains = {name: errors["label"] - values for name, values in errors.items()}
    sure = {
        name: gain.mean()
        for name, gain in gains.items()
        if len(gain) >= significance.FEWEST
        and gain.mean() > stats.t.ppf(_CONFIDENCE, len(gain) - 1) * stats.sem(gain)
    }
    return max(sure, key=sure.get, default="label")


def relative_errors(sizes, true):
    """Absolute errors [N] relative to true sizes, or to volumes.FLOOR where they are smaller."""
    return np.abs(sizes - true) / np.maximum(true, volumes.FLOOR)


def factor(sizes, true):
    """What sizes [N] are multiplied by for the least mean `relative` error, drawn towards 1.

    The minimum is a weighted median of the ratios; with n volumes its logarithm counts
    n / (n + 5).
    """
    there = sizes > 0
    if not there.any():
        return 1.0
    ratios = true[there] / sizes[there]
    weights = sizes[there] / np.maximum(true[there], volumes.FLOOR)
    order = np.argsort(ratios)
    total = np.cumsum(weights[order])
    median = np.clip(ratios[order][np.searchsorted(total, total[-1] / 2)], *_FACTORS)
    return float(median ** (len(ratios) / (len(ratios) + _SHRINK)))
