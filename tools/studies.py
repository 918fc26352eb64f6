"""What the studies of trained runs share: arguments, how a run is opened, its predictions."""

import argparse
import hashlib
import pathlib

import numpy as np

from bwcr_tf.evaluation import calibration_record
from bwcr_tf.training import run_folder


def parser(text):
    """The argparse.ArgumentParser of a study whose docstring is `text`."""
    found = argparse.ArgumentParser(description=text.split("\n")[0])
    found.add_argument("runs", nargs="+", type=pathlib.Path)
    found.add_argument("--data_dir")
    found.add_argument("--cache_dir")
    return found


def load(folder, arguments):
    """(RunSpec, flags, folder of the data set, folder of preprocessed volumes) of a run.

    Raises:
      DataError: it is not a run that is trained to its end.
    """
    spec, flags = run_folder.load_spec(folder), run_folder.read_flags(folder)
    calibration_record.load(folder, spec.settings.num_classes)
    data_dir = arguments.data_dir or run_folder.data_dir(flags)
    return spec, flags, data_dir, arguments.cache_dir or flags["cache_dir"]


def memoized(function):
    """`function` of an array, computed once for each content."""
    found = {}

    def remember(array):
        key = array.shape, hashlib.sha256(np.ascontiguousarray(array)).digest()
        return found[key] if key in found else found.setdefault(key, function(array))

    return remember
