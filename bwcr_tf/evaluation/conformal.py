"""Split conformal prediction over subjects (Papadopoulos et al., 2002; Vovk et al., 2005; NumPy).

Of n + 1 exchangeable scores, the last one is at most the k-th smallest of the first n with
probability k / (n + 1) or more. So an interval that holds all values of a score up to that holds
a new subject's at this level, whatever the network and the distribution of scores are.
"""

import math

import numpy as np


def level(count, coverage):
    """What `count` subjects allow of a nominal coverage: at most count / (count + 1)."""
    return min(coverage, count / (count + 1))


def rounded_down(value):
    """A level to three decimals, so that it never looks like more than it is."""
    return math.floor(1000 * value + 1e-9) / 1000


def quantile(scores, coverage):
    """Upper bound [...] of a new subject's score, at `level`, from those of n subjects [n, ...].

    NaN without subjects; infinite where too many scores are.
    """
    scores = np.asarray(scores, np.float64)
    if not len(scores):
        return np.full(scores.shape[1:], np.nan)[()]
    rank = min(math.ceil((len(scores) + 1) * coverage - 1e-9), len(scores))  # 0.9 is not exact
    return np.sort(scores, axis=0)[rank - 1]
