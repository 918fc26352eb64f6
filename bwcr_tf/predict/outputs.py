"""The files that are written of a scan: three images, and what is written with them."""

import contextlib
import itertools
import os
import pathlib
import tempfile

import numpy as np
from scipy import special

from bwcr_tf.data import formats, grids, nifti
from bwcr_tf.predict import image_files, scan_folder
from bwcr_tf.system import command, files
from bwcr_tf.system.errors import DataError


def nifti_header(path):
    """The header of a scan in NIfTI, else None."""
    is_nifti = path.is_file() and formats.has_ending(path, formats.NIFTI)
    return nifti.read_header(path) if is_nifti else None


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


_LONGEST = 255 - len("_probabilities.nii.gz")  # bytes of a scan's name
_MARKS = (
    ".lock",
    "volumes.csv",
    "index.html",
)  # one is in every folder that this command writes to
_ARRAYS = {  # each is made when it is written, for memory
    "labels": label_map,
    "probabilities": lambda probabilities: np.moveaxis(probabilities, -1, 0),
    "entropy": entropy,
}


def claim(output, names):
    """A block in which this process alone predicts scans into a folder, which it makes.

    Raises:
      DataError: another process is in it, or the scans' files would replace some that are not of
        this command.
    """
    if not any((output / mark).exists() for mark in _MARKS):
        for name, file in itertools.product(names, _files()):
            if os.path.exists(path := output / f"{name}_{file}"):  # False for too long a name
                raise DataError(f"{path}: not of this command; choose another output folder")
    output.mkdir(parents=True, exist_ok=True)
    busy = f"{output}: another process is predicting into it; choose another output folder"
    return files.lock(output / ".lock", busy)


def _files():
    """What the files of a scan may be called, after its name."""
    ends = {*scan_folder.ENDINGS.values(), ".dcm"}
    return ["".join(pair) for pair in itertools.product(_ARRAYS, ends)]


@contextlib.contextmanager
def together(output, name):
    """A folder to write the files of a scan to; FILE becomes NAME_FILE if the block succeeds.

    Files of an earlier prediction that are not written again, as of another format, are removed.

    Raises:
      DataError: something could not be written to that folder; then the scan has no new file.
    """
    if len(os.fsencode(os.path.basename(name))) > _LONGEST:
        raise DataError(f"{name}: too long a name; expected {_LONGEST} bytes at most")
    folder = (output / f"{name}_").parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        try:
            yield pathlib.Path(temporary)
        except OSError as error:
            full = "; the disk is full" if command.out_of_space(error) else ""
            raise DataError(f"{output}: {name} could not be written ({error}){full}") from error
        written = sorted(os.listdir(temporary))
        for file in written:
            os.replace(os.path.join(temporary, file), output / f"{name}_{file}")
    for file in {*_files()}.difference(written):  # of an earlier prediction
        (output / f"{name}_{file}").unlink(missing_ok=True)


def write(folder, suffix, probabilities, image, header=None):
    """Writes the three images of a scan to a folder.

    They lie where `image` does, and, where the scan is NIfTI with `header`, exactly as it says:
    with its sform, qform, codes and units.

    Raises:
      OSError: one could not be written whole.
    """
    grid = grids.Grid.of(image)
    for what, array in _ARRAYS.items():
        image_files.write(folder / f"{what}{suffix}", array(probabilities), grid, header)
