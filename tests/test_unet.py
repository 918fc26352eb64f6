import collections
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from bwcr_tf import unet


def test_weights_are_the_papers_0_84_million():
    assert unet.build_unet((192, 192), 4).count_params() == pytest.approx(0.84e6, rel=0.01)


def test_layers_are_those_of_the_u_net():
    found = unet.build_unet((192, 192), 4).layers
    assert collections.Counter(type(layer).__name__ for layer in found) == {
        "InputLayer": 1,
        "Conv2D": 19,
        "FusedBatchNormalization": 18,
        "ReLU": 18,
        "MaxPooling2D": 4,
        "UpSampling2D": 4,
        "Concatenate": 4,
    }
    kinds = {
        kind: [la for la in found if kind in type(la).__name__] for kind in ("Norm", "Conv")
    }
    assert {(la.momentum, la.epsilon) for la in kinds["Norm"]} == {(0.9, 1e-5)}
    assert {type(la.kernel_initializer).__name__ for la in kinds["Conv"][:-1]} == {"HeNormal"}
    assert {la.interpolation for la in found if "UpS" in type(la).__name__} == {"bilinear"}


def test_logits_have_the_image_size_and_float32():
    network = unet.build_unet((32, 48), 3, width=4)
    logits = network(np.zeros((2, 32, 48, 1), np.float32))
    assert logits.shape == (2, 32, 48, 3) and logits.dtype == tf.float32


def test_a_size_that_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match=r"\(96, 100\).*multiple of 16"):
        unet.build_unet((96, 100), 4)


def test_every_weight_has_a_gradient():
    network = unet.build_unet((32, 32), 3, width=4)
    with tf.GradientTape() as tape:
        x = tf.random.stateless_normal([2, 32, 32, 1], [0, 1])
        loss = tf.reduce_sum(network(x, training=True) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(g is not None and np.abs(g).max() > 0 for g in gradients)


def test_fused_normalization_is_keras_own_with_its_gradient_and_statistics():
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(3, 2, (4, 6, 5, 7)), tf.float32)
    upstream = tf.constant(rng.normal(size=x.shape), tf.float32)
    results = []
    for kind in (unet.FusedBatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, epsilon=1e-5)
        layer.build(x.shape)
        layer.set_weights([np.linspace(a, b, 7) for a, b in ((1, 2), (-1, 1), (0, 3), (1, 4))])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        gradients = tape.gradient(y, [x, *layer.trainable_variables], upstream)
        results.append([y, *gradients, *layer.get_weights(), layer(x, training=False)])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras 3.15 with NumPy 2
def test_a_saved_network_loads_with_keras_alone_and_computes_the_same(tmp_path):
    network = unet.build_unet((32, 32), 3, width=4)
    for weight in network.weights:
        weight.assign(tf.random.stateless_uniform(weight.shape, [1, 2], 0.5, 1.5))
    unet.save(network, tmp_path / "best.keras")
    images = np.random.default_rng(0).random((2, 32, 32, 1), np.float32)
    np.save(tmp_path / "images.npy", images)
    program = (
        "import sys, keras, numpy as np\n"
        "network = keras.models.load_model('best.keras')\n"
        "np.save('logits.npy', network(np.load('images.npy')))\n"
        "assert 'bwcr_tf' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    expected = network(images).numpy()
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-4, atol=1e-4)
    again = unet.load(tmp_path / "best.keras")
    np.testing.assert_array_equal(again(images).numpy(), expected)
