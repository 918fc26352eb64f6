"""Overlapping tiles of the network's size that cover a scan's plane, and their blending (NumPy).

As in nnU-Net (Isensee et al., 2021), pixels count by a Gaussian around the centre of their tile;
but the tile in the centre of the scan counts alone, for networks are trained on centres. Where the
tiles are follows from the sizes of the plane and of a tile.
"""

import numpy as np

OVERLAP = 0.25  # at least, of a tile's side
SD = 1 / 8  # of the Gaussian, in sides of a tile; nnU-Net's
LIMIT = 256  # tiles of a slice


def plan(extents, tile, limit=LIMIT):
    """The plane (rows, columns) that tiles cover, and whether they cover the scan.

    It has the scan's centre; one tile is enough where it holds the scan.

    Args:
      extents: pixels between the scan's outermost voxel centres along rows' and columns' order.
      tile: (rows, columns) of the network's grid.
      limit: the most tiles of a slice. Fewer than the scan needs cover its centre.
    """
    needed = [
        side + 2 * _margin(extent, side) for extent, side in zip(extents, tile, strict=True)
    ]
    counts = most = [len(starts(*pair)) for pair in zip(needed, tile, strict=True)]
    while np.prod(counts) > limit:
        longest = int(np.argmax(counts))
        counts = [count - (i == longest) for i, count in enumerate(counts)]
    return tuple(
        size if count == enough else side + (count - 1) * _step(side)
        for size, side, count, enough in zip(needed, tile, counts, most, strict=True)
    ), counts == most


def _margin(extent, side):
    """Whole pixels by which `extent` exceeds a tile at either end."""
    return 0 if extent < side - 1e-6 else int(np.floor((extent - side) / 2)) + 1


def _step(side):
    """The most pixels between two tiles; even, so that any number of them has one centre."""
    return 2 * int((1 - OVERLAP) * side / 2)


def starts(size, side):
    """The first pixel of each of the tiles along an axis of `size` pixels."""
    count = 1 - (side - size) // _step(side)  # rounded up
    return np.linspace(0, size - side, count).round().astype(int).tolist()


def weights(size, side):
    """Blending weights [tiles, side] of each tile along an axis; at each pixel they sum to 1."""
    places = (np.arange(side) - (side - 1) / 2) / (SD * side)
    gaussian, first = np.exp(-np.square(places) / 2), starts(size, side)
    total = np.zeros(size)
    for start in first:
        total[start : start + side] += gaussian
    return np.array([gaussian / total[s : s + side] for s in first], np.float32)


def blend(function, slices, tile):
    """Probabilities [Z, H, W, C] of slices [Z, H, W, K] of a plane of `plan`.

    In the centre they are those of one tile, as in training and evaluation; around it, those of
    all tiles. `function` gives those of slices of the size of a tile, (rows, columns).
    """
    sides = list(zip(slices.shape[1:3], tile, strict=True))
    centre = _place(*((size - side) // 2 for size, side in sides), tile)
    middle = function(np.ascontiguousarray(slices[centre]))
    if slices.shape[1:3] == tuple(tile):
        return middle
    found = np.zeros((*slices.shape[:3], middle.shape[-1]), np.float32)
    rows, columns = (list(zip(starts(*pair), weights(*pair), strict=True)) for pair in sides)
    for top, row_weights in rows:
        for left, column_weights in columns:
            place = _place(top, left, tile)
            part = middle if place == centre else function(np.ascontiguousarray(slices[place]))
            found[place] += np.outer(row_weights, column_weights)[..., None] * part
    found[centre] = middle
    return found


def _place(top, left, tile):
    """The index of a tile in slices."""
    return slice(None), slice(top, top + tile[0]), slice(left, left + tile[1])
