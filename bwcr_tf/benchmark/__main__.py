"""What this machine does with each part, and how far from its limit: python -m bwcr_tf.benchmark.

Everything is timed on synthetic slices and a phantom volume, as the median of repeated calls taken
in turn in one process, so that the ratios hold even where other programs disturb the times. Only
the start-up is another process: train.py, on a small phantom.
"""

import dataclasses
import functools
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
import tensorflow as tf
from absl import flags

from bwcr_tf import unet
from bwcr_tf.benchmark import step_parts, workloads
from bwcr_tf.methods import METHODS
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.system import command, files

flags.DEFINE_integer("size", 192, "Side of the square grid, pixels.")
flags.DEFINE_integer("batch_size", 16, "Images in a batch.")
flags.DEFINE_integer("width", 16, "Channels of the U-Net's first level.")
flags.DEFINE_integer("repeats", 7, "Timed calls of each part, after one that is not timed.")
flags.DEFINE_integer("threads", 0, "Threads of TensorFlow; 0: one per core.")
flags.DEFINE_bool("mixed_precision", False, "Time the parts and steps in mixed precision.")
flags.DEFINE_bool("jit", False, "Compile the training step with XLA.")
SECTIONS = {"training", "variants", "volumes", "startup"}
flags.DEFINE_list("sections", sorted(SECTIONS - {"variants"}), "Also: variants.")
flags.DEFINE_string("json", None, "File that the numbers are written to as well.")
flags.register_validator(
    "sections", lambda names: set(names) <= SECTIONS, "training, variants, volumes or startup"
)
FLAGS = flags.FLAGS
STEPS_PER_CALL = 10  # of the variant


def main(_):
    """Prints the sections' tables, one number a line."""
    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
        tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    setup = workloads.Setup(
        FLAGS.size, FLAGS.batch_size, FLAGS.width, FLAGS.mixed_precision, FLAGS.jit
    )
    table = describe(setup)
    for section in (training, variants, volumes, startup):
        if section.__name__ in FLAGS.sections:
            table |= section(setup)
    for name, value in table.items():
        print(f"{name:50} {value if isinstance(value, str) else f'{value:.3g}'}")
    if FLAGS.json:
        files.write_json(pathlib.Path(FLAGS.json), table)


def describe(setup):
    """The machine and the setting, by name."""
    device = tf.config.list_logical_devices()[-1].device_type
    return {
        "device": f"{device}, {os.cpu_count()} CPU cores",
        "TensorFlow": tf.__version__,
        "grid": f"{setup.size} x {setup.size}, batch {setup.batch_size}, width {setup.width}",
        "step": f"{'bfloat16' if setup.mixed_precision else 'float32'}{', XLA' * setup.jit}",
    }


def measure(parts):
    """Median seconds of each function in a dict, called in turn; the first round is not timed."""
    times = {name: [] for name in parts}
    for i in range(FLAGS.repeats + 1):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            if i:
                times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def training(setup):
    """Each method's step and its parts, the limit, and the input pipeline's pace."""
    network = workloads.make_network(setup)
    product, product_flop = workloads.matrix_product()
    parts = step_parts.step_parts(setup, network)
    steps = {f"step {name}": workloads.make_step(setup, m) for name, m in METHODS.items()}
    seconds = measure({"product": product, **parts, **steps})
    rate = product_flop / seconds["product"]
    flop = step_parts.step_flop(network, setup.batch_size)
    yielded = pipeline_seconds(setup)
    return {
        "matrix product in float32, GFLOP/s": rate / 1e9,
        "one view's step, GFLOP": flop / 1e9,
        **step_table(seconds, flop / rate),
        "input pipeline, images/s": setup.batch_size / yielded,
        "input pipeline, batches per step": seconds["step bwcr"] / yielded,
    }


