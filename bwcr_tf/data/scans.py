"""Scans and label maps from disk: believed only once header and pixels agree (SimpleITK)."""

import contextlib
import gzip
import itertools
import math
import zlib

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import header_checks
from bwcr_tf.system.errors import DataError


def read_image(path):
    """A scan as a float32 sitk.Image of three dimensions: a file, or a folder with one series.

    Raises:
      DataError: unreadable, truncated, not 3D, not scalar, not finite, or constant.
    """
    image = _read_series(path) if path.is_dir() else _read_file(path)
    image = sitk.Cast(image, sitk.sitkFloat32)
    pixels = sitk.GetArrayViewFromImage(image)
    with _reading(path):
        header_checks.check_finite(pixels)
    if pixels.min() == pixels.max():
        raise DataError(f"{path}: constant image, every pixel is {pixels.min():g}")
    return image


def read_header(path):
    """Orientation code (`LPS`, say), size and spacing in mm of a scan, without its pixels.

    Raises:
      DataError: unreadable, or not the header of one 3D scan.
    """
    reader = _header(next(iter(dicom_files(path)), path) if path.is_dir() else path)
    return orientation(reader), reader.GetSize(), reader.GetSpacing()


def orientation(image):
    """Code of the axes x, y, z of a sitk.Image, or of its reader, such as `LPS`."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(image.GetDirection())


def dicom_files(folder, deep=True):
    """The DICOM files in a folder (and, if `deep`, below it) in order, by ending or by content."""

    def is_dicom(file):
        if file.name.startswith(".") or file.name == "DICOMDIR":
            return False
        if file.suffix.lower() == ".dcm":
            return True
        with open(file, "rb") as content:
            return content.read(132)[128:] == b"DICM"

    files = sorted(folder.rglob("*") if deep else folder.iterdir())
    return [file for file in files if file.is_file() and is_dicom(file)]


def read_label(path, image, num_classes, place=False):
    """The label map of `image` as a uint8 sitk.Image on the image's own grid.

    With `place`, a label on another grid is put there by physical position (nearest neighbour).

    Raises:
      DataError: another shape or geometry, no overlap, or values that are not 0..num_classes-1.
    """
    label = _read_file(path)
    values = np.unique(sitk.GetArrayViewFromImage(label))
    strange = [value for value in values.tolist() if value not in range(num_classes)]
    if strange:
        raise DataError(f"{path}: label values {strange[:5]}; expected 0 to {num_classes - 1}")
    label = sitk.Cast(label, sitk.sitkUInt8)
    difference = _geometry_difference(label, image)
    if not difference:
        return label
    if not place:
        raise DataError(f"{path}: {difference}")
    placed = sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    if values.any() and not sitk.GetArrayViewFromImage(placed).any():
        raise DataError(f"{path}: no label overlaps the image; {difference}")
    return placed


def label_values(path):
    """The values that a label map holds, in order, as a list."""
    return np.unique(sitk.GetArrayFromImage(_read_file(path))).tolist()


def read_probabilities(path, image, num_classes):
    """The class probabilities of `image` on its own grid, a float32 vector sitk.Image (.nii.gz).

    Raises:
      DataError: unreadable, another grid, or not a probability for each of `num_classes`.
    """
    with _reading(path):
        gzip.decompress(path.read_bytes())  # ITK is silent about a file cut short
        found = sitk.ReadImage(path, sitk.sitkVectorFloat32)
    if found.GetNumberOfComponentsPerPixel() != num_classes:
        count = found.GetNumberOfComponentsPerPixel()
        raise DataError(f"{path}: {count} components a pixel; expected {num_classes}")
    if difference := _geometry_difference(found, image):
        raise DataError(f"{path}: {difference}")
    return found


def _geometry_difference(label, image):
    """What differs between two grids, in words; empty if they agree."""
    for what in ("Size", "Spacing", "Origin", "Direction"):
        found, expected = (getattr(grid, f"Get{what}")() for grid in (label, image))
        if not np.allclose(found, expected, rtol=0, atol=1e-2 if what == "Origin" else 1e-3):
            found, expected = (tuple(round(v, 4) for v in grid) for grid in (found, expected))
            return f"{what.lower()} {found}; expected {expected}, the image's"
    return ""


_ERRORS = OSError, EOFError, RuntimeError, ValueError, ArithmeticError, MemoryError, zlib.error


@contextlib.contextmanager
def _reading(path):
    """Turns what is raised while `path` is read into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except header_checks.Mismatch as error:
        raise DataError(f"{path}: {error}") from error
    except _ERRORS as error:
        reason = " ".join(str(error).rpartition("ERROR: ")[2].split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason[-300:]})") from error


def _read_file(path):
    with _reading(path):
        return _whole(path).Execute()


def _read_series(folder):
    """The volume of a folder's one DICOM series, its slices in the order of their positions."""
    slices = {file: _whole(file) for file in dicom_files(folder)}
    series = {r.HasMetaDataKey(_SERIES) and r.GetMetaData(_SERIES) for r in slices.values()}
    if len(series) != 1:
        found = f"{len(series)} DICOM series in {len(slices)} files"
        raise DataError(f"{folder}: {found}; expected one")
    axes = np.array([reader.GetDirection() for reader in slices.values()])
    if np.ptp(axes, axis=0).max() > 1e-3:
        raise DataError(f"{folder}: slices in several orientations; expected one")
    normal = axes[0, 2::3]
    names = sorted(slices, key=lambda name: normal @ slices[name].GetOrigin())
    places = [slices[name].GetOrigin() for name in names]
    gaps_mm = [math.dist(*pair) for pair in itertools.pairwise(places)]
    if gaps_mm and not max(gaps_mm) < 1.1 * min(gaps_mm):
        raise DataError(
            f"{folder}: slices {min(gaps_mm):g} to {max(gaps_mm):g} mm apart; expected one step"
        )
    with _reading(folder):
        return sitk.ReadImage(names)


_SERIES = "0020|000e"  # Series Instance UID


def _header(path):
    """ITK's reader of a file after its header, which must be that of a 3D scan."""
    with _reading(path):
        header_checks.check_header(path)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path).encode().decode())  # ITK ends the process where this fails
        reader.ReadImageInformation()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if (reader.GetDimension(), reader.GetNumberOfComponents()) != (3, 1) or "complex" in kind:
        raise DataError(
            f"{path}: {reader.GetDimension()}D with {reader.GetNumberOfComponents()} "
            f"components a pixel ({kind}); expected 3D with one real number"
        )
    size, spacing_mm = reader.GetSize(), reader.GetSpacing()
    place = (*reader.GetOrigin(), *reader.GetDirection())
    if not (min(*size, *spacing_mm) > 0 and np.isfinite((*spacing_mm, *place)).all()):
        raise DataError(f"{path}: size {size}, spacing {spacing_mm}, origin and axes {place}")
    return reader


def _whole(path):
    """ITK's reader of a file with all pixels that its header says, for which ITK will make room."""
    reader = _header(path)
    with _reading(path):
        header_checks.check_pixels(path, reader)
    return reader
