"""Volumes of a structure, in voxels, from the probabilities of a scan on its own grid (NumPy).

A Rule says how the calibrated volume and its interval are computed; `volume_choice` makes it. An
interval holds all sizes whose score, of one of KINDS, is at most the rule's quantile:

    nested     thresholds t on log p_c - max_k log p_k, from the quantile to its negative: the
               smallest set of voxels that is {t > s} for one of them to the largest. The score of
               a size is the |t| of the last voxel that must be in, or the first that must not.
    relative   |size - label's size| in units of the label's size
    uncertain  |size - label's size| in units of the number of voxels with |t| < 2

with units of at least FLOOR. All are functions of the probabilities and the size alone, so that
scores of exchangeable subjects are exchangeable.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_ROUNDING = 1e-9  # must not lose the size whose score is the quantile
FLOOR = 10.0  # voxels: the least denominator of a relative error, for missed structures


class Rule(NamedTuple):
    """How the calibrated volume of one class and its interval are computed."""

    region: float | None  # the sum of p where it exceeds this; None: the size of the label
    factor: float  # on that
    kind: str  # of KINDS
    quantile: float  # of the scores of calibration subjects; may be infinite
    level: float  # what the interval promises


class Volume(NamedTuple):
    """Of one class, in voxels."""

    label: float
    calibrated: float
    low: float
    high: float


class Kind(NamedTuple):
    """A score of a size, and the sizes whose score is at most a quantile."""

    score: Callable  # (probabilities, c, size) -> score
    interval: Callable  # (probabilities, c, quantile) -> (low, high)


def unseen(frequencies):
    """Probabilities [C] of a voxel that the network did not see: 1 for the most frequent class.

    By their `frequencies` [C], all such voxels are alike: a nested set would take in all or none.
    """
    return tuple(float(k == np.argmax(frequencies)) for k in range(len(frequencies)))


def measure(probabilities, c, rule):
    """The Volume of class c in probabilities [Z, Y, X, C]; the calibrated one is kept inside."""
    size = label_size(probabilities, c)
    low, high = KINDS[rule.kind].interval(probabilities, c, rule.quantile)
    found = rule.factor * estimate(probabilities, c, rule.region)
    return Volume(size, float(np.clip(found, low, high)), low, high)


def estimate(probabilities, c, region):
    """The sum of p_c where it exceeds `region`, or the size of the label for None."""
    if region is None:
        return label_size(probabilities, c)
    return float(sum(p[p > region].sum(dtype=np.float64) for p in probabilities[..., c]))


def label_size(probabilities, c):
    """The number of voxels whose most likely class is c."""
    size = 0
    for p in probabilities:  # argmax along a short last axis is slow
        largest = p[..., c] >= _largest(p, range(c, p.shape[-1]))
        if c:
            largest &= p[..., c] > _largest(p, range(c))  # of equal ones the first is the label
        size += np.count_nonzero(largest)
    return float(size)


def nested_score(probabilities, c, size):
    """The least s for which {margin > s} has at most `size` voxels and {margin >= -s} at least.

    The margin is log p_c less the largest log p of another class; infinite where one is zero.
    """
    margins = np.concatenate([_log_margin(p, c).ravel() for p in probabilities])

    def largest(k):  # from 1
        if not 1 <= k <= margins.size:
            return math.inf if k < 1 else -math.inf
        return np.partition(margins, margins.size - k)[margins.size - k]

    return max(0.0, float(largest(math.floor(size) + 1)), -float(largest(math.ceil(size))))


def nested_interval(probabilities, c, quantile):
    """Sizes (low, high) of {margin > quantile} and {margin >= -quantile}."""
    low = high = 0
    quantile += _ROUNDING
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite quantile
        above, below = np.exp([quantile, -quantile])
        for p in probabilities:  # slices, to save memory
            own, others = _own_and_others(p, c)
            low += np.count_nonzero(own > above * others)
            high += np.count_nonzero(own >= below * others)
    return float(low), float(high)


def around_label(unit):
    """The Kind of |size - label's size| in units of `unit`(probabilities, c), at least FLOOR."""

    def score(probabilities, c, size):
        return abs(size - label_size(probabilities, c)) / max(unit(probabilities, c), FLOOR)

    def interval(probabilities, c, quantile):
        label = label_size(probabilities, c)
        reach = (quantile + _ROUNDING) * max(unit(probabilities, c), FLOOR)
        return max(label - reach, 0.0), label + reach

    return Kind(score, interval)


def uncertain_size(probabilities, c):
    """The number of voxels with |margin| up to two: for two classes, p from 0.12 to 0.88."""
    low, high = nested_interval(probabilities, c, 2.0)
    return high - low


KINDS = {
    "nested": Kind(nested_score, nested_interval),
    "relative": around_label(label_size),
    "uncertain": around_label(uncertain_size),
}


def _own_and_others(p, c):
    """p_c and the largest p of another class [...]."""
    return p[..., c], _largest(p, [k for k in range(p.shape[-1]) if k != c])


def _largest(p, classes):
    """The largest p [...] of some classes."""
    return functools.reduce(np.maximum, (p[..., k] for k in classes))


def _log_margin(p, c):
    with np.errstate(divide="ignore"):
        own, others = (np.log(values, dtype=np.float64) for values in _own_and_others(p, c))
    return own - others
