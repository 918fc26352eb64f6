"""Which map is exported with a network, and why (NumPy, SciPy)."""

import numpy as np
from scipy import stats

from bwcr_tf import metrics
from bwcr_tf.evaluation import calibration, significance
from bwcr_tf.system.errors import DataError
from bwcr_tf.system.progress import Progress


def choose(choice, predict, cases, part):
    """The record of a choice, as calibration.json keeps it.

    `auto` takes the map whose held-out gain in negative log-likelihood is largest among those
    that `helps` accepts; none if there are none, or if `part` is `validation`.

    Args:
      choice: `auto`, `none`, or one of calibration.PARAMETERS.
      predict: slices [Z, H, W, K] -> probabilities [Z, H, W, C], the network's own.
      cases: the calibration subjects' preprocess.Cases, not used by `none`; all annotators that
        a case has count.
      part: where the subjects are from; `validation` subjects selected the weights.

    Raises:
      DataError: a map is asked for, and all pixels of the cases are ignored.
    """
    record = {"choice": choice}
    if choice == "none":
        return record | {"kind": "none"}
    subjects = join(predict, cases)
    if not subjects and choice != "auto":
        raise DataError(f"no labelled pixel to fit {choice} to; expected --calibration=none")
    samples = {name: calibration.sample(*pixels) for name, pixels in subjects.items()}
    kinds = calibration.PARAMETERS if choice == "auto" else (choice,)
    progress = Progress("calibration", len(kinds) * len(subjects))
    gains = {kind: held_out(kind, subjects, samples, progress.advance) for kind in kinds}
    selected, kind = part == "validation", choice
    if choice == "auto":  # those who selected the weights gain by maps that may suit no others
        kind = "none" if selected else best_kind(gains)
    record |= {
        "kind": kind,
        "subjects": sorted(subjects),
        "part": part,
        "selected_weights": selected,
        "pixels": sum(len(targets) for _, targets in subjects.values()),
        "candidates": {name: summarize(*table) for name, table in gains.items()},
    }
    if kind != "none":
        found = calibration.fit(kind, list(samples.values()))
        record |= {"weights": found.weights.tolist(), "bias": found.bias.tolist()}
    return record


def held_out(kind, subjects, samples, done=lambda: None):
    """What each subject gains by the map fitted on all the others.

    Args:
      subjects: {name: (probabilities, targets)}, both [N, C], over all pixels.
      samples: {name: calibration.Sample} of the same pixels.
      done: called after each subject.

    Returns:
      The fall of the negative log-likelihood and of TACE, as `tace_gain`, two arrays by subject;
      both are empty for fewer than two subjects.
    """
    gains = []
    for name, (probabilities, targets) in subjects.items():
        others = [samples[other] for other in samples if other != name]
        if others:
            after = calibration.apply(calibration.fit(kind, others), probabilities)
            nll, tace = (
                [score(p, targets) for p in (probabilities, after)]
                for score in (metrics.nll, metrics.tace)
            )
            gains.append((nll[0] - nll[1], tace_gain(*tace)))
        done()
    return np.reshape(gains, (-1, 2)).T


def tace_gain(before, after):
    """Mean fall of TACE [C-1] over the classes of which it is defined; NaN if there are none.

    -inf where it is undefined only after the map, which leaves nothing of a class over TACE's
    threshold: that counts against it.
    """
    if np.any(np.isnan(after) & ~np.isnan(before)):
        return -np.inf
    return significance.mean(before - after)


def helps(nll, tace):
    """Whether a map's held-out gains by subject say that it is better than none.

    The mean gain in negative log-likelihood must exceed its standard error, and the mean gain in
    TACE must not be negative. With fewer than three subjects nothing is accepted.
    """
    if len(nll) < significance.FEWEST:
        return False
    return bool(nll.mean() > stats.sem(nll) and not significance.mean(tace) < 0)


def best_kind(gains):
    """The accepted kind that gains most, of {kind: (NLL gains, TACE gains) by subject}."""
    accepted = {kind: nll.mean() for kind, (nll, tace) in gains.items() if helps(nll, tace)}
    return max(accepted, key=accepted.get, default="none")


def summarize(nll, tace):
    """What the record keeps of a candidate: gains by subject, and whether `helps` accepts them."""
    many = len(nll) > 1
    return {
        "nll_gain": float(nll.mean()) if many else None,
        "nll_gain_standard_error": float(stats.sem(nll)) if many else None,
        "tace_gain": _number(significance.mean(tace)) if many else None,
        "nll_gains": nll.tolist(),
        "tace_gains": [_number(gain) for gain in tace],
        "accepted": helps(nll, tace),
    }


def join(predict, cases):
    """{subject: (probabilities, targets)} [N, C] of all its pixels that are not ignored."""
    parts = {}
    for case in cases:
        p = predict(case.image)
        targets = metrics.fractions(case.label_maps, p.shape[-1])
        kept = targets.any(axis=-1)
        if kept.any():
            parts.setdefault(case.subject, []).append((p[kept], targets[kept]))
    return {
        name: [np.concatenate(arrays) for arrays in zip(*pairs, strict=True)]
        for name, pairs in parts.items()
    }


def _number(value):
    return float(value) if np.isfinite(value) else None
