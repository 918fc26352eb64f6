"""Means, and paired tests and intervals with subjects as the unit (NumPy, SciPy)."""

import collections

import numpy as np
from scipy import stats

FEWEST = 3  # subjects of which a mean and its standard error say something


def mean(values):
    """Mean of what is neither None nor NaN; NaN if nothing is."""
    values = np.array(list(values), np.float64)  # None becomes NaN
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def by_subject(subjects, values, reduce=mean):
    """`reduce` of each subject's values [n], in the order in which subjects come."""
    groups = {}
    for subject, value in zip(subjects, values, strict=True):
        groups.setdefault(subject, []).append(value)
    return np.array([reduce(group) for group in groups.values()])


def subject_differences(scores, reference):
    """Mean of `scores` - `reference` for each subject [N], in the order of the subjects' names.

    Args:
      scores, reference: dicts of (subject, volume, run) to a score. Only what both have and is
        not NaN counts; a subject's volumes (ED and ES) and runs are averaged, so that N is the
        number of subjects and no patient counts twice.
    """
    differences = collections.defaultdict(list)
    for key in scores.keys() & reference.keys():
        difference = scores[key] - reference[key]
        if not np.isnan(difference):
            differences[key[0]].append(difference)
    return np.array([np.mean(sorted(differences[subject])) for subject in sorted(differences)])


def permutation_test(differences, resamples=10_000, seed=0):
    """Two-sided p of the mean of paired differences [N] under flips of their signs (Table 2).

    All 2^N flips are counted if they are no more than `resamples`; otherwise that many are drawn
    and the data themselves are counted as one more. NaN without data. Of rows [M, N], [M]: each
    as if it were alone, in less time.
    """
    differences = np.asarray(differences, np.float64)
    *rows, count = differences.shape
    if count < 2:  # SciPy wants two; a flip leaves the size of one as it is
        return np.full(rows, 1.0 if count else np.nan)[()]
    found = stats.permutation_test(
        (differences,),
        lambda values, axis: np.abs(np.mean(values, axis=axis)),  # both tails in one
        permutation_type="samples",
        alternative="greater",
        n_resamples=resamples,
        batch=500,  # fits a processor's cache
        axis=-1,
        rng=seed,
    )
    return found.pvalue


def permutation_tests(rows):
    """`permutation_test` of each of several differences [N], which may differ in N: a list."""
    p_values = {}
    for size in {len(row) for row in rows}:
        places = [i for i, row in enumerate(rows) if len(row) == size]
        alike = np.reshape([rows[i] for i in places], (len(places), size))
        p_values |= dict(zip(places, permutation_test(alike), strict=True))
    return [float(p_values[i]) for i in range(len(rows))]


def holm(p_values):
    """p values [M] of one family of tests, corrected by Holm's step-down procedure (1979).

    NaN is no test: it stays, and is not corrected for.
    """
    p_values = np.asarray(p_values, np.float64)
    order = np.argsort(p_values)  # NaN last
    count = np.count_nonzero(~np.isnan(p_values))
    steps = p_values[order] * np.maximum(count - np.arange(p_values.size), 1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return corrected


def bootstrap_interval(values, confidence=0.95, resamples=10_000, seed=0):
    """Percentile bootstrap interval (low, high) of the mean of `values` [N] (Efron, 1979).

    A single value is both ends; (NaN, NaN) without values.
    """
    if len(values) < 2:
        return (float(values[0]),) * 2 if len(values) else (np.nan, np.nan)
    low, high = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=confidence,
        method="percentile",
        n_resamples=resamples,
        rng=seed,
    ).confidence_interval
    return float(low), float(high)
