"""What this machine does with each part, and how far from its limit: python -m bwcr_tf.benchmark.

Everything is timed on made-up slices and a phantom volume, as the median of repeated calls taken
in turn in one process, so that the ratios hold even where other programs disturb the times. Only
the start-up is another process: train.py, on a small phantom.
"""

import dataclasses
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import SimpleITK as sitk
import tensorflow as tf
from absl import flags

from bwcr_tf import (
    affine,
    analysis,
    boundary,
    command,
    inference,
    phantom,
    pipeline,
    preprocess,
    runs,
    unet,
)
from bwcr_tf.methods import METHODS
from bwcr_tf.trainer import Trainer

flags.DEFINE_integer("size", 192, "Side of the square grid, pixels.")
flags.DEFINE_integer("batch_size", 16, "Images in a batch.")
flags.DEFINE_integer("width", 16, "Channels of the U-Net's first level.")
flags.DEFINE_integer("repeats", 7, "Timed calls of each part, after one that is not timed.")
flags.DEFINE_integer("threads", 0, "Threads of TensorFlow; 0: one per core.")
flags.DEFINE_bool("mixed_precision", False, "Time the parts and steps in mixed precision.")
flags.DEFINE_bool("jit", False, "Compile the training step with XLA.")
flags.DEFINE_list("sections", ["training", "volumes", "startup"], "Also: variants.")
flags.DEFINE_string("json", None, "File that the numbers are written to as well.")
FLAGS = flags.FLAGS
CLASSES = 4
STEPS_PER_CALL = 10  # of the variant


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


def step_flop(network):
    """Operations of a training step over one view: forward once, backward twice."""
    return 3 * forward_flop(network) * FLAGS.batch_size


def matrix_product(side=4096):
    """A function that multiplies two float32 matrices [side, side], and the operations it takes."""
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


def batches(method, count):
    """`count` batches of made-up slices, as training sees them."""
    return pipeline.batches(make_slices(), CLASSES, method, FLAGS.batch_size, 0, count, 0)


def make_network(mixed=None):
    """The U-Net with its first weights, which are the same at every call."""
    keras.utils.set_random_seed(0)
    mixed = FLAGS.mixed_precision if mixed is None else mixed
    dtype = "mixed_bfloat16" if mixed else "float32"
    return unet.build_unet(FLAGS.size, CLASSES, FLAGS.width, dtype)


def make_step(method, network=None, jit=None, kind=Trainer, steps=1):
    """`steps` training steps of a method on one fixed batch, as fit runs them: a function."""
    trainer = kind(network or make_network(), method)
    trainer.compile(keras.optimizers.Adam(1e-4), jit_compile=False)
    trainer.optimizer.build(trainer.network.trainable_variables)
    batch = next(iter(batches(method, 1)))

    @tf.function(jit_compile=FLAGS.jit if jit is None else jit)
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
        for logits, view_to_image in zip(
            view_logits, tf.unstack(batch["view_to_image"]), strict=True
        ):
            image_to_view = affine.invert(view_to_image)
            yield (
                affine.warp(logits, image_to_view),
                affine.visible(image_to_view, height, width),
            )


def make_parts(network):
    """Functions that do one part each of the two-view step."""
    batch = next(iter(batches(METHODS["bwcr"], 1)))
    logits = network(batch["views"][0])
    parts = {
        "convolutions": convolutions(network),
        **network_parts(network, batch),
        **loss_parts(batch, logits),
        **update_parts(network),
    }
    traced = {name: tf.function(part, jit_compile=FLAGS.jit) for name, part in parts.items()}
    return {name: lambda f=f: f().numpy() for name, f in traced.items()}


def network_parts(network, batch):
    """`bare`: a Keras step over both views, cross-entropy alone; `forward`: its forward pass."""
    optimizer, weights = keras.optimizers.Adam(1e-4), network.trainable_variables
    optimizer.build(weights)
    cross_entropy = tf.nn.softmax_cross_entropy_with_logits

    def logits():
        return [network(view, training=True) for view in tf.unstack(batch["views"])]

    def bare():
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean(cross_entropy(batch["labels"], z)) for z in logits()]
            loss = tf.add_n(losses)
        optimizer.apply(tape.gradient(loss, weights), weights)
        return loss

    return {"bare": bare, "forward": lambda: tf.add_n([tf.reduce_sum(z) for z in logits()])}


