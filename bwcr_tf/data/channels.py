"""The channels of a scan: files CASE_0000, CASE_0001, ... (nnU-Net), and the windows of CT."""

import os
import pathlib
import re

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import itk_files, measured, scans
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError
from bwcr_tf.system.progress import Progress

_NAME = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)
_WINDOW = (0.5, 99.5)  # percentiles, as nnU-Net has them
_VALUES = 10_000  # of each volume
_LITTLE = 0.5  # warns where another channel covers less than this share of the first


def split_name(name):
    """(CASE, 1) of the name CASE_0001 without its ending; None if it is no name of a channel."""
    found = _NAME.fullmatch(name)
    return found and (found[1], int(found[2]))


def of_case(case, found, ending, names):
    """The paths of a case's channels, in order.

    Args:
      case: path without number and ending.
      found: dict of number to path.
      names: what the channels are called.

    Raises:
      DataError: one is missing, or there is another.
    """
    expected = [f"{case}_{number:04}{ending}" for number in range(len(names))]
    told = ", ".join(f"{number:04} ({name})" for number, name in enumerate(names))
    for number, path in found.items():
        if number >= len(names):
            raise DataError(f"{path}: channel {number:04} of {case.name}; expected {told}")
    for path in expected:
        if not os.path.exists(path):
            there = ", ".join(f"{number:04}" for number in found) or "none"
            raise DataError(
                f"{path}: the image of {case.name} is missing; found {there}, expected {told}"
            )
    return list(map(pathlib.Path, expected))


def read(paths):
    """The channels of a scan, a list of float32 sitk.Images on the grid of the first.

    A channel on another grid is resampled to that by position (linearly); what it does not
    cover is padding in it. Warns where that is more than half of the first channel.

    Raises:
      DataError: as `scans.read_image`, or a channel does not overlap the first.
    """
    image = scans.read_image(paths[0])
    return [image, *(_placed(path, image, paths[0]) for path in paths[1:])]


def _placed(path, image, first):
    channel = scans.read_image(path)
    difference = scans.geometry_difference(channel, image)
    if not difference:
        return channel
    channel = sitk.Resample(
        measured.with_nan(channel), image, sitk.Transform(), sitk.sitkLinear, float("nan")
    )
    covered = np.isfinite(sitk.GetArrayViewFromImage(channel)).mean()
    if not covered:
        raise DataError(f"{path}: does not overlap the first channel, {first}; {difference}")
    if covered < _LITTLE:
        errors.warn(f"{path}: covers {covered:.0%} of the first channel, {first}")
    with itk_files.reading(path):
        return measured.fill(channel, declared=True)


def windows(names, volumes, num_classes):
    """For each channel None, or, of one called CT, the (low, high) that become 0 and 1.

    As in nnU-Net, these are percentiles of the intensities in the labelled foreground of the
    training volumes, each of which counts alike. (nnU-Net then subtracts the mean and divides by
    the standard deviation, which scaling to [0, 1] undoes.)

    Args:
      volumes: training subjects.Volumes; read only where a channel is CT.
    """
    found = {k: [] for k, name in enumerate(names) if name.casefold() == "ct"}
    if found:
        progress = Progress("measuring CT", len(volumes))
        for volume in volumes:
            for k, values in _foreground(volume, found, num_classes).items():
                found[k].append(values)
            progress.advance()
    return tuple(_window(found[k], k) if k in found else None for k in range(len(names)))


def _foreground(volume, numbers, num_classes):
    """{number: _VALUES quantiles of a channel's labelled foreground}; empty if there is none."""
    images = read(volume.images)
    label = scans.read_label(volume.label, images[0], num_classes, ignore=volume.ignore)
    foreground = np.isin(sitk.GetArrayViewFromImage(label), range(1, num_classes))
    values = {}
    for k in numbers:
        pixels = sitk.GetArrayViewFromImage(measured.with_nan(images[k]))[foreground]
        pixels = np.sort(pixels[~np.isnan(pixels)])
        if pixels.size:
            rank = np.linspace(0, pixels.size - 1, _VALUES).round().astype(int)
            values[k] = pixels[rank]
    return values


def _window(values, number):
    low, high = np.percentile(np.concatenate(values), _WINDOW) if values else (0, 0)
    if not low < high:
        found = (
            f"the training foreground is all {low:g}" if values else "no training foreground"
        )
        raise DataError(f"channel {number:04} (CT): {found}; expected several intensities")
    return float(low), float(high)
