"""The three images that are written of a scan."""

import errno
import gzip
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


def label_map(probabilities):
    """The most likely class [Z, Y, X] of probabilities [Z, Y, X, C], uint8 (uint16 over 256)."""
    kind = np.uint8 if probabilities.shape[-1] <= 256 else np.uint16
    return np.stack([plane.argmax(axis=-1).astype(kind) for plane in probabilities])


def entropy(probabilities):
    """-sum_c p_c log p_c [Z, Y, X] of probabilities [Z, Y, X, C], in nats."""
    found = np.empty(probabilities.shape[:-1], np.float32)
    for plane, target in zip(probabilities, found, strict=True):  # one at a time, for memory
        special.entr(plane).sum(axis=-1, out=target)
    return found


def write(output, name, suffix, probabilities, image, header=None):
    """Writes the three images of a scan, each of them whole or not at all.

    They lie where `image` does, and, where the scan is NIfTI with `header`, exactly as it says:
    with its sform, qform, codes and units.
    """
    grid = preprocess.Grid.of(image)
    arrays = {
        "labels": label_map(probabilities),
        "probabilities": np.moveaxis(probabilities, -1, 0),
        "entropy": entropy(probabilities),
    }
    folder = (output / f"{name}_").parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        for what, array in arrays.items():
            path = pathlib.Path(temporary, what + suffix)
            try:
                if suffix == ".nii.gz":
                    _write_nifti(path, array, grid, header)
                else:
                    _write_one(path, placed(array, grid))
            except OSError as error:
                reason = f"could not be written ({error.strerror}); is the disk full?"
                raise DataError(f"{output}: {name} {reason}") from error
        for what in arrays:
            source = os.path.join(temporary, what + suffix)
            os.replace(source, output / f"{name}_{what}{suffix}")


def _write_nifti(path, array, grid, header):
    """Writes an array [(C,) Z, Y, X] as .nii.gz, plane by plane: as ITK would, in less memory."""
    first = path.with_suffix("")
    one_plane = placed(np.ascontiguousarray(array[..., :1, :, :]), grid)
    sitk.WriteImage(one_plane, first)
    start = nifti.with_forms(first.read_bytes()[:352], array.shape[::-1], header)
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as stream:
        stream.write(start)
        for index in np.ndindex(array.shape[:-2]):
            stream.write(np.ascontiguousarray(array[index]))


def _write_one(path, content):
    """Writes a sitk.Image, and raises OSError where it is not whole, which ITK is silent about."""
    sitk.WriteImage(content, path, useCompression=True, compressionLevel=1)
    if sitk.Hash(sitk.ReadImage(path)) != sitk.Hash(content):
        raise OSError(errno.EIO, "it cannot be read back")


def placed(array, grid):
    """A sitk.Image of an array [Z, Y, X] on a Grid, or of [C, Z, Y, X]: then the class is 4th."""
    image = sitk.GetImageFromArray(array, isVector=False)
    if array.ndim == 3:
        return grid.place(image)
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(grid.direction, (3, 3))
    place = ((*grid.spacing_mm, 1), (*grid.origin, 0), tuple(direction.ravel()))
    return preprocess.Grid(image.GetSize(), *place).place(image)
