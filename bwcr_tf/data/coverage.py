"""How much of the labels lies beyond the network's grid, which holds the centre of a scan."""

import numpy as np

from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

LIMIT = 0.05  # the share of a run's labels, test apart, that may lie beyond the grid


def count(case, num_classes):
    """Foreground voxels [2] of a preprocess.Case: beyond the network's grid in plane, and in all.

    Of several annotators, those of all.
    """
    masks = [(m > 0) & (m < num_classes) for m in case.original_label_maps]  # without ignored
    voxels = np.concatenate([np.argwhere(mask)[:, ::-1] for mask in masks])
    to_mm, from_mm = (
        np.reshape(grid.direction, (3, 3)) * grid.spacing_mm
        for grid in (case.original_grid, case.grid)
    )
    offset = np.subtract(case.original_grid.origin, case.grid.origin)
    places = np.linalg.solve(from_mm, to_mm @ voxels.T + offset[:, None])[:2]  # pixels, x and y
    size = np.array(case.grid.size[:2])[:, None]
    outside = (places < -0.5) | (places > size - 0.5)
    return np.array([np.count_nonzero(outside.any(axis=0)), len(voxels)])


def check(cases, settings, refuse):
    """Warns of subjects whose labels reach beyond the network's grid, and how much of them.

    Raises:
      DataError: with `refuse`, that is over 5 % of the labels of all cases.
    """
    counts = {}
    for case in cases:
        found = count(case, settings.num_classes)
        counts[case.subject] = counts.get(case.subject, 0) + found
    shares = {name: cut / whole for name, (cut, whole) in counts.items() if cut}
    if not shares:
        return
    worst = sorted(shares, key=shares.get, reverse=True)
    named = ", ".join(f"{name} {_percent(shares[name])}" for name in worst)
    cut, whole = sum(counts.values())
    rows, columns = settings.shape
    text = (
        f"{_percent(cut / whole)} of the labels lie beyond the grid of {rows} x {columns} pixels "
        f"of {settings.pixel_mm:g} mm ({named})"
    )
    if refuse and cut > LIMIT * whole:
        raise DataError(f"{text}; expected at most 5 %: a larger --size or --pixel_mm")
    errors.warn(text)


def _percent(share):
    return f"{100 * share:.2g} %"
