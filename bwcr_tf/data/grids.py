"""Where the pixels of a volume lie."""

import dataclasses

import numpy as np
import SimpleITK as sitk


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
