"""Checkpoints of a run, and its networks: with the selected averages, and with the last ones."""

import pathlib

import tensorflow as tf

from bwcr_tf import unet
from bwcr_tf.system.errors import DataError

_KEPT = 2  # the older one serves where the newer one is damaged


def paths(folder):
    """The checkpoints in `folder`, newest first, as texts that TensorFlow takes.

    TensorFlow writes the index last, and a checksum with every tensor.
    """
    found = [path.with_suffix("") for path in folder.glob("step-[0-9]*.index")]
    return [str(path) for path in sorted(found, key=lambda path: int(path.name[5:]))[::-1]]


def save(checkpoint, folder, step):
    """Writes a tf.train.Checkpoint as that of `step`, and deletes all but the newest two."""
    checkpoint.write(str(folder / f"step-{step}"))
    for path in paths(folder)[_KEPT:]:
        for file in folder.glob(f"{pathlib.Path(path).name}.*"):
            file.unlink()


def restore(checkpoint, folder, *others):
    """Restores the newest checkpoint that is whole, if there are any.

    `others` are tf.train.Checkpoints of what earlier versions wrote. Returns the one that was
    restored, or None.

    Raises:
      DataError: there are checkpoints, but none is whole.
    """
    found = paths(folder)
    for path in found:
        for form in (checkpoint, *others):
            try:
                form.read(path).assert_existing_objects_matched()
                return form
            except AssertionError as error:  # it lacks variables: one of an earlier version
                reason = type(error).__name__
            except Exception as error:  # whatever TensorFlow makes of a damaged file
                reason = type(error).__name__
                break
        print(f"{path}: damaged, passed over ({reason})")
    if found:
        raise DataError(f"{folder}: no checkpoint is whole; delete the run and train it again")
    return None


def read(path, names):
    """Arrays of the named variables in the checkpoint `path`.

    Raises:
      DataError: it is damaged, or has no such variables.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        return [reader.get_tensor(f"{name}/.ATTRIBUTES/VARIABLE_VALUE") for name in names]
    except Exception as error:  # as above
        raise DataError(f"{path}: not a whole checkpoint ({type(error).__name__})") from error


def load_best(folder):
    """The network with the selected weights.

    Raises:
      DataError: there is none yet, or the file is broken.
    """
    path = folder / "best.keras"
    if not path.exists():
        raise DataError(f"{path}: not there; the run has not come to its first validation")
    try:
        return unet.load(path)
    except Exception as error:  # whatever Keras, zip or HDF5 make of a broken file
        raise DataError(f"{path}: not a whole model ({type(error).__name__})") from error


def load_last(folder):
    """The network with the averages of the last checkpoint.

    Raises:
      DataError: there is none, or it is broken.
    """
    network, found = load_best(folder), paths(folder / "checkpoints")
    if not found:
        raise DataError(f"{folder / 'checkpoints'}: no checkpoint there")
    names = [f"averages/{i}" for i in range(len(network.weights))]
    network.set_weights(read(found[0], names))
    return network