def convolutions(network):
    """All convolutions over both views with their gradients, and nothing between them."""
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    inputs = [
        tf.cast(
            tf.random.stateless_normal([FLAGS.batch_size, *layer.input.shape[1:]], [0, 1]),
            layer.compute_dtype,
        )
        for layer in layers
    ]

    def part():
        used = []  # a number of each gradient, or TensorFlow leaves it out
        for layer, x in [*zip(layers, inputs, strict=True)] * 2:
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

    def warps():
        return tf.add_n(
            [gradient(lambda: affine.warp(logits, image_to_view) ** 2) for _ in range(2)]
        )

    def losses():
        weight = method.consistency_weight(batch["distance"])
        return gradient(
            lambda: (
                method.supervised_loss(batch["labels"], logits)
                + weight * tf.reduce_sum(logits**2, -1)
            )
        )

    return {"warps": warps, "losses": losses}


def update_parts(network):
    """The optimizer's update of the weights, and that of their averages."""
    optimizer, weights = keras.optimizers.Adam(1e-4), network.trainable_variables
    optimizer.build(weights)
    ema = tf.train.ExponentialMovingAverage(0.99)
    values = [weight.value for weight in network.weights]
    ema.apply(values)

    def optimize():
        optimizer.apply([tf.zeros_like(weight) for weight in weights], weights)
        return tf.constant(0.0)

    def average():
        ema.apply(values)
        return tf.constant(0.0)

    return {"optimizer": optimize, "ema": average}


def training():
    """Each method's step and its parts, the limit, and the input pipeline's pace."""
    network = make_network()
    product, product_flop = matrix_product()
    parts = make_parts(network)
    steps = {f"step {name}": make_step(method) for name, method in METHODS.items()}
    seconds = measure({"product": product, **parts, **steps}, FLAGS.repeats)
    rate, flop = product_flop / seconds["product"], step_flop(network)
    table = {
        "matrix product in float32, GFLOP/s": rate / 1e9,
        "one view's step, GFLOP": flop / 1e9,
    }
    for name, method in METHODS.items():
        found, limit = seconds[f"step {name}"], method.num_views * flop / rate
        table[f"{name}: step, ms"] = 1000 * found
        table[f"{name}: step / limit"] = found / limit
    table["convolutions of two views alone, ms"] = 1000 * seconds["convolutions"]
    table["convolutions / limit"] = seconds["convolutions"] * rate / (2 * flop)
    table["bare Keras step over two views, ms"] = 1000 * seconds["bare"]
    table["bwcr step / bare step"] = seconds["step bwcr"] / seconds["bare"]
    seconds["backward"] = seconds["bare"] - seconds["forward"] - seconds["optimizer"]
    for name in ("forward", "backward", "warps", "losses", "optimizer", "ema"):
        table[f"bwcr share of {name}, %"] = 100 * seconds[name] / seconds["step bwcr"]
    yielded = pipeline_seconds(METHODS["bwcr"])
    table["input pipeline, images/s"] = FLAGS.batch_size / yielded
    table["input pipeline, batches per step"] = seconds["step bwcr"] / yielded
    return table


def variants():
    """BWCR's step done otherwise, as ratios to the step as it is, and both to the limit."""
    method = METHODS["bwcr"]
    with mock.patch.object(unet, "FusedBatchNormalization", keras.layers.BatchNormalization):
        unfused = make_network(mixed=False)
    product, product_flop = matrix_product()
    steps = {
        "as it is": make_step(method, make_network(mixed=False), jit=False),
        "Keras' own batch normalisation": make_step(method, unfused, jit=False),
        "both views in one pass": make_step(method, make_network(False), False, OnePass),
        "XLA": make_step(method, make_network(mixed=False), jit=True),
        "bfloat16": make_step(method, make_network(mixed=True), jit=False),
        "bfloat16 and XLA": make_step(method, make_network(mixed=True), jit=True),
    }
    many = f"{STEPS_PER_CALL} steps a call"
    steps[many] = make_step(method, make_network(False), jit=False, steps=STEPS_PER_CALL)
    seconds = measure({"product": product, **steps}, FLAGS.repeats)
    seconds[many] /= STEPS_PER_CALL
    limit = 2 * step_flop(unfused) * seconds["product"] / product_flop
    table = {"bwcr step as it is, ms": 1000 * seconds["as it is"]}
    for name in steps:
        table[f"{name}: step / step as it is"] = seconds[name] / seconds["as it is"]
        table[f"{name}: step / limit in float32"] = seconds[name] / limit
    return table


