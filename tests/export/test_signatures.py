import numpy as np
import pytest
import tensorflow as tf

from bwcr_tf.export import signatures


@pytest.mark.parametrize("q98_is_q2", [False, True])
def test_rescaling_equals_numpys_percentiles(q98_is_q2):
    x = np.random.default_rng(0).normal(300, 50, (2, 7, 9)).astype(np.float32)
    low, high = np.percentile(x, (2, 98))
    if q98_is_q2:
        x = np.zeros_like(x)
        x[0, 0, 0], low, high = 5, 0, 5
    expected = np.clip((x - low) / (high - low), 0, 1)
    np.testing.assert_allclose(signatures.rescale(tf.constant(x)), expected, atol=1e-5)
    assert not signatures.rescale(tf.fill([1, 3, 3], 7.0)).numpy().any()


def test_slices_of_two_channels_rescale_each_by_itself():
    import keras

    image = keras.Input((16, 32, 2))
    layer = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="random_normal")
    network = keras.Model(image, 30 * layer(image))
    windows = (None, (-100.0, 200.0))
    function, inputs = signatures.signatures(network, 2.0, windows, (0.5, 0.3, 0.2))["slices"]
    assert inputs[0].shape == (None, None, None, 2)
    raw = np.random.default_rng(0).normal(50, 100, (3, 16, 32, 2)).astype(np.float32)
    found = tf.function(function, input_signature=inputs)(raw, tf.constant([2.0, 2.0]))
    low, high = np.percentile(raw[..., 0], (2, 98))
    bounds = np.array([[low, -100], [high, 200]])
    scaled = np.clip((raw - bounds[0]) / (bounds[1] - bounds[0]), 0, 1)
    expected = tf.nn.softmax(network(scaled.astype(np.float32)))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    swapped = tf.nn.softmax(network(scaled[..., ::-1].astype(np.float32)))
    assert np.abs(swapped - expected).max() > 0.1


def test_interpolation_between_equal_grids_is_the_identity_and_zero_outside():
    np.testing.assert_array_equal(signatures.interpolation(5, 5, 1.0), np.eye(5))
    found = signatures.interpolation(7, 3, 0.5).numpy()  # at -0.5 (its border), 0, 0.5, ... 2.5
    np.testing.assert_allclose(found[:3], [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0]])
    assert not signatures.interpolation(7, 3, 1.0).numpy()[[0, 1, -2, -1]].any()


FREQUENCIES = (0.7, 0.2, 0.1)


@pytest.fixture(scope="module")
def serve():
    import keras

    image = keras.Input((32, 32, 1))
    logits = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="random_normal")
    network = keras.Model(image, 30 * logits(image))
    return signatures.raw_server(network, 2.0, (None,), FREQUENCIES)


def test_served_probabilities_of_raw_slices_are_within_zero_and_one(serve):
    raw = np.random.default_rng(0).random((4, 48, 96), np.float32)
    for spacing_mm in ([2.0, 1.0], [1.3, 0.7], [2.0, 2.0]):
        p = serve(tf.constant(raw), tf.constant(spacing_mm))["probabilities"].numpy()
        assert p.min() >= 0 and p.max() <= 1
        np.testing.assert_allclose(p.sum(-1), 1, atol=1e-5)


def test_served_pixels_outside_of_the_grid_have_the_class_frequencies_of_training(serve):
    raw = np.random.default_rng(0).random((2, 48, 20), np.float32)
    p = serve(tf.constant(raw), tf.constant([2.0, 2.0]))["probabilities"].numpy()
    expected = np.broadcast_to(np.float32(FREQUENCIES), (2, 8, 20, 3))
    np.testing.assert_allclose(p[:, :8], expected, rtol=1e-6)  # 48 rows, of which it sees 32
    np.testing.assert_allclose(p[:, -8:], expected, rtol=1e-6)
    assert np.abs(p[:, 8:-8] - FREQUENCIES).max(-1).min() > 1e-3
