"""Which pixels of a scan are measurements: not padding, a constant border or a hot pixel."""

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from bwcr_tf.data.formats import Mismatch

_PADDING = "padding"  # in a sitk.Image's metadata: the value of pixels that are not measured
BORDER = 0.02  # the share of all pixels above which a constant border counts as one
RANGES = 5  # how many times the range of 99.8 % of the pixels the others may span


def fill(image, declared):
    """A float32 sitk.Image without NaN: those at the border get one value below all others.

    `declared`: NaN is padding of which a header tells, and may be anywhere.

    Raises:
      formats.Mismatch: NaN elsewhere, infinite pixels, or no two measured values.
    """
    pixels = sitk.GetArrayViewFromImage(image)
    missing = np.isnan(pixels)
    strange = np.isinf(pixels)
    if not declared:
        strange |= missing & ~_margin(missing)
    if wrong := np.count_nonzero(strange):
        raise Mismatch(f"{wrong} pixels are NaN or infinite; expected NaN at the border alone")
    values = pixels[~missing] if missing.any() else pixels
    low, high = (values.min(), values.max()) if values.size else (0, 0)
    if low == high:
        raise Mismatch(f"constant image, every pixel is {low:g}")
    if not missing.any():
        return image
    below = min(np.nextafter(low, np.float32(-np.inf)), np.float32(low - 1e-6 * (high - low)))
    filled = sitk.GetImageFromArray(np.where(missing, below, pixels))
    filled.CopyInformation(image)
    filled.SetMetaData(_PADDING, repr(float(below)))
    return filled


def with_nan(image):
    """The sitk.Image that `fill` was given: padding is NaN again."""
    if padding(image) is None:
        return image
    pixels = sitk.GetArrayViewFromImage(image)
    found = sitk.GetImageFromArray(
        np.where(pixels == np.float32(padding(image)), np.float32("nan"), pixels)
    )
    found.CopyInformation(image)
    return found


def _margin(missing):
    """Which `missing` [Z, Y, X] are in components at the in-plane border, of a row or more."""
    if not missing.any():
        return missing
    pieces, count = ndimage.label(missing)
    border = np.ones(missing.shape[1:], bool)
    border[1:-1, 1:-1] = False
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    at_border = np.bincount(pieces[:, border].ravel(), minlength=count + 1) > 0
    margin = at_border & (sizes >= min(missing.shape[1:]))
    margin[0] = False
    return margin[pieces]


def padding(image):
    """The value of the pixels of `read_image`'s image that are padding, or None."""
    return float(image.GetMetaData(_PADDING)) if image.HasMetaDataKey(_PADDING) else None


def mask(image, padding_value=None):
    """Which pixels [Z, Y, X] of a sitk.Image are measured: not padding, nor a constant border.

    That is whole slices, rows and columns of one value each, from the border inward, if they are
    more than 2 % of the image: fewer do not move its percentiles much, and scanners, too, set
    a row or a part of the air to zero.
    """
    pixels = sitk.GetArrayViewFromImage(image)
    measured = np.ones(pixels.shape, bool)
    if padding_value is not None:
        measured = pixels != np.float32(padding_value)
    inside = np.zeros_like(measured)
    inner = _inside_border(pixels, measured)
    inside[inner] = measured[inner]
    values = pixels[inside]
    border = pixels.size - pixels[inner].size > BORDER * pixels.size
    differ = values.size and values.min() < values.max()
    return inside if border and differ else measured


def _inside_border(pixels, measured):
    """Slices of the box that is left of pixels [Z, Y, X] once constant outer layers are off."""
    box = [[0, count] for count in pixels.shape]
    shrunk = True
    while shrunk:
        shrunk = False
        for axis in range(3):
            for end, step in ((0, 1), (1, -1)):
                while box[axis][1] - box[axis][0] > 1:
                    layer = [slice(*ends) for ends in box]
                    layer[axis] = box[axis][0] if end == 0 else box[axis][1] - 1
                    values = pixels[tuple(layer)][measured[tuple(layer)]]
                    if values.size and values.min() != values.max():
                        break
                    box[axis][end] += step
                    shrunk = True
    return tuple(slice(*ends) for ends in box)


def without_outliers(image, measured):
    """A sitk.Image whose hot and cold pixels have the median of their 3 x 3 neighbourhood instead.

    That is pixels beyond five times the range of the central 99.8 % of the measured ones. Where
    the median, too, is beyond, it is clipped to the others' extremes: the spot is no single pixel.
    """
    pixels = sitk.GetArrayViewFromImage(image)
    values = pixels[measured]
    low = np.percentile(values, 0.1, method="higher")
    high = np.percentile(values, 99.9, method="lower")
    reach = (RANGES - 1) * (float(high) - float(low))
    outside = measured & ((pixels < low - reach) | (pixels > high + reach))
    if not reach or not outside.any():
        return image
    kept = pixels[measured & ~outside]
    median = ndimage.median_filter(pixels, size=(1, 3, 3), mode="nearest")
    found = sitk.GetImageFromArray(
        np.where(outside, median.clip(kept.min(), kept.max()), pixels)
    )
    found.CopyInformation(image)
    return found
