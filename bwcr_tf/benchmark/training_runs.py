"""The benchmark's sections of training as a whole: `startup` and, by Keras' fit, `fit`."""

import math
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import tensorflow as tf

from bwcr_tf.benchmark import workloads
from bwcr_tf.methods import METHODS
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.training.build import TOGETHER

UNTIMED = 20  # steps: the first is compiled, the next use up what was made meanwhile


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


def fit(setup):
    """`repeats` steps of training with all around them, on new batches and again on one of them.

    The second has no batch to wait for: the difference is the time that a step waits. With --jit
    also ten steps a call, as training takes them.
    """
    if not setup.jit:  # as training does
        tf.config.experimental.enable_op_determinism()
    table = {}
    for name in ("da", "bwcr"):
        count = UNTIMED + math.ceil(setup.repeats / TOGETHER) * TOGETHER
        new = workloads.batches(setup, METHODS[name], count)
        same = new.take(1).cache().repeat(count)
        trainer = workloads.make_trainer(setup, METHODS[name])
        seconds, alone = (fit_seconds(trainer, batches) for batches in (new, same))
        table[f"{name}: step of fit, ms"] = 1000 * seconds
        table[f"{name}: images/s"] = setup.batch_size / seconds
        table[f"{name}: step of fit on one batch, ms"] = 1000 * alone
        table[f"{name}: share that a step waits, %"] = 100 * (1 - alone / seconds)
        if setup.jit:
            together = fit_seconds(trainer, new, TOGETHER)
            table[f"{name}: step of fit, ten a call, ms"] = 1000 * together
    for device in tf.config.list_logical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info(device.name)["peak"]
        table["peak memory of the GPU, MB"] = peak / 1e6
    return table


def fit_seconds(trainer, batches, together=1):
    """Seconds a step of `fit`, `together` steps a call, without the first UNTIMED steps.

    As in training, the loss of each call is looked at.
    """
    ends = []

    def look(_, logs):
        float(logs["loss"])  # waits for the call
        ends.append(time.perf_counter())

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=look)
    if trainer.steps_per_execution != together:
        trainer.steps_per_execution = together
        trainer.make_train_function(force=True)
    trainer.fit(batches, callbacks=[callback], verbose=0, shuffle=False)
    timed = ends[UNTIMED // together - 1 :]
    return (timed[-1] - timed[0]) / (len(timed) - 1) / together
