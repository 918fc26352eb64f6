"""What the benchmark times, and how: synthetic slices, networks and steps of training."""

import dataclasses
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from bwcr_tf import affine, boundary, pipeline, unet
from bwcr_tf.trainer import Trainer

CLASSES = ("RV", "MYO", "LV")
NUM_CLASSES = len(CLASSES) + 1


@dataclasses.dataclass(frozen=True)
class Setup:
    """The grid, the batch, and how a step is computed."""

    shape: tuple[int, int]  # rows and columns of the grid
    batch_size: int
    width: int  # channels of the U-Net's first level
    mixed_precision: bool = False
    jit: bool = False
    repeats: int = 7  # timed calls of each part

    @property
    def pixel_mm(self):
        """The grid covers what the paper's does."""
        return 1.33 / boundary.grid_scale(self.shape)


def measure(parts, repeats):
    """Median seconds of each function in a dict, called in turn; the first round is not timed."""
    times = {name: [] for name in parts}
    for i in range(repeats + 1):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            if i:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def matrix_product(side=4096):
    """A function that multiplies two float32 matrices [side, side], and the operations it takes."""
    matrix = tf.random.stateless_normal([side, side], [0, 1])
    product = tf.function(lambda: tf.reduce_sum(matrix @ matrix))
    return lambda: product().numpy(), 2 * side**3


def make_slices(shape, count=64):
    """Synthetic slices with discs for labels, as `pipeline.batches` takes them."""
    y, x = np.indices(shape) - np.reshape(shape, (2, 1, 1)) / 2
    radius = np.hypot(y, x) / boundary.grid_scale(shape)
    label_map = np.select([radius < 20, radius < 30, radius < 45], [3, 2, 1]).astype(np.uint8)
    distance = boundary.distance(label_map, NUM_CLASSES)
    return {
        "images": np.random.default_rng(0).random((count, *shape, 1), np.float32),
        "label_maps": np.tile(label_map, (count, 1, 1)),
        "distance": np.tile(distance, (count, 1, 1)),
    }


def batches(setup, method, count):
    """`count` batches of synthetic slices, as training sees them."""
    slices = make_slices(setup.shape)
    how = setup.batch_size, 0, count, 0, setup.jit  # as training does: see its `parallel`
    return pipeline.batches(slices, NUM_CLASSES, method, *how)


def make_network(setup):
    """The U-Net with its first weights, which are the same at every call."""
    keras.utils.set_random_seed(0)
    dtype = "mixed_bfloat16" if setup.mixed_precision else "float32"
    return unet.build_unet(setup.shape, NUM_CLASSES, setup.width, dtype)


def make_trainer(setup, method, network=None, kind=Trainer):
    """A compiled trainer of a method."""
    trainer = kind(network or make_network(setup), method)
    trainer.compile(keras.optimizers.Adam(1e-4), jit_compile=setup.jit)
    trainer.optimizer.build(trainer.network.trainable_variables)
    return trainer


def make_step(setup, method, network=None, kind=Trainer, steps=1):
    """`steps` training steps of a method on one fixed batch, as fit runs them: a function."""
    trainer = make_trainer(setup, method, network, kind)
    batch = next(iter(batches(setup, method, 1)))

    @tf.function(jit_compile=setup.jit)
    def step():
        for _ in tf.range(steps - 1):
            trainer.train_step(batch)
        return trainer.train_step(batch)["loss"]

    return lambda: step().numpy()


class OnePass(Trainer):
    """Both views through the network at once, which share their batch statistics: a variant."""

    def image_logits(self, batch):
        height, width = batch["distance"].shape[1:]
        views = tf.concat(tf.unstack(batch["views"]), 0)
        view_logits = tf.split(self.network(views, training=True), len(batch["views"]))
        image_to_view = map(affine.invert, tf.unstack(batch["view_to_image"]))
        for logits, matrix in zip(view_logits, image_to_view, strict=True):
            visible = affine.visible(matrix, height, width)
            yield visible[..., None] * affine.warp(logits, matrix), visible
