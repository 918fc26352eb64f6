"""Probabilities of a whole scan, by slices of the network's size."""

from functools import partial
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import grids, scans, tiles
from bwcr_tf.evaluation import inference, volumes
from bwcr_tf.system import errors

_BLOCK = 2**22  # probabilities that are blended at a time, in whole slices


class Layout(NamedTuple):
    """What is predicted of a scan: the grids that its tiles and the scan itself lie on."""

    tile: tuple[int, int]  # rows, columns
    whole: bool  # whether the tiles cover the scan
    grid: grids.Grid  # of all tiles
    own: grids.Grid  # of the scan
    oriented: grids.Grid  # of the scan in the model's orientation
    orientation: str  # code of the model's


def plan(own, settings, max_tiles=tiles.LIMIT):
    """The Layout of a scan on the Grid `own`, with at most `max_tiles` tiles of a slice."""
    oriented = grids.Grid.of(sitk.DICOMOrient(own.blank(), settings.orientation))
    grid, whole = grids.plane_grid(own.blank(), settings, max_tiles)
    return Layout(settings.shape, whole, grid, own, oriented, settings.orientation)


def predict(slices, layout, function, frequencies):
    """Probabilities [Z, Y, X, C] float32 of a scan on its own grid, as volumes count them.

    A scan that the network's grid holds is predicted as in evaluation, a larger one in tiles.

    Args:
      slices: [Z, H, W, K] on the grid of a Layout.
      function: images [N, H, W, K] of the network's size -> their probabilities [N, H, W, C].
      frequencies: [C], of the voxels that no tile covers; the largest decides what these are.

    Returns:
      The probabilities, with volumes.unseen where no tile covers the scan, and which voxels
      [Z, Y, X] these are; None if tiles cover it.
    """
    tile, whole, grid, own, oriented, orientation = layout
    network = partial(inference.in_batches, function)
    found = np.empty((*own.size[::-1], len(frequencies)), np.float32)
    target = scans.turned(found, scans.code(own.direction), orientation)
    pixels = max(grid.size[0] * grid.size[1], oriented.size[0] * oriented.size[1])
    unseen, count = None, max(1, _BLOCK // (pixels * len(frequencies)))
    if not whole:
        unseen = np.zeros(found.shape[:3], bool)
        target_unseen = scans.turned(unseen, scans.code(own.direction), orientation)
    for start in range(0, len(slices), count):
        block = tiles.blend(network, slices[start : start + count], tile)
        pair = [some.slab(start, len(block)) for some in (grid, oriented)]
        restored = grids.restore(block, *pair)
        if not whole:
            outside = grids.outside(*pair)
            restored[outside] = volumes.unseen(frequencies)
            target_unseen[start : start + count] = outside
        np.clip(restored, 0, 1, out=target[start : start + count])
    return found, unseen


def fill(probabilities, unseen, frequencies):
    """Puts `frequencies` [C] where `predict` says that nothing was seen."""
    if unseen is not None:
        probabilities[unseen] = frequencies


def warn_of_unseen(unseen, path, model):
    """Warns of the share of the scan `path` that no tile of a segmentation.Model covers."""
    if unseen is None or not unseen.any():
        return
    tiled, frequencies = f"{model.max_tiles} tiles a slice", model.class_frequencies
    seen = tiled if model.max_tiles > 1 else "the model's grid"
    given = "how frequent the classes are in training"
    if len(set(frequencies)) == 1:  # of a model of an earlier version
        given = f"1 / {len(frequencies)} each"
    errors.warn(
        f"{path}: {unseen.mean():.1%} of the scan lies beyond {seen}; "
        f"there, probabilities are {given}, and volumes count the most frequent class"
    )
