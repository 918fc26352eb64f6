"""The parts of a training step, each as a function to call, and the operations they take."""

import math

import keras
import tensorflow as tf

from bwcr_tf import affine
from bwcr_tf.benchmark import workloads
from bwcr_tf.methods import METHODS


def step_flop(network, batch_size):
    """Operations of a step's convolutions over one view: forward once, backward twice.

    A multiply-add is two operations.
    """
    layers = _convolutions(network)
    products = (math.prod([*x.output.shape[1:], *x.kernel.shape[:3]]) for x in layers)
    return 3 * batch_size * 2 * sum(products)


def _convolutions(network):
    return [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]


def step_parts(setup, network):
    """Functions that do one part each of BWCR's step, by name."""
    batch = next(iter(workloads.batches(setup, METHODS["bwcr"], 1)))
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(network.trainable_variables)
    parts = {
        "convolutions": convolutions(network, setup.batch_size),
        **network_parts(network, optimizer, batch),
        **loss_parts(batch, network(batch["views"][0])),
        **update_parts(network, optimizer),
    }
    traced = {name: tf.function(part, jit_compile=setup.jit) for name, part in parts.items()}
    return {name: lambda f=f: f().numpy() for name, f in traced.items()}


def network_parts(network, optimizer, batch):
    """`bare`: a Keras step over both views, cross-entropy alone; `forward`: its forward pass."""

    def logits():
        return [network(view, training=True) for view in tf.unstack(batch["views"])]

    def bare():
        cross_entropy = tf.nn.softmax_cross_entropy_with_logits
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean(cross_entropy(batch["labels"], z)) for z in logits()]
            loss = tf.add_n(losses)
        weights = network.trainable_variables
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    return {"bare": bare, "forward": lambda: tf.add_n([tf.reduce_sum(z) for z in logits()])}


def convolutions(network, batch_size):
    """All convolutions over both views with their gradients, and nothing between them."""
    pairs = []
    for layer in _convolutions(network):
        x = tf.random.stateless_normal([batch_size, *layer.input.shape[1:]], [0, 1])
        pairs.append((layer, tf.cast(x, layer.compute_dtype)))

    def part():
        used = []  # a number of each gradient, or TensorFlow leaves it out
        for layer, x in pairs * 2:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = layer(x)
            gradients = tape.gradient(y, [x, *layer.trainable_variables], y)
            used += [tf.cast(tf.reshape(g, [-1])[0], tf.float32) for g in gradients]
        return tf.add_n(used)

    return part


def loss_parts(batch, logits):
    """The warps of both views' logits, and the losses, each with its gradient."""
    method, image_to_view = METHODS["bwcr"], affine.invert(batch["view_to_image"][0])

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            total = tf.reduce_sum(function())
        return tf.reduce_sum(tape.gradient(total, logits))

    def squared_warp():
        return affine.warp(logits, image_to_view) ** 2

    def objective():
        consistency = tf.reduce_sum(logits**2, -1)
        weight = method.consistency_weight(batch["distance"])
        return method.supervised_loss(batch["labels"], logits) + weight * consistency

    return {
        "warps": lambda: tf.add_n([gradient(squared_warp) for _ in range(2)]),
        "losses": lambda: gradient(objective),
    }


def update_parts(network, optimizer):
    """The optimizer's update of the weights, and that of their averages."""
    ema = tf.train.ExponentialMovingAverage(0.99)
    values = [weight.value for weight in network.weights]
    ema.apply(values)

    def optimize():
        weights = network.trainable_variables
        optimizer.apply([tf.zeros_like(weight) for weight in weights], weights)
        return tf.constant(0.0)

    def average():
        ema.apply(values)
        return tf.constant(0.0)

    return {"optimizer": optimize, "ema": average}
