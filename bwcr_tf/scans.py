"""Scans and label maps from disk: believed only once header and pixels agree (SimpleITK)."""

import contextlib
import gzip
import itertools
import math
import os
import pathlib
import re
import zlib

import numpy as np
import SimpleITK as sitk


class DataError(ValueError):
    """Something in the user's data is not as it must be; the message is one line for the user."""


def read_image(path):
    """A scan as a float32 sitk.Image of three dimensions: a file, or a folder with one series.

    Raises:
      DataError: unreadable, truncated, not 3D, not scalar, not finite, or constant.
    """
    image = _read_series(path) if path.is_dir() else _read_file(path)
    image = sitk.Cast(image, sitk.sitkFloat32)
    pixels = sitk.GetArrayViewFromImage(image)
    _check_finite(path, pixels)
    if pixels.min() == pixels.max():
        raise DataError(f"{path}: constant image, every pixel is {pixels.min():g}")
    return image


def _check_finite(path, pixels):
    if wrong := np.count_nonzero(~np.isfinite(pixels)):
        raise DataError(f"{path}: {wrong} pixels are NaN or infinite")


def read_header(path):
    """Orientation code (`LPS`, say), size and spacing in mm of a scan, without its pixels."""
    with _reading(path):
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
    """Turns what the libraries raise while they read `path` into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except _ERRORS as error:
        reason = " ".join(str(error).rpartition("ERROR: ")[2].split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason[-300:]})") from error


def _read_file(path):
    with _reading(path):
        return _whole(path).Execute()


def _read_series(folder):
    files = dicom_files(folder)
    with _reading(folder):
        names = _slices(folder, files)
        places = [_whole(name).GetOrigin() for name in names]
        gaps_mm = [math.dist(*pair) for pair in itertools.pairwise(places)]
        if gaps_mm and not max(gaps_mm) < 1.1 * min(gaps_mm):
            raise DataError(
                f"{folder}: slices {min(gaps_mm):g} to {max(gaps_mm):g} mm apart; expected one step"
            )
        return sitk.ReadImage(names)


def _slices(folder, files):
    """The files of a folder's one DICOM series in ITK's order of the slices."""
    series = {}
    "".join(map(str, files)).encode()  # fails where ITK ends the process
    for parent in sorted({str(file.parent) for file in files}):
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(parent):
            series[uid] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(parent, uid)
    if len(series) != 1:
        found = f"{len(series)} DICOM series in {len(files)} files"
        raise DataError(f"{folder}: {found}; expected one")
    names = [pathlib.Path(name) for name in next(iter(series.values()))]
    if lost := sorted(set(files) - set(names)):
        raise DataError(f"{lost[0]}: no readable slice of the series beside it")
    return names


_LONG = rb"(?!#|[^:]*:=).{500}"  # neither a comment nor a key
_MANY = rb"\W*NDims(?!\W*\d\s)"
_CRASH = {".nrrd": _LONG, ".nhdr": _LONG, ".mha": _MANY, ".mhd": _MANY}  # lines that end ITK


def _header(path):
    """ITK's reader of a file after its header, which must be that of a 3D scan."""
    if crash := _CRASH.get(path.suffix.lower()):
        with open(path, "rb") as file:
            for line in itertools.takewhile(bytes.strip, file):
                if re.match(crash, line):
                    raise DataError(f"{path}: strange line {line[:20]}... in its header")
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
    reader, name = _header(path), path.name.lower()
    count = math.prod(reader.GetSize())
    most = 1032 * path.stat().st_size  # what deflate can pack into the file
    if name.endswith((".nii", ".nii.gz")):
        size = int(reader.GetMetaData("bitpix")) // 8
        found = _nifti_pixels(path, reader, min(count * size, most))
    elif name.endswith(tuple(_CRASH)):
        size = sitk.Image(1, 1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
        found = _text_pixels(path, count * size)
    else:
        size, found = 1, most
    if found < count * size:
        raise DataError(f"{path}: {found} bytes of pixels; its header says {count * size}")
    return reader


def _nifti_pixels(path, reader, size):
    """Bytes of pixels in a NIfTI file, where `size` are needed. Raises on what ITK is silent about.

    That is a gzip file cut short, a spacing of zero, which it takes for 1 mm, and values that
    are not finite, which it takes for zero.
    """
    with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
        header = file.read(348)
        order = "<" if header[:4] == b"\x5c\x01\0\0" else ">"  # sizeof_hdr is 348
        file.seek(max(348, int(np.frombuffer(header, order + "f4", 1, 108)[0])))  # vox_offset
        pixels = file.read(size + 2**20)  # past the end, where gzip checks its sum
    spacing_mm = np.frombuffer(header, order + "f4", 3, 80)
    if not 0 < spacing_mm.min() <= spacing_mm.max() < np.inf:
        raise DataError(f"{path}: spacing {spacing_mm.tolist()} mm; expected above zero")
    if kind := {"16": "f4", "64": "f8"}.get(reader.GetMetaData("datatype")):
        values = np.frombuffer(pixels, order + kind, min(size, len(pixels)) // int(kind[1]))
        _check_finite(path, values)
    return len(pixels)


def _text_pixels(path, size):
    """Bytes of pixels in a NRRD or MetaImage file or the one it names, where `size` are needed."""
    content = path.read_bytes()
    head = re.match(rb"(?s).*?(\n\r?\n|ElementDataFile[^\n]*\n|\Z)", content)[0]
    pixels = content[len(head) :]
    apart = re.search(rb"(?im)^(?:ElementDataFile *=|data ?file:) *([^\r\n]*)", head)
    if apart and (file := path.parent / os.fsdecode(apart[1].strip())).is_file():
        pixels = file.read_bytes()
    if re.search(rb"(?im)^(CompressedData *= *[t1]|encoding: *gz)", head):
        pixels = zlib.decompressobj(47).decompress(pixels, size)  # zlib's format or gzip's
    return len(pixels)