def step_table(seconds, limit):
    """Steps and their parts beside each other, and beside the least seconds of one view."""
    table = {}
    for name, method in METHODS.items():
        found = seconds[f"step {name}"]
        table[f"{name}: step, ms"] = 1000 * found
        table[f"{name}: step / limit"] = found / (method.num_views * limit)
    table["convolutions of two views alone, ms"] = 1000 * seconds["convolutions"]
    table["convolutions / limit"] = seconds["convolutions"] / (2 * limit)
    table["bare Keras step over two views, ms"] = 1000 * seconds["bare"]
    table["bwcr step / bare step"] = seconds["step bwcr"] / seconds["bare"]
    backward = seconds["bare"] - seconds["forward"] - seconds["optimizer"]
    for name in ("forward", "backward", "warps", "losses", "optimizer", "ema"):
        share = backward if name == "backward" else seconds[name]
        table[f"bwcr share of {name}, %"] = 100 * share / seconds["step bwcr"]
    return table


def pipeline_seconds(setup, count=30):
    """Seconds per batch of BWCR's input pipeline when nothing consumes it but a loop."""
    found = iter(workloads.batches(setup, METHODS["bwcr"], count))
    for _ in range(5):
        next(found)
    started = time.perf_counter()
    done = sum(1 for _ in found)
    return (time.perf_counter() - started) / done


def variants(setup):
    """BWCR's step done otherwise, as ratios to the step as it is, and both to the limit."""
    plain = dataclasses.replace(setup, mixed_precision=False, jit=False)
    mixed = dataclasses.replace(plain, mixed_precision=True)
    with mock.patch.object(unet, "FusedBatchNormalization", keras.layers.BatchNormalization):
        unfused = workloads.make_network(plain)
    step = functools.partial(workloads.make_step, method=METHODS["bwcr"])
    many = f"{STEPS_PER_CALL} steps a call"
    steps = {
        "as it is": step(plain),
        "Keras' own batch normalisation": step(plain, network=unfused),
        "both views in one pass": step(plain, kind=workloads.OnePass),
        "XLA": step(dataclasses.replace(plain, jit=True)),
        "bfloat16": step(mixed),
        "bfloat16 and XLA": step(dataclasses.replace(mixed, jit=True)),
        many: step(plain, steps=STEPS_PER_CALL),
    }
    product, product_flop = workloads.matrix_product()
    seconds = measure({"product": product, **steps})
    seconds[many] /= STEPS_PER_CALL
    flop = 2 * step_parts.step_flop(unfused, setup.batch_size)
    limit = flop * seconds["product"] / product_flop
    table = {"bwcr step as it is, ms": 1000 * seconds["as it is"]}
    for name in steps:
        table[f"{name}: step / step as it is"] = seconds[name] / seconds["as it is"]
        table[f"{name}: step / limit in float32"] = seconds[name] / limit
    return table


def volumes(setup):
    """Phantom volumes: what preprocessing and evaluation take for one, and 60 volumes' evaluation.

    Evaluation scores a volume before and after the temperature.
    """
    parts, count = workloads.volume_parts(setup)
    seconds = measure(parts)
    total = seconds["prediction"] + 2 * seconds["metrics"] + seconds["analysis"]
    return {
        f"{name}, ms a volume of {count} slices": 1000 * s for name, s in seconds.items()
    } | {
        "validation, volumes/s": 1 / seconds["validation"],
        "evaluation, volumes/s": 1 / total,
        "evaluation of 60 volumes, s": 60 * total,
        "of which metrics, s": 120 * seconds["metrics"],
    }


def startup(setup, subjects=8):
    """Seconds from the call of train.py to the end of its first step, with a warm cache."""
    with tempfile.TemporaryDirectory() as scratch:
        data = pathlib.Path(scratch, "data")
        phantom.write(data, num_training=subjects, num_testing=1)
        arguments = [f"--data_dir={data}", f"--cache_dir={scratch}/cache", "--ntr=3"]
        arguments += [f"--size={setup.size}", f"--pixel_mm={setup.pixel_mm}"]
        arguments += [f"--batch_size={setup.batch_size}", f"--width={setup.width}"]
        for name in ("cold", "warm"):
            seconds = until_first_step([*arguments, f"--runs_dir={scratch}/{name}"])
    return {"start-up to the first step with a warm cache, s": seconds}


def until_first_step(arguments):
    """Seconds that train.py with these arguments takes to its first step; NaN if it fails."""
    train = pathlib.Path(__file__).parents[2] / "train.py"
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, str(train), *arguments], **how) as process:
        found = any(line.startswith("first step") for line in process.stdout)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds if found else float("nan")


if __name__ == "__main__":
    command.run(main, "run it again")
