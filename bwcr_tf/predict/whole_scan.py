"""Probabilities of a whole scan, by slices of the network's size."""

import dataclasses

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import preprocess, scans
from bwcr_tf.evaluation import inference
from bwcr_tf.predict import tiles

MAX_TILES = 256  # of a slice
_BLOCK = 2**25  # probabilities of as many slices as have so many numbers are blended at a time


def predict(channels, function, settings, frequencies, max_tiles):
    """Probabilities [Z, Y, X, C] float32 of a scan on its own grid; they sum to one.

    A scan that the network's grid holds is predicted as in evaluation, a larger one in tiles.

    Args:
      channels: K sitk.Images on one grid.
      function: images [N, H, W, K] of the network's size -> their probabilities [N, H, W, C].
      frequencies: [C], of the voxels that no tile covers.

    Returns:
      The probabilities, and the share of the scan that no tile covers.
    """
    image = channels[0]
    own = preprocess.Grid.of(image)
    oriented = preprocess.Grid.of(sitk.DICOMOrient(own.blank(), settings.orientation))
    extents = [(n - 1) * mm for n, mm in zip(oriented.size, oriented.spacing_mm, strict=True)]
    extents = [mm / settings.pixel_mm for mm in extents[1::-1]]
    rows, columns = plan = tiles.plan(extents, settings.shape, max_tiles)
    grid = preprocess.network_grid(image, settings, (rows.size, columns.size))
    slices = preprocess.network_image(channels, settings, grid)

    def of_tiles(images):
        return tiles.blend(lambda some: inference.in_batches(function, some), images, *plan)

    if len(rows.starts) == len(columns.starts) == 1 and rows.whole and columns.whole:
        restored = preprocess.restore(of_tiles(slices), grid, own)
        return np.clip(restored, 0, 1, out=restored), 0.0
    found = np.empty((*own.size[::-1], len(frequencies)), np.float32)
    target = turned(found, scans.orientation(image), settings.orientation)
    unseen, count = 0, max(1, _BLOCK // (rows.size * columns.size * len(frequencies)))
    for start in range(0, len(slices), count):
        block = slices[start : start + count]
        pair = [_slab(whole, start, len(block)) for whole in (grid, oriented)]
        restored = preprocess.restore(of_tiles(block), *pair)
        if not (rows.whole and columns.whole):
            outside = _outside(*pair)
            restored[outside] = frequencies
            unseen += np.count_nonzero(outside)
        np.clip(restored, 0, 1, out=target[start : start + count])
    return found, unseen / found[..., 0].size


def turned(array, source, orientation):
    """A view of an array [Z, Y, X, ...] of axes x, y, z of the code `source` in another code."""
    axes = [next(i for i in range(3) if source[i] in pair) for pair in map(_pair, orientation)]
    flips = [slice(None, None, -1 if letter not in source else 1) for letter in orientation]
    order = [2 - axis for axis in axes[::-1]]
    return np.transpose(array, (*order, *range(3, array.ndim)))[tuple(flips[::-1])]


def _pair(letter):
    return next(pair for pair in ("LR", "PA", "IS") if letter in pair)


def _slab(grid, start, count):
    """The Grid of `count` slices from `start` on."""
    axis = np.reshape(grid.direction, (3, 3))[:, 2]
    origin = np.array(grid.origin) + start * grid.spacing_mm[2] * axis
    size = (*grid.size[:2], count)
    return dataclasses.replace(grid, size=size, origin=tuple(origin.tolist()))


def _outside(grid, target):
    """Which voxels [Z, Y, X] of the Grid `target` another one does not cover."""
    return preprocess.resample(grid.blank() + 1, target, sitk.sitkNearestNeighbor) == 0
