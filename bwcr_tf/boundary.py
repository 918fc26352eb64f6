"""Distance of each pixel to the nearest label boundary: r of Eq. (3)."""

import numpy as np
from scipy import ndimage

# Pixels across the paper's grid (Sec. 4), for which lengths in pixels are given
PAPER_SIZE = 192


def grid_scale(shape):
    """How many pixels of a grid (H, W) one of the paper's grid is: the longer side over 192.

    So a grid has the lengths of the smallest square that holds it.
    """
    return max(shape) / PAPER_SIZE


def distance(label_map, num_classes):
    """r [H, W] float32, in pixels, of a label map [H, W]; infinite if it has no boundary.

    For a foreground class c, r_c is its Euclidean distance transform minus one, inside the class
    and outside it, so that it is 0 on both pixels that touch the boundary; r is the minimum over
    the classes present. A class that fills the whole map has no boundary and is left out.

    Ignored pixels, of the value `num_classes`, are on neither side of a boundary: r of the others
    reaches across them, and their own counts nowhere.
    """
    label_map = np.asarray(label_map)
    nearest = np.full(np.shape(label_map), np.inf, np.float32)
    for c in range(1, num_classes):
        inside = label_map == c
        outside = ~inside & (label_map != num_classes)
        if inside.any() and outside.any():
            edt = ndimage.distance_transform_edt(~outside)
            edt += ndimage.distance_transform_edt(~inside)
            nearest = np.minimum(nearest, (edt - 1).astype(np.float32))
    return nearest
