"""The images that are written for a scan: labels, probabilities and entropy."""

import os
import tempfile

import numpy as np
import SimpleITK as sitk
from scipy import special

from bwcr_tf.data import preprocess
from bwcr_tf.system.errors import DataError


def write(output, name, suffix, probabilities, image):
    """Writes the three images of a scan, each of them whole or not at all."""
    grid = preprocess.Grid.of(image)
    labels = sitk.GetImageFromArray(probabilities.argmax(axis=-1).astype(np.uint8))
    entropy = sitk.GetImageFromArray(special.entr(probabilities).sum(axis=-1))
    files = {
        "labels": grid.place(labels),
        "probabilities": with_class_axis(probabilities, grid),
        "entropy": grid.place(entropy),
    }
    folder = (output / f"{name}_").parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        for what, content in files.items():
            path = os.path.join(temporary, what + suffix)
            sitk.WriteImage(content, path, useCompression=True, compressionLevel=1)
            if sitk.Hash(sitk.ReadImage(path)) != sitk.Hash(content):  # ITK is silent about it
                raise DataError(f"{output}: {name} could not be written; is the disk full?")
        for what in files:
            source = os.path.join(temporary, what + suffix)
            os.replace(source, output / f"{name}_{what}{suffix}")


def with_class_axis(probabilities, grid):
    """A 4D sitk.Image of probabilities [Z, Y, X, C]: x, y, z as `grid`, then the class."""
    image = sitk.GetImageFromArray(np.moveaxis(probabilities, -1, 0), isVector=False)
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(grid.direction, (3, 3))
    place = ((*grid.spacing_mm, 1), (*grid.origin, 0), tuple(direction.ravel()))
    return preprocess.Grid(image.GetSize(), *place).place(image)
