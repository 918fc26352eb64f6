"""One volume from a file or a DICOM series by ITK, once its header and its pixels are checked."""

import contextlib
import os
import zlib

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import dicom, formats, header_checks, nifti, text_headers
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

# Else ITK refuses shears of 1e-3; `nifti.geometry` has the last word
os.environ.setdefault("ITK_NIFTI_SFORM_PERMISSIVE", "YES")


def is_dicom(path):
    """Whether a path is read as DICOM: a folder, or a file of no other format's ending."""
    return path.is_dir() or not formats.has_ending(path, formats.NIFTI + formats.TEXT)


_ERRORS = OSError, EOFError, RuntimeError, ValueError, ArithmeticError, MemoryError, zlib.error


@contextlib.contextmanager
def reading(path):
    """Turns what is raised while `path` is read into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except formats.Mismatch as error:
        raise DataError(f"{path}: {error}") from error
    except _ERRORS as error:
        reason = " ".join(str(error).rpartition("ERROR: ")[2].split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason[-300:]})") from error


def read_file(path, warn=False):
    """The sitk.Image of a file that is not DICOM; says, if `warn`, what its header leaves open."""
    reader, missing = _whole(path)
    with reading(path):
        image = reader.Execute()
        if missing.any():  # ITK takes NaN in NIfTI for zero
            pixels = sitk.GetArrayFromImage(sitk.Cast(image, sitk.sitkFloat32))
            pixels[missing.reshape(pixels.shape)] = np.nan
            image = sitk.GetImageFromArray(pixels)
    spacing_mm, origin, direction = geometry(path, reader)
    if warn and (doubts := _doubts(path)):
        errors.warn(f"{path}: {doubts}")
    image.SetSpacing(spacing_mm)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    return image


def _doubts(path):
    if formats.has_ending(path, formats.NIFTI):
        return nifti.doubts(nifti.read_header(path))
    return text_headers.doubts(path)


def read_dicom(path):
    """The volume of a folder's one DICOM series, or of a file."""
    files = dicom.dicom_files(path) if path.is_dir() else [path]
    readers = {file: _whole(file)[0] for file in files}
    with reading(path):
        return dicom.volume(readers)


def header(path):
    """ITK's reader of a file after its header, which must be that of a 3D scan."""
    with reading(path):
        header_checks.check_header(path)
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path).encode().decode())  # ITK ends the process where this fails
        if is_dicom(path):
            reader.SetImageIO("GDCMImageIO")
        elif formats.has_ending(path, (".mha", ".mhd")):  # which ITK knows in small letters
            reader.SetImageIO("MetaImageIO")
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


def geometry(path, reader):
    """Spacing and origin in mm, and direction, of the file of which `reader` has the header.

    Raises:
      DataError: they are not there, or not those of a grid with right angles.
    """
    spacing_mm, origin, direction = (
        reader.GetSpacing(),
        reader.GetOrigin(),
        reader.GetDirection(),
    )
    with reading(path):
        if formats.has_ending(path, formats.NIFTI):
            return nifti.geometry(nifti.read_header(path), reader)
        if formats.has_ending(path, formats.TEXT):
            scale = text_headers.unit_mm(path)
            header_checks.nearest_axes(np.reshape(direction, (3, 3)))
            spacing_mm, origin = (
                tuple(scale * v for v in place) for place in (spacing_mm, origin)
            )
            return spacing_mm, origin, direction
        planes = dicom.planes_of(path, reader)
        if len(planes) == 1:  # of a series, perhaps, of which the other slices say the step
            order, spacing_mm = [0], (*planes[0].spacing_mm[:2], abs(spacing_mm[2]))
        else:
            order, spacing_mm = dicom.arrange(planes)
        first = planes[order[0]]
        return spacing_mm, tuple(first.position.tolist()), tuple(first.axes.ravel().tolist())


def _whole(path):
    """ITK's reader of a file with all pixels that its header says, for which ITK will make room,
    and which pixels it reads as zero though they are NaN."""
    reader = header(path)
    with reading(path):
        return reader, header_checks.check_pixels(path, reader)
