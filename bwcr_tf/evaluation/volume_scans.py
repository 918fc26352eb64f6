"""Labelled scans with their probabilities, as bwcr_tf.predict has them (NumPy)."""

from typing import NamedTuple

import numpy as np

from bwcr_tf.data import grids, preprocess, tiles
from bwcr_tf.evaluation import calibration, volumes


class Scan(NamedTuple):
    """A labelled scan; its probabilities are kept on pixels of the network's, which are fewer."""

    subject: str
    network_probabilities: np.ndarray  # [Z, h, w, C]
    grid: grids.Grid  # which these are on: the network's, or that of `case.whole`
    case: preprocess.Case
    beyond: tuple | None = None  # [C], of voxels beyond the grid, where it does not hold all

    def probabilities(self):
        """[Z, Y, X, C] on the scan's own grid, as bwcr_tf.predict has them.

        Ignored voxels are background for certain, in the label as in the probabilities.
        """
        return self._probabilities(self.beyond)

    def counted(self):
        """`probabilities` as volumes count them, with volumes.unseen beyond the grid."""
        return self._probabilities(self.beyond and volumes.unseen(self.beyond))

    def _probabilities(self, beyond):
        pair = self.grid, self.case.original_grid
        own = np.clip(grids.restore(self.network_probabilities, *pair), 0, 1)
        if beyond:
            own[grids.outside(*pair)] = beyond
        num_classes = own.shape[-1]
        own[self.case.original_label_map == num_classes] = np.eye(num_classes)[0]
        return own

    def true_sizes(self):
        """Voxels [K, C-1] of each foreground class by annotator."""
        count = self.network_probabilities.shape[-1]
        maps = self.case.original_label_maps
        found = [np.bincount(m.ravel(), minlength=count)[1:count] for m in maps]
        return np.array(found, np.float64)

    def voxel_ml(self):
        """The volume of a voxel."""
        return float(np.prod(self.case.original_grid.spacing_mm) / 1000)


def scans(predict, cases, maps, beyond=None):
    """The Scans of Cases after the calibration.Map of each subject."""
    known = [case for case in cases if case.subject in maps]  # some pixels are not ignored
    return [scan(predict, case, maps[case.subject], beyond) for case in known]


def scan(predict, case, its_map, beyond=None):
    """The Scan of a Case, as bwcr_tf.predict sees it: all of its plane, if need be in tiles.

    Args:
      predict: slices [Z, H, W, K] of the network's size -> their probabilities [Z, H, W, C], which
        the calibration.Map is then applied to.
      beyond: [C], the probabilities around the centre of a larger scan, if it alone is predicted.
    """

    def calibrated(slices):
        return calibration.apply(its_map, predict(slices))

    if beyond and case.plane is not None:
        return Scan(case.subject, calibrated(case.image), case.grid, case, beyond)
    image, grid = case.whole
    return Scan(case.subject, tiles.blend(calibrated, image, case.image.shape[1:3]), grid, case)
