"""Scans and label maps from disk: believed only once header and pixels agree (SimpleITK)."""

import contextlib
import gzip
import zlib

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import dicom, formats, header_checks, measured, nifti, text_headers
from bwcr_tf.data.dicom import dicom_files
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError


def read_image(path):
    """A scan as a float32 sitk.Image of three dimensions: a file, or a folder with one series.

    Padding that a DICOM header declares, and NaN at the border, become one value below all
    others, which `measured.mask` knows. Warns of a NIfTI header that contradicts itself.

    Raises:
      DataError: unreadable, truncated, not 3D, not scalar, not finite, or constant.
    """
    image = _read_dicom(path) if is_dicom(path) else _read_file(path, warn=True)
    image = sitk.Cast(image, sitk.sitkFloat32)
    with _reading(path):
        return measured.fill(image, declared=is_dicom(path))


def is_dicom(path):
    """Whether a path is read as DICOM: a folder, or a file of no other format's ending."""
    return path.is_dir() or not formats.has_ending(path, formats.NIFTI + formats.TEXT)


def read_header(path):
    """Orientation code (`LPS`, say), size and spacing in mm of a scan, without its pixels.

    Raises:
      DataError: unreadable, or not the header of one 3D scan.
    """
    file = next(iter(dicom_files(path)), path) if path.is_dir() else path
    reader = _header(file)
    spacing_mm, _, direction = _geometry(file, reader)
    return _code(direction), reader.GetSize(), spacing_mm


def orientation(image):
    """Code of the axes x, y, z of a sitk.Image, or of its reader, such as `LPS`."""
    return _code(image.GetDirection())


def _code(direction):
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)


def read_label(path, image, num_classes, place=False):
    """The label map of `image` as a sitk.Image on the image's own grid, of uint8 (above 256
    classes of int32, the next type that TensorFlow makes one-hot).

    With `place`, a label on another grid is put there by physical position (nearest neighbour).

    Raises:
      DataError: another shape or geometry, no overlap, or values that are not 0..num_classes-1.
    """
    label = _read_file(path)
    values = np.unique(sitk.GetArrayViewFromImage(label))
    strange = [value for value in values.tolist() if value not in range(num_classes)]
    if strange:
        raise DataError(f"{path}: label values {strange[:5]}; expected 0 to {num_classes - 1}")
    label = sitk.Cast(label, sitk.sitkUInt8 if num_classes <= 256 else sitk.sitkInt32)
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


def _read_file(path, warn=False):
    reader, missing = _whole(path)
    with _reading(path):
        image = reader.Execute()
        if missing.any():  # ITK takes NaN in NIfTI for zero
            pixels = sitk.GetArrayFromImage(sitk.Cast(image, sitk.sitkFloat32))
            pixels[missing.reshape(pixels.shape)] = np.nan
            image = sitk.GetImageFromArray(pixels)
    spacing_mm, origin, direction = _geometry(path, reader)
    if warn and formats.has_ending(path, formats.NIFTI):
        if doubts := nifti.doubts(nifti.read_header(path)):
            errors.warn(f"{path}: {doubts}")
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def _read_dicom(path):
    """The volume of a folder's one DICOM series, or of a file."""
    files = dicom_files(path) if path.is_dir() else [path]
    readers = {file: _whole(file)[0] for file in files}
    with _reading(path):
        return dicom.volume(readers)


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
    if is_dicom(path):  # of which `slice_planes` reads the place
        spacing_mm, place = (1.0,), ()
    if not (min(*size, *spacing_mm) > 0 and np.isfinite((*spacing_mm, *place)).all()):
        raise DataError(f"{path}: size {size}, spacing {spacing_mm}, origin and axes {place}")
    return reader


def _geometry(path, reader):
    """Spacing and origin in mm, and direction, of the file of which `reader` has the header.

    Raises:
      DataError: they are not there, or not those of a grid with right angles.
    """
    found = reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    with _reading(path):
        if formats.has_ending(path, formats.NIFTI):
            return nifti.geometry(nifti.read_header(path), reader)
        if formats.has_ending(path, formats.TEXT):
            scale = text_headers.unit_mm(path)
            header_checks.nearest_axes(np.reshape(found[2], (3, 3)))
            return (
                tuple(scale * v for v in found[0]),
                tuple(scale * v for v in found[1]),
                found[2],
            )
        plane = dicom.planes_of(path, reader)[0]
        return (
            (*plane.spacing_mm[:2], found[0][2]),
            found[1],
            tuple(plane.axes.ravel().tolist()),
        )


def _whole(path):
    """ITK's reader of a file with all pixels that its header says, for which ITK will make room,
    and which pixels it reads as zero though they are NaN."""
    reader = _header(path)
    with _reading(path):
        return reader, header_checks.check_pixels(path, reader)
