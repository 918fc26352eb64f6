"""Scans that are worse than those of training: --shift=NAME:SEVERITY of evaluate.py (NumPy, SciPy).

As Hendrycks and Dietterich (ICLR 2019) and, for MRI, Boone et al. (ROOD-MRI, NeuroImage 2023), each
shift has five severities. They come before preprocessing, as a scanner would make them: N4 and the
percentiles see what is shifted. What a shift draws depends on its name, that of the scan and the
number of the channel alone, so that severities and methods are compared on the same draws.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy import ndimage

from bwcr_tf.data import measured, scans
from bwcr_tf.data.normalization import percentiles
from bwcr_tf.system.errors import DataError

NOT_CT = "bias", "ghosting"  # its intensities are absolute, and it has no k-space
CYCLES = 6  # of the motion of `ghosting` while a slice is acquired


class Shift(NamedTuple):
    """A row of SHIFTS."""

    function: Callable  # (image [Z, H, W], value, pixels, rng) -> image
    values: tuple  # of severities 1 to 5
    unit: str


def noise(image, value, pixels, rng):
    """Gaussian noise of standard deviation `value`."""
    return image + value * rng.standard_normal(image.shape, np.float32)


def bias(image, value, pixels, rng):
    """Times exp of a random polynomial of degree 3 in space whose largest size is `value`.

    The bias field of Van Leemput et al. (IEEE TMI 1999), as in TorchIO; over the lowest intensity.
    """
    z, y, x = np.meshgrid(
        *(np.linspace(-1, 1, n) for n in image.shape), indexing="ij", sparse=True
    )
    powers = [p for p in np.ndindex(4, 4, 4) if 1 <= sum(p) <= 3]
    field = sum(rng.uniform(-1, 1) * z**i * y**j * x**k for i, j, k in powers)
    lowest = image.min()
    return lowest + (image - lowest) * np.exp(value * field / np.abs(field).max())


def blur(image, value, pixels, rng):
    """Gaussian blur in plane; standard deviation in pixels of the model's grid."""
    return ndimage.gaussian_filter(
        image, (0, *(value / pixel for pixel in pixels)), mode="nearest"
    )


def contrast(image, value, pixels, rng):
    """Intensities to the power of `value` or of its inverse; those below 0 keep their sign."""
    power = value if rng.random() < 0.5 else 1 / value
    return np.sign(image) * np.abs(image) ** power


def ghosting(image, value, pixels, rng):
    """The magnitude of `moved` by a breath-like motion along the rows' axis.

    `value` is its amplitude in pixels of the model's grid (as in ROOD-MRI and TorchIO's motion).
    """
    lines = np.arange(image.shape[1])
    phase = rng.uniform(0, 2 * np.pi)
    motion = value / pixels[0] * np.sin(2 * np.pi * CYCLES * lines / len(lines) + phase)
    lowest = image.min()
    return lowest + np.abs(moved(image - lowest, motion))


def moved(image, motion):
    """Complex image [Z, H, W] whose k-space lines, phase-encoded along H, saw it displaced.

    Args:
      motion: [H] pixels for each line, from the lowest frequency to the highest. A displacement
        changes phases only (the Fourier shift theorem).
    """
    frequency = np.fft.fftfreq(image.shape[1])
    turns = frequency * np.fft.ifftshift(motion)
    spectrum = np.fft.fft(image, axis=1) * np.exp(-2j * np.pi * turns)[:, None]
    return np.fft.ifft(spectrum, axis=1)


def resolution(image, value, pixels, rng):
    """Resampled in plane to pixels of `value` times the model's, anti-aliased, and back."""
    height, width = image.shape[1:]
    rows, columns = (
        max(1, round(n * pixel / value))
        for n, pixel in zip((height, width), pixels, strict=True)
    )
    kind = Image.Resampling.BILINEAR
    small = (Image.fromarray(plane).resize((columns, rows), kind) for plane in image)
    return np.stack([np.asarray(plane.resize((width, height), kind)) for plane in small])


_RANGE = "of the range between the intensities that become 0 and 1"
# fmt: off
SHIFTS = {
    "noise": Shift(noise, (0.05, 0.1, 0.15, 0.2, 0.3), f"standard deviation, {_RANGE}"),
    "bias": Shift(bias, (0.2, 0.4, 0.6, 0.8, 1.0), "largest logarithm of the field"),
    "blur": Shift(blur, (0.5, 1.0, 1.5, 2.0, 3.0), "standard deviation, pixels of the model"),
    "contrast": Shift(contrast, (1.25, 1.5, 2.0, 2.5, 3.0), "power, or its inverse"),
    "ghosting": Shift(ghosting, (0.5, 1.0, 1.5, 2.0, 3.0), "amplitude, pixels of the model"),
    "resolution": Shift(resolution, (1.5, 2.0, 3.0, 4.0, 5.0), "pixels of the model"),
}
# fmt: on


def parse(text, windows=(None,)):
    """(name, severity) of a text such as `noise:3`, for scans of these windows of Settings.

    Raises:
      DataError: it is no name of SHIFTS and a severity from 1 to 5, or does not apply to CT.
    """
    name, _, severity = text.partition(":")
    if name not in SHIFTS or severity not in ("1", "2", "3", "4", "5"):
        raise DataError(
            f"shift={text}: expected NAME:SEVERITY of {', '.join(SHIFTS)} and 1 to 5"
        )
    if name in NOT_CT and any(windows):
        raise DataError(f"shift={text}: not of CT; expected one other than {', '.join(NOT_CT)}")
    return name, int(severity)


def apply(image, name, severity, settings, seed, window=None):
    """A shifted sitk.Image on the same grid; padding and constant borders stay as they are.

    Args:
      image: of `scans.read_image`.
      seed: text, the name of the scan and the number of the channel.
      window: the (low, high) that become 0 and 1, where these are not percentiles.
    """
    turned = sitk.DICOMOrient(image, settings.orientation)
    array = sitk.GetArrayFromImage(turned)
    mask = measured.mask(turned, measured.padding(image))
    low, high = window or percentiles(array[mask])
    shift = SHIFTS[name]
    pixels = [mm / settings.pixel_mm for mm in turned.GetSpacing()[1::-1]]
    rng = np.random.default_rng(zlib.crc32(f"{name} {seed}".encode()))
    scaled = ((array - low) / (high - low)).astype(np.float32)
    shifted = low + (high - low) * shift.function(
        scaled, shift.values[severity - 1], pixels, rng
    )
    array = np.where(mask, shifted, array).astype(np.float32)
    found = sitk.GetImageFromArray(
        scans.turned(array, settings.orientation, scans.orientation(image))
    )
    found.CopyInformation(image)
    for key in image.GetMetaDataKeys():
        found.SetMetaData(key, image.GetMetaData(key))
    return found
