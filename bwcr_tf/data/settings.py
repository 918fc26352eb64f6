"""The settings of preprocessing, and the size in them as text."""

import dataclasses

import numpy as np

from bwcr_tf import boundary
from bwcr_tf.system.errors import DataError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that preprocessing depends on, besides the files."""

    num_classes: int
    size: int | tuple[int, int] = boundary.PAPER_SIZE  # rows, columns; one number is a square
    pixel_mm: float = 1.33
    orientation: str = "LPS"  # of the array's axes x, y, z; z is the slice axis
    n4_shrink: int = 4  # in plane, while estimating the bias field; 0 leaves N4 out
    windows: tuple = (None,)  # of each channel: what becomes 0 and 1; None: its percentiles

    def __post_init__(self):  # one form for each grid: for a square that of earlier versions
        rows, columns = self.shape
        object.__setattr__(self, "size", rows if rows == columns else (rows, columns))
        windows = tuple(window and tuple(window) for window in self.windows)  # JSON has lists
        object.__setattr__(self, "windows", windows)

    @property
    def shape(self):
        """(rows, columns) of the grid."""
        return tuple(np.broadcast_to(self.size, 2).tolist())


def parse_size(text):
    """The `size` of Settings in a text such as `192` or `160,224`.

    Raises:
      DataError: not one or two multiples of 16.
    """
    sides = [int(side) if side.isdecimal() else 0 for side in text.split(",")]
    if len(sides) > 2 or not all(side > 0 and side % 16 == 0 for side in sides):
        raise DataError(
            f"size={text}: expected a multiple of 16, for four poolings, or two: rows,columns"
        )
    return tuple(sides) if len(sides) == 2 else sides[0]
