"""What this machine does with each part, and how far from its limit: python -m bwcr_tf.benchmark.

Everything is timed in one process on made-up slices and a phantom volume, as the median of
repeated calls taken in turn, so that the ratios hold even where other programs disturb the times.
"""

import dataclasses
import json
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import SimpleITK as sitk
import tensorflow as tf
from absl import app, flags

from bwcr_tf import affine, boundary, inference, phantom, pipeline, preprocess, unet
from bwcr_tf.methods import METHODS
from bwcr_tf.trainer import Trainer

flags.DEFINE_integer("size", 192, "Side of the square grid, pixels.")
flags.DEFINE_integer("batch_size", 16, "Images in a batch.")
flags.DEFINE_integer("width", 16, "Channels of the U-Net's first level.")
flags.DEFINE_integer("repeats", 7, "Timed calls of each part, after one that is not timed.")
flags.DEFINE_bool("jit", False, "Compile the training step with XLA.")
flags.DEFINE_string("json", None, "File that the numbers are written to as well.")
FLAGS = flags.FLAGS
CLASSES = 4


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


def forward_flop(network):
    """Floating-point operations of the convolutions for one image, a multiply-add being two."""
    total = 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            total += 2 * height * width * filters * int(np.prod(layer.kernel.shape[:3]))
    return total


def matrix_product(side=4096):
    """A function that multiplies two matrices [side, side], and the operations that takes."""
    matrix = tf.random.stateless_normal([side, side], [0, 1])
    product = tf.function(lambda: tf.reduce_sum(matrix @ matrix))
    return lambda: product().numpy(), 2 * side**3


def make_slices(count=64):
    """Made-up slices with discs for labels, as `pipeline.batches` takes them."""
    size, rng = FLAGS.size, np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    radius = np.hypot(y - size / 2, x - size / 2) * 192 / size
    label_map = np.select([radius < 20, radius < 30, radius < 45], [3, 2, 1], 0).astype(
        np.uint8
    )
    distance = boundary.distance(label_map, CLASSES)
    return {
        "images": rng.random((count, size, size, 1), np.float32),
        "label_maps": np.tile(label_map, (count, 1, 1)),
        "distance": np.tile(distance, (count, 1, 1)),
    }


def make_step(method):
    """The training step of a method on one fixed batch, as fit runs it: a function."""
    keras.utils.set_random_seed(0)
    trainer = Trainer(unet.build_unet(FLAGS.size, CLASSES, FLAGS.width), method)
    trainer.compile(keras.optimizers.Adam(1e-4), jit_compile=FLAGS.jit)
    batch = next(
        iter(pipeline.batches(make_slices(), CLASSES, method, FLAGS.batch_size, 0, 1, 0))
    )
    step = tf.function(trainer.train_step, jit_compile=FLAGS.jit)
    trainer.optimizer.build(trainer.network.trainable_variables)
    return lambda: step(batch)["loss"].numpy()


def make_parts():
    """Functions that do one part each of the two-view step; and the network."""
    keras.utils.set_random_seed(0)
    network = unet.build_unet(FLAGS.size, CLASSES, FLAGS.width)
    optimizer = keras.optimizers.Adam(1e-4)
    weights = network.trainable_variables
    optimizer.build(weights)
    method = METHODS["bwcr"]
    batch = next(
        iter(pipeline.batches(make_slices(), CLASSES, method, FLAGS.batch_size, 0, 1, 0))
    )
    ema = tf.train.ExponentialMovingAverage(0.99)
    values = [weight.value for weight in network.weights]
    ema.apply(values)
    logits = network(batch["views"][0])
    image_to_view = affine.invert(batch["view_to_image"][0])

    def bare():
        with tf.GradientTape() as tape:
            loss = tf.add_n(
                [
                    tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(batch["labels"], z))
                    for z in (
                        network(view, training=True) for view in tf.unstack(batch["views"])
                    )
                ]
            )
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    def forward():
        return tf.add_n(
            [tf.reduce_sum(network(v, training=True)) for v in tf.unstack(batch["views"])]
        )

    def warps():
        total = 0.0
        for _ in range(2):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                warped = tf.reduce_sum(affine.warp(logits, image_to_view) ** 2)
            total += tf.reduce_sum(tape.gradient(warped, logits))
        return total

    def losses():
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = method.supervised_loss(batch["labels"], logits)
            loss += method.consistency_weight(batch["distance"]) * tf.reduce_sum(logits**2, -1)
            loss = tf.reduce_sum(loss)
        return tf.reduce_sum(tape.gradient(loss, logits))

    def optimize():
        optimizer.apply([tf.zeros_like(weight) for weight in weights], weights)
        return tf.constant(0.0)

    def average():
        ema.apply(values)
        return tf.constant(0.0)

    parts = dict(
        bare=bare, forward=forward, warps=warps, losses=losses, optimizer=optimize, ema=average
    )
    traced = {name: tf.function(part, jit_compile=FLAGS.jit) for name, part in parts.items()}
    return {name: lambda f=f: f().numpy() for name, f in traced.items()}, network


