import pathlib
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, special, stats
from scipy.spatial import distance

from bwcr_tf import losses, methods

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "metrics.npz")
MONAI = np.load(pathlib.Path(__file__).parent / "golden" / "losses.npz")
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


LOG_P = np.float64(LOGITS) - special.logsumexp(np.float64(LOGITS), -1, keepdims=True)
P, ONE_HOT = np.exp(LOG_P), np.eye(4)[LABEL_MAP]


def test_focal_equals_keras_and_without_gamma_is_cross_entropy():
    keras_loss = keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=3.0, from_logits=True, reduction="none"
    )
    expected = keras_loss(LABELS, LOGITS)
    np.testing.assert_allclose(losses.focal_cross_entropy(LABELS, LOGITS), expected, atol=1e-5)
    plain = losses.cross_entropy(LABELS, LOGITS)
    np.testing.assert_allclose(
        losses.focal_cross_entropy(LABELS, LOGITS, gamma=0.0), plain, rtol=1e-5
    )


def test_smoothed_equals_keras():
    keras_loss = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=0.1, reduction="none"
    )
    np.testing.assert_allclose(
        losses.smoothed_cross_entropy(LABELS, LOGITS), keras_loss(LABELS, LOGITS), rtol=1e-5
    )


def test_confidence_penalty_subtracts_the_entropy():
    expected = -(ONE_HOT * LOG_P).sum(-1) - 0.1 / 4 * stats.entropy(P, axis=-1)
    found = losses.confidence_penalty_cross_entropy(LABELS, LOGITS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_neighbor_penalty_is_the_distance_of_logits_to_the_shares_of_classes():
    shares = ndimage.uniform_filter(ONE_HOT, size=(1, 3, 3, 1), mode="nearest")
    expected = -(ONE_HOT * LOG_P).sum(-1) + 0.1 * np.abs(LOGITS - shares).mean(-1)
    np.testing.assert_allclose(
        losses.neighbor_cross_entropy(LABELS, LOGITS), expected, rtol=1e-5
    )


def test_neighbor_penalty_equals_monai_inside_the_border():
    penalty = 0.1 * np.abs(LOGITS - MONAI["nacl_shares_monai"]).mean(-1)
    expected = GOLDEN["cross_entropy_torch"] + penalty
    found = losses.neighbor_cross_entropy(LABELS, LOGITS).numpy()
    inner = np.s_[:, 1:-1, 1:-1]
    np.testing.assert_allclose(found[inner], expected[inner], rtol=1e-5)


def test_dice_equals_monai():
    added = losses.dice_cross_entropy(LABELS, LOGITS) - losses.cross_entropy(LABELS, LOGITS)
    np.testing.assert_allclose(added, np.full(LABEL_MAP.shape, MONAI["dice_monai"]), rtol=1e-4)


def test_dice_is_that_of_keras_over_the_batch_and_the_same_at_every_pixel():
    """Keras' Dice loss over all axes is one class's; ours is the mean over foreground classes."""
    p = tf.nn.softmax(LOGITS)
    expected = np.mean([float(keras.losses.dice(LABELS[..., c], p[..., c])) for c in (1, 2, 3)])
    added = losses.dice_cross_entropy(LABELS, LOGITS) - losses.cross_entropy(LABELS, LOGITS)
    np.testing.assert_allclose(added, np.full(LABEL_MAP.shape, expected), rtol=1e-4)


def soft_binned_error(p, y, bins):
    """mL1-ACE of one class in one image, pixel by pixel."""
    centres = (np.arange(bins) + 0.5) / bins
    shares = np.maximum(1 - np.abs(p[:, None] - centres) * bins, 0)
    shares[p < centres[0], 0] = shares[p > centres[-1], -1] = 1
    mass = shares.sum(0)
    filled = mass > 0
    return np.mean(np.abs((shares * (p - y)[:, None]).sum(0)[filled] / mass[filled]))


@pytest.mark.parametrize("bins", [4, 20])
def test_calibration_error_is_that_of_every_image_and_class_pixel_by_pixel(bins):
    added = losses.calibration_cross_entropy(LABELS, LOGITS, bins)
    added = (added - losses.cross_entropy(LABELS, LOGITS)).numpy()
    for b in range(2):
        of_classes = [
            soft_binned_error(P[b, ..., c].ravel(), ONE_HOT[b, ..., c].ravel(), bins)
            for c in range(4)
        ]
        np.testing.assert_allclose(added[b], np.mean(of_classes), rtol=1e-3)


def test_calibration_error_of_a_sure_and_right_predictor_vanishes():
    sure = 50.0 * LABELS
    loss = losses.calibration_cross_entropy(LABELS, sure)
    np.testing.assert_allclose(loss, np.zeros(LABEL_MAP.shape), atol=1e-6)


@pytest.mark.parametrize("name", ["dice_ce", "l1ace"])
def test_a_loss_of_the_whole_image_leaves_out_what_the_view_did_not_see(name):
    loss = methods.METHODS[name].supervised_loss
    unseen = np.pad(LOGITS, [(0, 0), (0, 3), (0, 0), (0, 0)])
    labels = np.pad(LABELS, [(0, 0), (0, 3), (0, 0), (0, 0)], "edge")
    found = loss(tf.constant(labels), tf.constant(unseen))[:, :-3]
    np.testing.assert_allclose(found, loss(LABELS, LOGITS), rtol=1e-5)


IGNORED = np.random.default_rng(2).random((5, 6)) < 0.4


def neighborhoods(label_map, b, y, x):
    """One-hot labels [3, 3, C] around a pixel: the border replicated, the pixel where ignored."""
    rows, columns = (np.clip([i - 1, i, i + 1], 0, n - 1) for i, n in ((y, 5), (x, 6)))
    around = label_map[b][np.ix_(rows, columns)]
    around = np.where(IGNORED[np.ix_(rows, columns)], label_map[b, y, x], around)
    return np.eye(4)[around]


@pytest.mark.parametrize("name", ["svls", "nacl"])
def test_ignored_neighbours_are_taken_for_the_pixel_itself(name):
    labels = tf.where(IGNORED[..., None], 0.0, LABELS)
    found = methods.METHODS[name].supervised_loss(labels, LOGITS)
    line = np.exp([-0.5, 0, -0.5])
    kernel = np.outer(line, line)
    kernel[1, 1] = kernel.sum() - 1
    for b, y, x in np.argwhere(~np.broadcast_to(IGNORED, (2, 5, 6))):
        around = neighborhoods(LABEL_MAP, b, y, x)
        if name == "svls":
            smooth = np.tensordot(kernel / kernel.sum(), around, 2)
            expected = -(smooth * LOG_P[b, y, x]).sum()
        else:
            expected = -LOG_P[b, y, x, LABEL_MAP[b, y, x]]
            expected += 0.1 * np.abs(LOGITS[b, y, x] - around.mean((0, 1))).mean()
        assert float(found[b, y, x]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["dice_ce", "l1ace"])
def test_a_loss_of_the_whole_image_is_that_of_its_labelled_pixels(name):
    loss, kept = methods.METHODS[name].supervised_loss, ~IGNORED
    labels, logits = (tf.where(kept[..., None], array, 0.0) for array in (LABELS, LOGITS))
    found = loss(labels, logits).numpy()[:, kept]
    alone = [tf.constant(array.numpy()[:, None, kept]) for array in (LABELS, LOGITS)]
    np.testing.assert_allclose(found, loss(*alone)[:, 0], rtol=1e-5)


@pytest.mark.parametrize("name", methods.METHODS)
def test_the_gradient_of_a_loss_equals_finite_differences(name):
    loss = methods.METHODS[name].supervised_loss
    if name == "l1ace":  # which jumps where a bin gets its first pixel: few bins are all full
        loss = partial(loss, bins=2)
    rng = np.random.default_rng(1)
    direction = tf.constant(rng.standard_normal(LOGITS.shape), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(LOGITS)
        total = tf.reduce_sum(loss(LABELS, LOGITS))
    slope = float(tf.reduce_sum(tape.gradient(total, LOGITS) * direction))
    ends = [float(tf.reduce_sum(loss(LABELS, LOGITS + s * direction))) for s in (2e-3, -2e-3)]
    assert (ends[0] - ends[1]) / 4e-3 == pytest.approx(slope, rel=2e-2, abs=2e-2)


def test_jensen_shannon_equals_scipy():
    other = tf.random.stateless_normal(LOGITS.shape, [1, 2])
    expected = distance.jensenshannon(P, special.softmax(np.float64(other), -1), axis=-1) ** 2
    np.testing.assert_allclose(losses.jensen_shannon(LOGITS, other), expected, atol=1e-6)
    far = losses.jensen_shannon(tf.constant([[[[90.0, 0]]]]), tf.constant([[[[0.0, 90]]]]))
    assert float(far[0, 0, 0]) == pytest.approx(np.log(2), rel=1e-5)


def test_cosine_distance_equals_scipy():
    other = tf.random.stateless_normal(LOGITS.shape, [1, 2])
    pairs = zip(LOGITS.numpy().reshape(-1, 4), other.numpy().reshape(-1, 4), strict=True)
    expected = np.reshape([distance.cosine(z, w) for z, w in pairs], LABEL_MAP.shape)
    np.testing.assert_allclose(losses.cosine_distance(LOGITS, other), expected, atol=1e-5)


@pytest.mark.parametrize(
    "r, expected", [(0, 1.01), (5, 0.51), (10, 0.01), (25, 0.01), (np.inf, 0.01)]
)
def test_boundary_ramp_is_equation_3(r, expected):
    weight = methods.METHODS["bwcr"].consistency_weight
    np.testing.assert_allclose(weight(tf.fill([192], float(r))), expected, rtol=1e-5)
    half = weight(tf.fill([96], r / 2))  # the same place on a grid of half the resolution
    np.testing.assert_allclose(half, expected, rtol=1e-5)
    for shape in ([2, 96, 16], [2, 16, 96]):  # R is that of the smallest square around the grid
        np.testing.assert_allclose(weight(tf.fill(shape, r / 2)), expected, rtol=1e-5)


def test_the_row_of_dice_adds_the_dice_of_monai():
    found = methods.METHODS["dice_ce"].supervised_loss(LABELS, LOGITS)
    expected = GOLDEN["cross_entropy_torch"] + MONAI["dice_monai"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_each_row_has_the_values_of_its_source():
    """Those of SVLS and NACL are tested above, with ignored neighbours."""
    z = 8 * LOGITS
    log_p = special.log_softmax(np.float64(z), -1)
    p, gaps = np.exp(log_p), np.max(z, -1, keepdims=True) - z
    cross_entropy = -(LABELS * log_p).numpy().sum(-1)
    expected = dict.fromkeys([name for name in methods.METHODS if "cr" in name], cross_entropy)
    expected |= {
        "baseline": cross_entropy,
        "da": cross_entropy,
        "mls": cross_entropy + 0.1 * np.maximum(gaps - 10, 0).mean(-1),
        "focal": -(LABELS * (1 - p) ** 3 * log_p).numpy().sum(-1),
        "ls": 0.9 * cross_entropy - 0.1 * log_p.mean(-1),
        "ecp": cross_entropy + 0.1 * (p * log_p).mean(-1),
    }
    for name, loss in expected.items():
        found = methods.METHODS[name].supervised_loss(LABELS, z)
        np.testing.assert_allclose(found, loss, rtol=1e-4, atol=1e-5)
    assert methods.METHODS["l1ace"].supervised_loss.keywords == {"bins": 20}
    assert [name for name, row in methods.METHODS.items() if not row.augment] == ["baseline"]


@pytest.mark.parametrize(
    "name, loss, weights",
    [
        ("cr", losses.squared_difference, [1, 1, 1]),
        ("bwcr", losses.squared_difference, [1.01, 0.51, 0.01]),
        ("cr_js", losses.jensen_shannon, [1, 1, 1]),
        ("bwcr_js", losses.jensen_shannon, [1.01, 0.51, 0.01]),
        ("bwcr_cos", losses.cosine_distance, [1.01, 0.51, 0.01]),
    ],
)
def test_each_consistency_row_has_its_loss_and_its_lambda(name, loss, weights):
    row, r = methods.METHODS[name], np.pad([0, 5, np.inf], (0, 189))
    assert row.consistency_loss is loss
    found = row.consistency_weight(tf.constant(r[None], tf.float32))
    np.testing.assert_allclose(found[0, :3], weights, rtol=1e-6)


def test_only_consistency_methods_have_two_views():
    two = {name for name, method in methods.METHODS.items() if method.num_views == 2}
    assert two == {"cr", "bwcr", "cr_js", "bwcr_js", "bwcr_cos"}
    np.testing.assert_array_equal(methods.METHODS["cr"].consistency_weight(tf.zeros([2, 3])), 1)
