"""Where the pixels of a volume lie: the grids of scans and of the network, and resampling."""

import dataclasses

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import tiles


@dataclasses.dataclass(frozen=True)
class Grid:
    """Size (x, y, z), spacing and origin in mm, and direction of a volume."""

    size: tuple
    spacing_mm: tuple
    origin: tuple
    direction: tuple

    @classmethod
    def of(cls, image):
        """The Grid of a sitk.Image."""
        return cls(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())

    def place(self, image):
        """The image, after it was given this spacing, origin and direction."""
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    def slab(self, start, count):
        """The Grid of `count` slices from `start` on."""
        axis = np.reshape(self.direction, (3, 3))[:, 2]
        origin = np.array(self.origin) + start * self.spacing_mm[2] * axis
        size = (*self.size[:2], count)
        return dataclasses.replace(self, size=size, origin=tuple(origin.tolist()))

    def blank(self):
        """An empty sitk.Image on this grid."""
        return self.place(sitk.Image([int(n) for n in self.size], sitk.sitkUInt8))


def network_grid(image, settings, shape=None):
    """The Grid that `image` is resampled to: same centre in plane, slices untouched.

    `shape` (rows, columns) is that of another grid than the network's, around the same centre.
    """
    oriented = sitk.DICOMOrient(image, settings.orientation)
    width, height, depth = oriented.GetSize()
    rows, columns = shape or settings.shape
    spacing = (settings.pixel_mm, settings.pixel_mm, oriented.GetSpacing()[2])
    center = oriented.TransformContinuousIndexToPhysicalPoint(
        ((width - 1) / 2, (height - 1) / 2, 0)
    )
    axes = np.reshape(oriented.GetDirection(), (3, 3))
    half_mm = [(side - 1) / 2 * settings.pixel_mm for side in (columns, rows)]
    origin = np.array(center) - axes @ (*half_mm, 0)
    return Grid((columns, rows, depth), spacing, tuple(origin), oriented.GetDirection())


def plane_grid(image, settings, limit=tiles.LIMIT):
    """The Grid of tiles of the network's size over `image`, and whether they cover all of it."""
    oriented = sitk.DICOMOrient(image, settings.orientation)
    sizes, spacings_mm = (
        np.array(found[1::-1]) for found in (oriented.GetSize(), oriented.GetSpacing())
    )
    extents = (sizes - 1) * spacings_mm / settings.pixel_mm
    shape, whole = tiles.plan(extents, settings.shape, limit)
    return network_grid(image, settings, shape), whole


def cut_across(grid, settings):
    """A Grid's spacings in mm in the model's plane, if one is over twice the other, or None.

    The slices then seem to be cut in another plane than the model's.
    """
    single = dataclasses.replace(grid, size=(1, 1, 1)).blank()
    x, y, _ = sitk.DICOMOrient(single, settings.orientation).GetSpacing()
    return (x, y) if max(x, y) > 2 * min(x, y) else None


def resample(image, grid, interpolator=sitk.sitkLinear):
    """Array [Z, H, W] (or with a class axis) of `image` on `grid`, zero outside of it."""
    image = sitk.Resample(image, grid.blank(), sitk.Transform(), interpolator, 0.0)
    return sitk.GetArrayFromImage(image)


def on_grid(images, grid):
    """Array [Z, H, W, K] of K sitk.Images on `grid`."""
    return np.stack([resample(image, grid) for image in images], axis=-1)


def restore(probabilities, grid, original_grid):
    """Probabilities [Z, H, W, C] on `grid`, linearly resampled to the original grid.

    What the crop cut off is background.
    """
    restored = np.empty((*original_grid.size[::-1], probabilities.shape[-1]), np.float32)
    for c in range(1, probabilities.shape[-1]):  # one at a time, for memory
        image = grid.place(sitk.GetImageFromArray(np.ascontiguousarray(probabilities[..., c])))
        grids = image, original_grid.blank()
        found = sitk.Resample(*grids, sitk.Transform(), sitk.sitkLinear, 0.0)
        restored[..., c] = sitk.GetArrayViewFromImage(found)
        del found  # before the next is made; a view does not keep it
    for plane in restored:
        plane[..., 0] = 1 - plane[..., 1:].sum(axis=-1)
    return restored


def outside(grid, target):
    """Which voxels [Z, Y, X] of the Grid `target` lie beyond another one."""
    return resample(grid.blank() + 1, target, sitk.sitkNearestNeighbor) == 0
