"""The benchmark's section `memory`: what bwcr_tf.predict takes for a large scan."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import SimpleITK as sitk

from bwcr_tf.benchmark import workloads
from bwcr_tf.data import normalization, preprocess
from bwcr_tf.export import saved_model

SHAPE = 300, 512, 512  # slices, rows, columns


def memory(setup):
    """Peak memory and processor time of the whole command, start-up included.

    The scan has pixels of the network's size: a grid of 512 x 512 holds it, a smaller one is moved
    over it in tiles.
    """
    scan = "{} slices of {} x {}".format(*SHAPE)
    with tempfile.TemporaryDirectory() as scratch:
        gigabytes, seconds = child_usage(prediction(setup, pathlib.Path(scratch)))
    return {f"{scan}: peak memory, GB": gigabytes, f"{scan}: processor time, s": seconds}


def prediction(setup, folder):
    """A command that predicts a scan of SHAPE; both it and the model are written to `folder`."""
    network = workloads.make_network(dataclasses.replace(setup, mixed_precision=False))
    settings = preprocess.Settings(
        workloads.NUM_CLASSES, setup.shape, setup.pixel_mm, n4_shrink=0
    )
    description = {
        "classes": ["background", *workloads.CLASSES],
        "preprocessing": dataclasses.asdict(settings)
        | {"percentiles": normalization.PERCENTILES},
        "preprocessed_by": preprocess.VERSION,
    }
    saved_model.export(network, folder / "saved_model", description)
    pixels = np.random.default_rng(0).integers(-1000, 1000, SHAPE, np.int16)
    image = sitk.GetImageFromArray(pixels)
    image.SetSpacing((setup.pixel_mm, setup.pixel_mm, 1.0))
    sitk.WriteImage(image, folder / "scan.nrrd")
    paths = {"model": "saved_model", "input": "scan.nrrd", "output": "predicted"}
    flags = [f"--{name}={folder / path}" for name, path in paths.items()]
    return [sys.executable, "-m", "bwcr_tf.predict", *flags]


def child_usage(command):
    """Peak memory in GB and processor time in seconds of a command, in a process of its own.

    On Linux, the peak is at least the memory of this process, which the other starts as a copy of.

    Raises:
      CalledProcessError: it failed.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    scale = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return usage.ru_maxrss * scale / 1e9, usage.ru_utime + usage.ru_stime
