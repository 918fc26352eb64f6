"""The three images that are written of a scan."""

import errno
import os
import pathlib
import tempfile

import numpy as np
import SimpleITK as sitk
from scipy import special

from bwcr_tf.data import formats, nifti, preprocess
from bwcr_tf.system.errors import DataError


def nifti_header(path):
    """The header of a scan in NIfTI, else None."""
    return nifti.read_header(path) if formats.has_ending(path, formats.NIFTI) else None


def write(output, name, suffix, probabilities, image, header=None):
    """Writes the three images of a scan, each of them whole or not at all.

    They lie where `image` does, and, where the scan is NIfTI with `header`, exactly as it says:
    with its sform, qform, codes and units.
    """
    grid = preprocess.Grid.of(image)
    kind = np.uint8 if probabilities.shape[-1] <= 256 else np.uint16
    labels = sitk.GetImageFromArray(probabilities.argmax(axis=-1).astype(kind))
    entropy = sitk.GetImageFromArray(special.entr(probabilities).sum(axis=-1))
    images = {
        "labels": grid.place(labels),
        "probabilities": with_class_axis(probabilities, grid),
        "entropy": grid.place(entropy),
    }
    folder = (output / f"{name}_").parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        for what, content in images.items():
            try:
                _write_one(pathlib.Path(temporary, what + suffix), content, header)
            except OSError as error:
                reason = f"could not be written ({error.strerror}); is the disk full?"
                raise DataError(f"{output}: {name} {reason}") from error
        for what in images:
            source = os.path.join(temporary, what + suffix)
            os.replace(source, output / f"{name}_{what}{suffix}")


def _write_one(path, content, header):
    """Writes a sitk.Image, and raises OSError where it is not whole, which ITK is silent about."""
    plain = path if header is None else path.with_suffix("")  # .nii of .nii.gz
    sitk.WriteImage(content, plain, useCompression=header is None, compressionLevel=1)
    if sitk.Hash(sitk.ReadImage(plain)) != sitk.Hash(content):
        raise OSError(errno.EIO, "it cannot be read back")
    if header is not None:
        nifti.copy_forms(plain, path, header)


def with_class_axis(probabilities, grid):
    """A 4D sitk.Image of probabilities [Z, Y, X, C]: x, y, z as `grid`, then the class."""
    image = sitk.GetImageFromArray(np.moveaxis(probabilities, -1, 0), isVector=False)
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(grid.direction, (3, 3))
    place = ((*grid.spacing_mm, 1), (*grid.origin, 0), tuple(direction.ravel()))
    return preprocess.Grid(image.GetSize(), *place).place(image)