def pipeline_seconds(method, count=30):
    """Seconds per batch of the input pipeline when nothing consumes it but a loop."""
    found = iter(batches(method, count))
    for _ in range(5):
        next(found)
    started = time.perf_counter()
    done = sum(1 for _ in found)
    return (time.perf_counter() - started) / done


def volumes():
    """Phantom volumes: what preprocessing and evaluation take for one, and 60 volumes' evaluation.

    Evaluation scores a volume before and after the temperature.
    """
    heart = phantom.make_volume(0, 1, "ED")
    image = sitk.GetImageFromArray(heart.image.astype(np.float32))
    image.SetSpacing(heart.spacing_mm)
    settings = preprocess.Settings(CLASSES, FLAGS.size, 1.33 * 192 / FLAGS.size)
    plain = dataclasses.replace(settings, n4_shrink=0)
    grid = preprocess.network_grid(image, settings)
    label = sitk.GetImageFromArray(heart.label_map)
    label.CopyInformation(image)
    label_map = preprocess.resample(label, grid, sitk.sitkNearestNeighbor)
    predict = inference.predictor(make_network(mixed=False))
    slices = preprocess.resample(image, grid)
    probabilities = preprocess.restore(heart.probabilities, preprocess.Grid.of(image), grid)
    case = preprocess.Case(
        "v", "s", slices, label_map, slices, grid, heart.label_map, preprocess.Grid.of(image)
    )
    classes = ("RV", "MYO", "LV")
    parts = {
        "N4": lambda: preprocess.correct_bias(image, settings.n4_shrink),
        "preprocessing apart from N4": lambda: (
            preprocess.resample(preprocess.normalize(image, plain), grid),
            [boundary.distance(m, CLASSES) for m in label_map],
        ),
        "prediction": lambda: predict(slices),
        "metrics": lambda: inference.score(probabilities, case, classes),
        "analysis": lambda: analysis.measure(probabilities, case),
        "validation": lambda: inference.dice(predict(slices), case),
    }
    seconds = measure(parts, FLAGS.repeats)
    total = seconds["prediction"] + 2 * seconds["metrics"] + seconds["analysis"]
    table = {
        f"{name}, ms a volume of {len(slices)} slices": 1000 * s for name, s in seconds.items()
    }
    return table | {
        "validation, volumes/s": 1 / seconds["validation"],
        "evaluation, volumes/s": 1 / total,
        "evaluation of 60 volumes, s": 60 * total,
        "of which metrics, s": 120 * seconds["metrics"],
    }


def startup(subjects=8):
    """Seconds from the call of train.py to the end of its first step, with a warm cache."""
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(1, subjects + 2):
            part = "training" if number <= subjects else "testing"
            phantom.write_subject(
                pathlib.Path(scratch, "data", part, f"patient{number:03}"), 0, number, False
            )
        flags_ = [f"--data_dir={scratch}/data", f"--cache_dir={scratch}/cache", "--ntr=3"]
        flags_ += [f"--size={FLAGS.size}", f"--pixel_mm={1.33 * 192 / FLAGS.size}"]
        flags_ += [f"--batch_size={FLAGS.batch_size}", f"--width={FLAGS.width}"]
        for name in ("cold", "warm"):
            seconds = until_first_step([*flags_, f"--runs_dir={scratch}/{name}"])
    return {"start-up to the first step with a warm cache, s": seconds}


def until_first_step(arguments):
    """Seconds that train.py with these arguments takes to its first step; NaN if it fails."""
    train = pathlib.Path(__file__).parent.parent / "train.py"
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, str(train), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        found = any(line.startswith("first step") for line in process.stdout)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds if found else float("nan")


def main(_):
    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
        tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    device = tf.config.list_logical_devices()[-1].device_type
    table = {
        "device": f"{device}, {os.cpu_count()} CPU cores",
        "TensorFlow": tf.__version__,
        "grid": f"{FLAGS.size} x {FLAGS.size}, batch {FLAGS.batch_size}, width {FLAGS.width}",
        "step": f"{'bfloat16' if FLAGS.mixed_precision else 'float32'}{', XLA' * FLAGS.jit}",
    }
    sections = {f.__name__: f for f in (training, variants, volumes, startup)}
    for name in FLAGS.sections:
        table |= sections[name]()
    for name, value in table.items():
        print(f"{name:50} {value if isinstance(value, str) else f'{value:.3g}'}")
    if FLAGS.json:
        runs.write(pathlib.Path(FLAGS.json), json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    command.run(main, "run it again")
