"""The benchmark's sections: medians of repeated calls, taken in turn, as tables of numbers."""

import dataclasses
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from unittest import mock

import keras
import tensorflow as tf

from bwcr_tf import unet
from bwcr_tf.benchmark import prediction_parts, step_parts, workloads
from bwcr_tf.benchmark.fitting import fit as fit
from bwcr_tf.methods import METHODS
from bwcr_tf.phantom import dataset as phantom

STEPS_PER_CALL = 10  # of the variant


def describe(setup):
    """The machine and the setting, by name."""
    device = tf.config.list_logical_devices()[-1].device_type
    rows, columns = setup.shape
    return {
        "device": f"{device}, {os.cpu_count()} CPU cores",
        "TensorFlow": tf.__version__,
        "grid": f"{rows} x {columns}, batch {setup.batch_size}, width {setup.width}",
        "step": f"{'bfloat16' if setup.mixed_precision else 'float32'}{', XLA' * setup.jit}",
    }


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


def training(setup):
    """Each method's step and its parts, the limit, and the input pipeline's pace."""
    network = workloads.make_network(setup)
    product, product_flop = workloads.matrix_product()
    parts = step_parts.step_parts(setup, network)
    steps = {f"step {name}": workloads.make_step(setup, m) for name, m in METHODS.items()}
    seconds = measure({"product": product, **parts, **steps}, setup.repeats)
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
    many = f"{STEPS_PER_CALL} steps a call"
    steps = variant_steps(plain) | {many: bwcr_step(plain, steps=STEPS_PER_CALL)}
    product, product_flop = workloads.matrix_product()
    seconds = measure({"product": product, **steps}, setup.repeats)
    seconds[many] /= STEPS_PER_CALL
    flop = 2 * step_parts.step_flop(workloads.make_network(plain), setup.batch_size)
    limit = flop * seconds["product"] / product_flop
    table = {"bwcr step as it is, ms": 1000 * seconds["as it is"]}
    for name in steps:
        table[f"{name}: step / step as it is"] = seconds[name] / seconds["as it is"]
        table[f"{name}: step / limit in float32"] = seconds[name] / limit
    return table


def variant_steps(plain):
    """{what is done otherwise: a step of BWCR as a function}."""
    mixed = dataclasses.replace(plain, mixed_precision=True)
    with mock.patch.object(unet, "FusedBatchNormalization", keras.layers.BatchNormalization):
        unfused = workloads.make_network(plain)
    return {
        "as it is": bwcr_step(plain),
        "Keras' own batch normalisation": bwcr_step(plain, network=unfused),
        "both views in one pass": bwcr_step(plain, kind=workloads.OnePass),
        "XLA": bwcr_step(dataclasses.replace(plain, jit=True)),
        "bfloat16": bwcr_step(mixed),
        "bfloat16 and XLA": bwcr_step(dataclasses.replace(mixed, jit=True)),
    }


def bwcr_step(setup, **how):
    """workloads.make_step of BWCR."""
    return workloads.make_step(setup, METHODS["bwcr"], **how)


def rectangle(setup):
    """BWCR's step on two thirds of the grid's rows, as a ratio to that on the whole grid."""
    rows, columns = setup.shape
    smaller = dataclasses.replace(setup, shape=(16 * max(1, 2 * rows // 48), columns))
    seconds = measure({"all": bwcr_step(setup), "part": bwcr_step(smaller)}, setup.repeats)
    name = f"{smaller.shape[0]} x {columns} pixels"
    return {
        f"{name}: share of the grid": smaller.shape[0] / rows,
        f"{name}: step / step of the grid": seconds["part"] / seconds["all"],
    }


def volumes(setup):
    """Phantom volumes: what preprocessing and evaluation take for one, and 60 volumes' evaluation.

    Evaluation scores a volume before and after calibration.
    """
    parts, count = workloads.volume_parts(setup)
    seconds = measure(parts, setup.repeats)
    total = seconds["prediction"] + 2 * seconds["metrics"] + seconds["analysis"]
    return {
        f"{name}, ms a volume of {count} slices": 1000 * s for name, s in seconds.items()
    } | {
        "validation, volumes/s": 1 / seconds["validation"],
        "evaluation, volumes/s": 1 / total,
        "evaluation of 60 volumes, s": 60 * total,
        "of which metrics, s": 120 * seconds["metrics"],
    }


def prediction(setup):
    """What bwcr_tf.predict takes for a scan by a loaded model, without reading and writing."""
    seconds = measure(prediction_parts.parts(setup), setup.repeats)
    scan = "{} slices of {} x {}".format(*prediction_parts.SHAPE)
    return {f"{scan}, {name}: prediction, s": s for name, s in seconds.items()}


def startup(setup, subjects=8):
    """Seconds from the call of train.py to the end of its first step, with a warm cache."""
    with tempfile.TemporaryDirectory() as scratch:
        data = pathlib.Path(scratch, "data")
        phantom.write(data, num_training=subjects, num_testing=1)
        arguments = [f"--data_dir={data}", f"--cache_dir={scratch}/cache", "--ntr=3"]
        arguments += ["--size={},{}".format(*setup.shape), f"--pixel_mm={setup.pixel_mm}"]
        arguments += [f"--batch_size={setup.batch_size}", f"--width={setup.width}"]
        for name in ("cold", "warm"):
            seconds = until_first_step([*arguments, f"--runs_dir={scratch}/{name}"])
    return {"start-up to the first step with a warm cache, s": seconds}


def until_first_step(arguments):
    """Seconds that train.py with these arguments takes to its first step; NaN if it fails."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "bwcr_tf.training", *arguments], **how
    ) as process:
        found = any(line.startswith("first step") for line in process.stdout)
        seconds = time.perf_counter() - started
        process.kill()
    return seconds if found else float("nan")
