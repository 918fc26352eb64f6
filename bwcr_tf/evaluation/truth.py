"""Probabilities against the true ones: the fractions of several annotators, or a phantom's own.

`measure` returns sums over one volume that `analysis.pool` adds up, `summarize` what summary.json
keeps of them.
"""

import numpy as np

from bwcr_tf import boundary, metrics

RADIUS = 10.0  # pixels of the paper's grid that are near the foreground, whatever a run's R is
_BINS = 20  # of probability, in the pooled error
_SHOWN = 0.05  # the pooled error is over the pixels of a larger probability
_LEVELS = 60  # steps of the fraction, so that those of one to six annotators are kept apart


def known(case):
    """Whether the case has several annotators, or true probabilities."""
    return case.true_probabilities is not None or len(case.label_maps) > 1


def fractions(case, num_classes):
    """The true probabilities [Z, H, W, C] of a case: its own, or the fraction of its annotators."""
    if case.true_probabilities is not None:
        return case.true_probabilities
    return metrics.fractions(case.label_maps, num_classes)


def measure(probabilities, case):
    """Sums over one volume, as dicts of arrays; `probabilities` [Z, H, W, C] are on its grid."""
    true = fractions(case, probabilities.shape[-1])
    radius = RADIUS * boundary.grid_scale(case.label_map.shape[1:])
    near = (case.distance < radius) | (true[..., 0] < 0.99)
    return {
        "near": error(probabilities, case.label_map, true, near),
        "reliability": metrics.reliability(probabilities, true),
        "pooled": by_probability(probabilities, true),
        "levels": by_fraction(probabilities, true),
    }


def error(probabilities, label_map, true, near):
    """Sums over the pixels `near` of errors against the true probabilities [Z, H, W, C].

    `variation` is the total variation, half the sum of |p_c - true_c|; `label_variation` is
    that of the one-hot label map, one annotator's draw; `square` sums squares over classes.
    """
    labels = np.eye(probabilities.shape[-1])[label_map[near]]
    true, difference = true[near].astype(np.float64), probabilities[near] - true[near]
    return {
        "count": np.count_nonzero(near),
        "variation": np.abs(difference).sum(dtype=np.float64) / 2,
        "label_variation": np.abs(labels - true).sum() / 2,
        "square": np.square(difference).sum(dtype=np.float64),
    }


def by_probability(probabilities, true):
    """Sums [bins] of p_c and of the true one in bins of p_c, over foreground classes and pixels."""
    p, true = (array[..., 1:].ravel() for array in (probabilities, true))
    index = np.minimum((p * _BINS).astype(int), _BINS - 1)
    return _sums(index, p > _SHOWN, _BINS, probability=p, fraction=true)


def by_fraction(probabilities, true):
    """Sums [levels] of p_c, the true one and |p_c - true_c| by the true one, likewise."""
    p, true = (array[..., 1:].ravel() for array in (probabilities, true))
    level = np.clip(np.rint(true * _LEVELS), 0, _LEVELS).astype(int)
    values = {"probability": p, "fraction": true, "error": np.abs(p - true)}
    return _sums(level, slice(None), _LEVELS + 1, **values)


def _sums(index, kept, length, **values):
    index = index[kept]
    sums = {key: np.bincount(index, array[kept], length) for key, array in values.items()}
    return {"count": np.bincount(index, minlength=length)} | sums


def summarize(sums):
    """What summary.json keeps of pooled sums; None is not measured.

    Returns:
      Dict of `pixels`, `variation`, `rms` and `label_variation` per pixel near the foreground;
      `reliability` against the true probabilities, as analysis' own; `pooled_error`, the mean
      |mean p - mean fraction| over bins of p, weighed by their pixels; `disagreed`, the mean
      |p - fraction| where annotators disagree; and `levels`, lists of the mean `fraction`,
      `probability` and `error`, and of the `count`, at each fraction that there is.
    """
    near, pooled, levels = sums["near"], sums["pooled"], sums["levels"]
    gaps = np.abs(pooled["probability"] - pooled["fraction"])
    between = {key: array[1:-1].sum() for key, array in levels.items()}
    there = levels["count"] > 0
    means = {key: array[there] / levels["count"][there] for key, array in levels.items()}
    means["count"] = levels["count"][there]
    return {
        "pixels": int(near["count"]),
        "variation": ratio(near["variation"], near["count"]),
        "rms": ratio(near["square"], near["count"], np.sqrt),
        "label_variation": ratio(near["label_variation"], near["count"]),
        "reliability": {key: array.tolist() for key, array in sums["reliability"].items()},
        "pooled_error": ratio(gaps.sum(), pooled["count"].sum()),
        "disagreed": ratio(between["error"], between["count"]),
        "levels": {key: array.tolist() for key, array in means.items()},
    }


def ratio(total, count, function=lambda value: value):
    """function(total / count) as a float, or None where nothing was counted."""
    return float(function(total / count)) if count else None
