import numpy as np
import pytest
import tensorflow as tf

from bwcr_tf import unet


def test_weights_are_the_papers_0_84_million():
    assert unet.build_unet(192, 4).count_params() == pytest.approx(0.84e6, rel=0.01)


def test_logits_have_the_image_size_and_float32():
    network = unet.build_unet(32, 3, width=4)
    logits = network(np.zeros((2, 32, 32, 1), np.float32))
    assert logits.shape == (2, 32, 32, 3) and logits.dtype == tf.float32


def test_a_size_that_cannot_be_pooled_is_refused():
    with pytest.raises(ValueError, match="100 is not a multiple of 16"):
        unet.build_unet(100, 4)


def test_every_weight_has_a_gradient():
    network = unet.build_unet(32, 3, width=4)
    with tf.GradientTape() as tape:
        x = tf.random.stateless_normal([2, 32, 32, 1], [0, 1])
        loss = tf.reduce_sum(network(x, training=True) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(g is not None and np.abs(g).max() > 0 for g in gradients)