def training():
    """Seconds of each method's step and of its parts, the limit, and the input pipeline's pace."""
    parts, network = make_parts()
    product, product_flop = matrix_product()
    steps = {f"step {name}": make_step(method) for name, method in METHODS.items()}
    seconds = measure({"product": product, **parts, **steps}, FLAGS.repeats)
    rate = product_flop / seconds["product"]
    flop = (
        3 * forward_flop(network) * FLAGS.batch_size
    )  # forward once, backward twice, one view
    table = {"matrix product, GFLOP/s": rate / 1e9, "one view's step, GFLOP": flop / 1e9}
    for name, method in METHODS.items():
        found, limit = seconds[f"step {name}"], method.num_views * flop / rate
        table[f"{name}: step, ms"] = 1000 * found
        table[f"{name}: step / limit"] = found / limit
    table["bare Keras step over two views, ms"] = 1000 * seconds["bare"]
    table["bwcr step / bare step"] = seconds["step bwcr"] / seconds["bare"]
    for name in ("forward", "warps", "losses", "optimizer", "ema"):
        table[f"bwcr share of {name}, %"] = 100 * seconds[name] / seconds["step bwcr"]
    yielded = pipeline_seconds(METHODS["bwcr"])
    table["input pipeline, images/s"] = FLAGS.batch_size / yielded
    table["input pipeline, batches per step"] = seconds["step bwcr"] / yielded
    return table


def pipeline_seconds(method, count=30):
    """Seconds per batch of the input pipeline when nothing consumes it but a loop."""
    batches = iter(
        pipeline.batches(make_slices(), CLASSES, method, FLAGS.batch_size, 0, count, 0)
    )
    for _ in range(5):
        next(batches)
    started = time.perf_counter()
    done = sum(1 for _ in batches)
    return (time.perf_counter() - started) / done


def volumes():
    """Seconds per phantom volume: preprocessing, and evaluation's prediction and metrics."""
    heart = phantom.make_volume(0, 1, "ED")
    image = sitk.GetImageFromArray(heart.image.astype(np.float32))
    image.SetSpacing(heart.spacing_mm)
    settings = preprocess.Settings(CLASSES, FLAGS.size, 1.33 * 192 / FLAGS.size)
    plain = dataclasses.replace(settings, n4_shrink=0)
    grid = preprocess.network_grid(image, settings)
    label = sitk.GetImageFromArray(heart.label_map)
    label.CopyInformation(image)
    label_map = preprocess.resample(label, grid, sitk.sitkNearestNeighbor)
    predict = inference.predictor(unet.build_unet(FLAGS.size, CLASSES, FLAGS.width))
    slices = preprocess.resample(image, grid)
    probabilities = predict(slices)
    case = preprocess.Case(
        "v", "s", slices, label_map, slices, grid, heart.label_map, preprocess.Grid.of(image)
    )
    seconds = measure(
        {
            "N4": lambda: preprocess.correct_bias(image, settings.n4_shrink),
            "preprocessing apart from N4": lambda: (
                preprocess.resample(preprocess.normalize(image, plain), grid),
                [boundary.distance(m, CLASSES) for m in label_map],
            ),
            "prediction": lambda: predict(slices),
            "metrics": lambda: inference.score(probabilities, case, ("RV", "MYO", "LV")),
        },
        FLAGS.repeats,
    )
    return {
        f"{name}, ms a volume of {len(slices)} slices": 1000 * s for name, s in seconds.items()
    }


def main(_):
    device = tf.config.list_logical_devices()[-1].device_type
    table = {"device": f"{device}, {os.cpu_count()} CPU cores", "TensorFlow": tf.__version__}
    table |= {
        "grid": f"{FLAGS.size} x {FLAGS.size}, batch {FLAGS.batch_size}, width {FLAGS.width}"
    }
    for section in (training, volumes):
        table |= section()
    for name, value in table.items():
        print(f"{name:45} {value if isinstance(value, str) else f'{value:.3g}'}")
    if FLAGS.json:
        with open(FLAGS.json, "w") as file:
            json.dump(table, file, indent=1)


if __name__ == "__main__":
    app.run(main)
