"""The benchmark's sections by name: each is a table of numbers, medians of calls taken in turn."""

import os

import tensorflow as tf

from bwcr_tf.benchmark import memory, scans, steps, training_runs

SECTIONS = {
    "training": steps.training,
    "input": steps.input_pipeline,
    "variants": steps.variants,
    "rectangle": steps.rectangle,
    "volumes": scans.volumes,
    "prediction": scans.prediction,
    "memory": memory.memory,
    "startup": training_runs.startup,
    "fit": training_runs.fit,
}


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
