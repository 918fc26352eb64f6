import pathlib

import numpy as np
import pytest
import tensorflow as tf

from bwcr_tf import losses, methods

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "metrics.npz")
LOGITS = tf.constant(GOLDEN["logits"])
LABEL_MAP = GOLDEN["logits_label_map"]
LABELS = tf.one_hot(LABEL_MAP, 4)


def test_cross_entropy_equals_torch():
    loss = losses.cross_entropy(LABELS, LOGITS)
    np.testing.assert_allclose(loss, GOLDEN["cross_entropy_torch"], atol=1e-5)


def test_svls_far_from_a_boundary_is_cross_entropy():
    labels = tf.one_hot(np.full((2, 5, 6), 2), 4)
    np.testing.assert_allclose(
        losses.svls_cross_entropy(labels, LOGITS),
        losses.cross_entropy(labels, LOGITS),
        rtol=1e-5,
    )


def test_svls_weights_are_those_of_the_3x3_kernel():
    """A single foreground pixel, by hand: e = exp(-1/2) beside it, e^2 diagonally."""
    label_map = np.zeros((1, 5, 5), int)
    label_map[0, 2, 2] = 1
    logits = tf.constant(np.random.default_rng(0).standard_normal((1, 5, 5, 2)), tf.float32)
    loss = losses.svls_cross_entropy(tf.one_hot(label_map, 2), logits, sigma=1.0)
    log_p = tf.nn.log_softmax(logits).numpy()
    e = np.exp(-0.5)
    total = 2 * (4 * e + 4 * e * e)  # the neighbours, and the centre that weighs as much
    for (y, x), foreground in {(2, 2): 0.5, (2, 1): e / total, (1, 1): e * e / total}.items():
        expected = -foreground * log_p[0, y, x, 1] - (1 - foreground) * log_p[0, y, x, 0]
        assert float(loss[0, y, x]) == pytest.approx(expected, rel=1e-4)


def test_svls_replicates_the_border():
    label_map = np.zeros((1, 3, 4), int)
    label_map[0, 0] = 1  # with replication, row 0 sees itself once more above
    logits = tf.zeros([1, 3, 4, 2]) + tf.constant([0.0, 1.0])
    loss = losses.svls_cross_entropy(tf.one_hot(label_map, 2), logits)
    e = np.exp(-0.5)
    total = 2 * (4 * e + 4 * e * e)
    below = (e + 2 * e * e) / total
    log_p = np.log([1 / (1 + np.e), np.e / (1 + np.e)])
    assert float(loss[0, 0, 1]) == pytest.approx(
        -below * log_p[0] - (1 - below) * log_p[1], rel=1e-4
    )


def test_margin_below_its_margin_is_cross_entropy():
    np.testing.assert_allclose(
        losses.margin_cross_entropy(LABELS, LOGITS, margin=100.0),
        losses.cross_entropy(LABELS, LOGITS),
    )


def test_margin_penalty_is_the_mean_excess():
    labels, logits = (
        tf.constant([[[[1.0, 0, 0, 0]]]]),
        tf.constant([[[[20.0, 9.0, 12.0, 0.0]]]]),
    )
    penalty = losses.margin_cross_entropy(labels, logits) - losses.cross_entropy(labels, logits)
    assert penalty.numpy().item() == pytest.approx(0.1 * (0 + 1 + 0 + 10) / 4, rel=1e-5)


def test_squared_difference_sums_over_classes():
    other = LOGITS + tf.constant([1.0, -2.0, 0.0, 0.5])
    np.testing.assert_allclose(
        losses.squared_difference(LOGITS, other), np.full((2, 5, 6), 5.25), rtol=1e-4
    )


@pytest.mark.parametrize(
    "r, expected", [(0, 1.01), (5, 0.51), (10, 0.01), (25, 0.01), (np.inf, 0.01)]
)
def test_boundary_ramp_is_equation_3(r, expected):
    weight = methods.METHODS["bwcr"].consistency_weight(tf.constant([float(r)]))
    assert float(weight[0]) == pytest.approx(expected, rel=1e-5)


def test_only_consistency_methods_have_two_views():
    views = {name: method.num_views for name, method in methods.METHODS.items()}
    assert views == {"baseline": 1, "da": 1, "svls": 1, "mls": 1, "cr": 2, "bwcr": 2}
    np.testing.assert_array_equal(methods.METHODS["cr"].consistency_weight(tf.zeros([2, 3])), 1)
