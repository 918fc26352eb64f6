"""The benchmark's sections of single steps: `training`, `input`, `variants`, `rectangle`."""

import dataclasses
import time
from unittest import mock

import keras

from bwcr_tf import unet
from bwcr_tf.benchmark import step_parts, workloads
from bwcr_tf.methods import METHODS

STEPS_PER_CALL = 10  # of the variant


def training(setup):
    """Each method's step and its parts, the limit, and the input pipeline's pace."""
    network = workloads.make_network(setup)
    product, product_flop = workloads.matrix_product()
    parts = step_parts.step_parts(setup, network)
    steps = {f"step {name}": workloads.make_step(setup, m) for name, m in METHODS.items()}
    seconds = workloads.measure({"product": product, **parts, **steps}, setup.repeats)
    rate = product_flop / seconds["product"]
    flop = step_parts.step_flop(network, setup.batch_size)
    yielded, _ = pipeline_seconds(setup, METHODS["bwcr"])
    return {
        "matrix product in float32, GFLOP/s": rate / 1e9,
        "one view's step, GFLOP": flop / 1e9,
        **step_table(seconds, flop / rate),
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


def pipeline_seconds(setup, method, count=50):
    """Seconds, and processor seconds, per batch of a method's input that a loop alone consumes."""
    found = iter(workloads.batches(setup, method, count))
    for _ in range(10):
        next(found)
    clocks = time.perf_counter, time.process_time
    started = [clock() for clock in clocks]
    done = sum(1 for _ in found)
    return [(clock() - start) / done for clock, start in zip(clocks, started, strict=True)]


def input_pipeline(setup):
    """What the batches of one view and of two cost: a GPU waits for them where cores are few."""
    table = {}
    for name in ("da", "bwcr"):
        seconds, processor = pipeline_seconds(setup, METHODS[name])
        table[f"{name}: input pipeline, images/s"] = setup.batch_size / seconds
        table[f"{name}: processor time of a batch, ms"] = 1000 * processor
    return table


def variants(setup):
    """BWCR's step done otherwise, as ratios to the step as it is, and both to the limit."""
    plain = dataclasses.replace(setup, mixed_precision=False, jit=False)
    many = f"{STEPS_PER_CALL} steps a call"
    steps = variant_steps(plain) | {many: bwcr_step(plain, steps=STEPS_PER_CALL)}
    product, product_flop = workloads.matrix_product()
    seconds = workloads.measure({"product": product, **steps}, setup.repeats)
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
    seconds = workloads.measure(
        {"all": bwcr_step(setup), "part": bwcr_step(smaller)}, setup.repeats
    )
    name = f"{smaller.shape[0]} x {columns} pixels"
    return {
        f"{name}: share of the grid": smaller.shape[0] / rows,
        f"{name}: step / step of the grid": seconds["part"] / seconds["all"],
    }
