"""DICOM: one volume from a series or a file of frames.

ITK reads the pixels; where they lie is read and checked in `slice_planes`.
"""

import math

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import formats
from bwcr_tf.data.formats import Mismatch
from bwcr_tf.data.slice_planes import arrange, numbers, planes_of, text


def dicom_files(folder, deep=True):
    """The DICOM files in a folder (and, if `deep`, below it) in order, by ending or by content."""

    def is_dicom(file):
        if formats.is_hidden(file, folder) or file.name == "DICOMDIR" or not file.is_file():
            return False
        if formats.is_read(file):  # of another format, even where it cannot be opened
            return False
        if file.suffix.lower() == ".dcm":
            return True
        with open(file, "rb") as content:
            return content.read(132)[128:] == b"DICM"

    return list(filter(is_dicom, sorted(folder.rglob("*") if deep else folder.iterdir())))


def volume(readers):
    """A float32 sitk.Image, in which declared padding is NaN, of a dict of file to ITK's reader.

    Slices come in the order of their positions along the normal, and so do frames.

    Raises:
      formats.Mismatch: not one series, or not one volume of parallel slices in even steps
        along their normal, all of one size and spacing.
    """
    series = {text(reader, "0020|000e") for reader in readers.values()}  # Series Instance UID
    if len(series) != 1:
        raise Mismatch(f"{len(series)} DICOM series in {len(readers)} files; expected one")
    parts = {file: planes_of(file, reader) for file, reader in readers.items()}
    planes = [plane for part in parts.values() for plane in part]
    if len(planes) > len(readers) > 1:
        raise Mismatch(f"{len(planes)} frames in {len(readers)} files; expected one such file")
    sizes = sorted({reader.GetSize()[:2] for reader in readers.values()})
    if len(sizes) > 1:
        raise Mismatch(
            f"a slice of {sizes[0]} pixels does not match the required size {sizes[1]}"
        )
    order, spacing_mm = arrange(planes)
    pixels = np.concatenate([_pixels(readers[file], parts[file]) for file in readers])
    image = sitk.GetImageFromArray(pixels[order])
    image.SetSpacing(spacing_mm)
    image.SetOrigin(planes[order[0]].position.tolist())
    image.SetDirection(planes[0].axes.ravel().tolist())
    return image


def _pixels(reader, planes):
    """[frames, Y, X] float32 of a file: as ITK rescales them, each frame by its own numbers, and
    NaN where the header declares padding (PixelPaddingValue, PixelPaddingRangeLimit)."""
    pixels = sitk.GetArrayFromImage(reader.Execute())
    slope, intercept = planes[0].rescale  # which ITK has used
    padding = [_stored(reader, tag) for tag in ("0028|0120", "0028|0121") if text(reader, tag)]
    found = np.empty(pixels.shape, np.float32)
    for frame, plane, values in zip(found, planes, pixels, strict=True):
        if plane.rescale != planes[0].rescale:
            values = (values - intercept) / slope * plane.rescale[0] + plane.rescale[1]
        frame[:] = values
        if padding:
            ends = np.array([min(padding) - 0.5, max(padding) + 0.5])
            low, high = sorted(ends * plane.rescale[0] + plane.rescale[1])
            frame[(values > low) & (values < high)] = np.nan
    return found


def _stored(reader, tag):
    """The number of a tag that holds a stored pixel value, signed as the pixels are."""
    value = (numbers(text(reader, tag)) or [math.nan])[0]
    signed = text(reader, "0028|0103").strip() == "1"  # Pixel Representation
    span = 2.0 ** (numbers(text(reader, "0028|0100")) or [16])[0]  # Bits Allocated
    return value - span if signed and value >= span / 2 else value
