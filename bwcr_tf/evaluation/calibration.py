"""Maps of probabilities that are one 1 x 1 convolution of log p and log(1 - p) (NumPy, SciPy).

With p_c the network's probability of class c, a map gives the softmax of

    temperature  a log p_c                                  (Guo et al., ICML 2017; a = 1 / T)
    beta         a_c log p_c - b_c log(1 - p_c) + m_c       (Kull et al., AISTATS 2017)
    dirichlet    sum_k w_kc log p_k + m_c                   (Kull et al., NeurIPS 2019)

where a, b >= 0 keep the order of probabilities. Of two classes log(1 - p_0) is log p_1, so b is
left out and beta is exactly the binary map: its slopes of log p and of -log(1 - p) are a_1 and
a_0, its intercept is m_1 - m_0.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize

PENALTY = 0.01  # of Dirichlet's off-diagonal weights and intercepts, each times a mean square
_TINY = np.finfo(np.float32).tiny  # what vanishing probabilities are taken for
_SURE = 0.99  # a pixel's label has such a probability
_MOST_SURE, _MOST = 10_000, 100_000  # about so many sure and other pixels of a subject are kept


class Map(NamedTuple):
    """softmax(weights^T features(p) + bias)."""

    kind: str  # none, or one of PARAMETERS
    weights: np.ndarray  # [2C, C]
    bias: np.ndarray  # [C]


class Sample(NamedTuple):
    """Pixels that a map is fitted to; the pixel is the last axis, which is the faster."""

    features: np.ndarray  # [2C, N]
    targets: np.ndarray  # [C, N], one-hot labels or fractions of annotators
    mass: np.ndarray  # [N], what a pixel counts


def identity(num_classes):
    """The Map that leaves probabilities as they are."""
    return scaled(num_classes, 1.0)


def scaled(num_classes, temperature):
    """The Map that divides logits by `temperature`."""
    kind = "none" if temperature == 1 else "temperature"
    weights = np.eye(2 * num_classes, num_classes) / temperature
    return Map(kind, weights, np.zeros(num_classes))


def features(probabilities):
    """log p, then log(1 - p), of probabilities [..., C]: [2C, ...] float64.

    1 - p_c is the sum of the others, which is exact where p_c rounds to one.
    """
    p = np.maximum(np.moveaxis(probabilities, -1, 0), _TINY, dtype=np.float64, order="C")
    others = [np.delete(p, c, axis=0).sum(axis=0) for c in range(len(p))]
    return np.log(np.concatenate([p, others]))


def apply(found, probabilities):
    """The Map's probabilities [..., C] float32, from the network's."""
    if found.kind == "none":
        return probabilities
    powers, total = _exponentials(features(probabilities), found.weights, found.bias)[1:]
    return np.ascontiguousarray(np.moveaxis(powers / total, 0, -1), np.float32)


def _exponentials(columns, weights, bias):
    """Logits [C, ...] less the largest, their exponentials, and the sum of these [...].

    Not by matmul: the threads of BLAS wait for each other where other work shares the cores.
    """
    logits = np.einsum("f...,fc->c...", columns, weights)
    logits += bias.reshape(-1, *[1] * (logits.ndim - 1))
    logits -= logits.max(axis=0)
    powers = np.exp(logits)
    return logits, powers, powers.sum(axis=0)


def sample(probabilities, targets):
    """The Sample of one subject, whose pixels [N, C] count one in all.

    Where a subject has many pixels, every k-th stands for all; those whose label has p >= 0.99,
    and thus little loss, are thinned out more. The cost of a fit does not grow with the grid.
    """
    sure = (probabilities * targets).sum(axis=-1) >= _SURE
    mass = np.zeros(len(sure))
    for pixels, most in ((sure, _MOST_SURE), (~sure, _MOST)):
        places = np.flatnonzero(pixels)
        kept = places[:: max(1, len(places) // most)]
        mass[kept] = len(places) / max(len(kept), 1)
    kept = mass > 0
    columns = targets[kept].T.astype(np.float64, order="C")
    return Sample(features(probabilities[kept]), columns, mass[kept] / len(sure))


def fit(kind, samples):
    """The Map of a kind of PARAMETERS that minimises the mean negative log-likelihood.

    Args:
      samples: a Sample of each subject; subjects count alike, however many pixels they have.
    """
    parts = zip(*samples, strict=True)
    joined = Sample(*(np.concatenate(arrays, axis=-1) for arrays in parts))
    basis, start, least, penalty = PARAMETERS[kind](len(joined.targets))
    result = optimize.minimize(
        objective,
        start,
        (basis, penalty, joined),
        method="L-BFGS-B",
        jac=True,
        bounds=[(low, None) for low in least],
    )
    matrix = np.tensordot(result.x, basis, 1)
    return Map(kind, matrix[:-1], matrix[-1])


def objective(parameters, basis, penalty, pixels):
    """Mean negative log-likelihood of a Sample plus the penalty, and its gradient.

    Args:
      parameters: [K], the factors of the matrices `basis` [K, 2C + 1, C], whose last row is the
        bias.
      penalty: [K], factors of the parameters' squares.
    """
    matrix = np.tensordot(parameters, basis, 1)
    logits, powers, total = _exponentials(pixels.features, matrix[:-1], matrix[-1])
    mass = pixels.mass / pixels.mass.sum()
    loss = (mass * (np.log(total) - (pixels.targets * logits).sum(axis=0))).sum()
    error = mass * (powers / total - pixels.targets)
    slope = np.einsum("fn,cn->fc", pixels.features, error)
    slope = np.concatenate([slope, error.sum(axis=1)[None]])
    gradient = np.tensordot(basis, slope, 2) + 2 * penalty * parameters
    return loss + penalty @ np.square(parameters), gradient


def _temperature(c):
    basis = np.concatenate([np.eye(c), np.zeros((c + 1, c))])[None]
    return basis, np.ones(1), np.zeros(1), np.zeros(1)


def _beta(c):
    slopes, others, bias = (np.zeros((c, 2 * c + 1, c)) for _ in range(3))
    each = np.arange(c)
    slopes[each, each, each], others[each, c + each, each], bias[each, -1, each] = 1, -1, 1
    parts = [slopes, bias] if c == 2 else [slopes, others, bias]
    basis = np.concatenate(parts)
    free = len(basis) - c  # the intercepts come last
    start, least = np.zeros(len(basis)), np.zeros(len(basis))
    start[:c], least[free:] = 1, -np.inf
    return basis, start, least, np.zeros(len(basis))


def _dirichlet(c):
    """With off-diagonal and intercept regularisation, ODIR."""
    cells = [(k, j) for k in (*range(c), 2 * c) for j in range(c)]  # row 2C is the bias
    basis = np.zeros((len(cells), 2 * c + 1, c))
    for i, cell in enumerate(cells):
        basis[i][cell] = 1
    start = np.array([float(k == j) for k, j in cells])
    means = [PENALTY / (c if k == 2 * c else c * (c - 1)) for k, _ in cells]
    return basis, start, np.full(len(cells), -np.inf), np.where(start == 1, 0, means)


# kind: basis, start, least values and penalty of the parameters, by the number of classes
PARAMETERS = {"temperature": _temperature, "beta": _beta, "dirichlet": _dirichlet}
