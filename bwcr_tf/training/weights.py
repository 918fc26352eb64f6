"""The networks of a run: with the selected averages, and with those of the last step."""

from bwcr_tf import unet
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints


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
    network, found = load_best(folder), checkpoints.paths(folder / "checkpoints")
    if not found:
        raise DataError(f"{folder / 'checkpoints'}: no checkpoint there")
    names = [f"averages/{i}" for i in range(len(network.weights))]
    network.set_weights(checkpoints.read(found[0], names))
    return network
