"""Overlapping tiles of the network's size that cover a scan's plane, and their blending (NumPy).

As in nnU-Net (Isensee et al., 2021): pixels count by a Gaussian around the centre of their tile.
"""

from typing import NamedTuple

import numpy as np

OVERLAP = 0.25  # at least, of a tile's side
SD = 1 / 8  # of the Gaussian, in sides of a tile; nnU-Net's


class Axis(NamedTuple):
    """The tiles along the rows or the columns of a plane."""

    tile: int  # pixels
    size: int  # pixels that all of them cover, around the same centre as one alone
    starts: tuple[int, ...]  # first pixel of each
    whole: bool  # whether the scan is covered

    def weights(self):
        """What the pixels of each tile count [tiles, tile]; those of a pixel add up to one."""
        places = (np.arange(self.tile) - (self.tile - 1) / 2) / (SD * self.tile)
        gaussian = np.exp(-np.square(places) / 2)
        total = np.zeros(self.size)
        for start in self.starts:
            total[start : start + self.tile] += gaussian
        return np.array([gaussian / total[s : s + self.tile] for s in self.starts], np.float32)


def plan(extents, tiles, limit):
    """The Axis of rows and of columns; one tile where it holds the scan.

    Args:
      extents: pixels between the scan's outermost voxel centres along rows' and columns' order.
      tiles: (rows, columns) of the network's grid.
      limit: the most tiles of a slice. Fewer than the scan needs cover its centre.
    """
    counts = [_count(*pair) for pair in zip(extents, tiles, strict=True)]
    needed = list(counts)
    while np.prod(counts) > limit:
        counts[int(np.argmax(counts))] -= 1
    return [
        _axis(extent, tile, count, count == most)
        for extent, tile, count, most in zip(extents, tiles, counts, needed, strict=True)
    ]


def _count(extent, tile):
    """How many tiles along an axis cover `extent` pixels."""
    return 1 + _steps(2 * _margin(extent, tile), tile)


def _margin(extent, tile):
    """Whole pixels by which `extent` exceeds a tile at either end."""
    return 0 if extent < tile - 1e-6 else int(np.floor((extent - tile) / 2)) + 1


def _steps(pixels, tile):
    return -(-pixels // _step(tile))


def _step(tile):
    """The most pixels between two tiles; even, so that any number of them has one centre."""
    return 2 * int((1 - OVERLAP) * tile / 2)


def _axis(extent, tile, count, whole):
    margin = _margin(extent, tile) if whole else (count - 1) * _step(tile) // 2
    starts = np.linspace(0, 2 * margin, count).round().astype(int)
    return Axis(tile, tile + 2 * margin, tuple(starts.tolist()), whole)


def blend(function, slices, rows, columns):
    """Probabilities [Z, H, W, C] of slices [Z, H, W, K] whose tiles are those of two Axes.

    `function` gives those of slices of the network's size.
    """
    if len(rows.starts) == len(columns.starts) == 1:
        return function(slices)
    found = 0
    for top, row_weights in zip(rows.starts, rows.weights(), strict=True):
        for left, column_weights in zip(columns.starts, columns.weights(), strict=True):
            place = slice(None), slice(top, top + rows.tile), slice(left, left + columns.tile)
            part = function(np.ascontiguousarray(slices[place]))
            if np.isscalar(found):
                found = np.zeros((*slices.shape[:3], part.shape[-1]), np.float32)
            found[place] += np.outer(row_weights, column_weights)[..., None] * part
    return found
