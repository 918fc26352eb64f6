"""One volume to the grid of the network and back (Sec. 4)."""

import dataclasses

import numpy as np
import SimpleITK as sitk

from bwcr_tf import boundary
from bwcr_tf.data import channels, grids, scans, shifts
from bwcr_tf.data.grids import Grid
from bwcr_tf.data.normalization import normalize
from bwcr_tf.data.settings import Settings

VERSION = 1  # of the pixels that a scan becomes; raise it when they change


def propose(collection, dataset, size=None, pixel_mm=None, n4_shrink=4):
    """Settings for a collection: what is given, else the data set's, else from the data itself.

    The data's own are the median spacing, to four digits, and for rows and columns each the
    smallest multiple of 16 pixels that holds 95 % of the volumes; a hundredth of 16 pixels, as
    rounding makes, is not held. The orientation is the most frequent one.
    """
    headers = [
        scans.read_header(volume.image)
        for subject in collection.pool + collection.test
        for volume in subject.volumes
    ]
    codes = [code for code, _, _ in headers]
    code = max(sorted(set(codes)), key=codes.count)
    in_plane = np.array([spacing[:2] for found, _, spacing in headers if found == code])
    extent_mm = in_plane * [size_xy[:2] for found, size_xy, _ in headers if found == code]
    pixel_mm = pixel_mm or dataset.pixel_mm
    held_mm = np.percentile(extent_mm, 95, axis=0, method="inverted_cdf")
    steps = held_mm / (pixel_mm or np.median(in_plane)) / 16
    columns_rows = 16 * np.ceil(steps - 0.01).astype(int)
    size = size or dataset.size or tuple(columns_rows[::-1])
    pixel_mm = pixel_mm or float(f"{np.median(in_plane):.4g}")
    return Settings(collection.num_classes, size, pixel_mm, code, n4_shrink)


@dataclasses.dataclass(frozen=True)
class Case:
    """A preprocessed volume: arrays on the network's grid and the labels on the original one."""

    name: str
    subject: str
    image: np.ndarray  # [Z, H, W, K] float32 in [0, 1]
    label_map: np.ndarray  # [Z, H, W] uint8
    distance: np.ndarray  # [Z, H, W] float32, pixels
    grid: Grid
    original_label_map: np.ndarray  # uint8
    original_grid: Grid
    true_probabilities: np.ndarray | None = None  # [Z, H, W, C] float32
    other_label_maps: np.ndarray = ()  # [K-1, Z, H, W] uint8, of annotators 2 to K
    other_original_label_maps: np.ndarray = ()  # [K-1, ...] uint8
    plane: np.ndarray | None = None  # [Z, h, w, K]: all of a scan that the grid does not hold
    plane_grid: Grid | None = None

    @property
    def whole(self):
        """The image [Z, h, w, K] that bwcr_tf.predict sees of the scan, and its Grid."""
        return (self.image, self.grid) if self.plane is None else (self.plane, self.plane_grid)

    @property
    def label_maps(self):
        """The label maps [Z, H, W] of all K annotators."""
        return [self.label_map, *self.other_label_maps]

    @property
    def original_label_maps(self):
        """The label maps of all K annotators on the original grid."""
        return [self.original_label_map, *self.other_original_label_maps]


def normalized(images, settings):
    """The sitk.Images of `channels.read` with intensities in [0, 1]; N4 may turn their axes."""
    pairs = zip(images, settings.windows, strict=True)
    return [normalize(image, settings, window) for image, window in pairs]


def preprocess(volume, settings, subject="", shift=None):
    """The Case of a subjects.Volume; `shift` is the name and the severity of one of `shifts`.

    Raises:
      DataError: the files are not what they must be.
    """
    images = channels.read(volume.images)
    image, num_classes = images[0], settings.num_classes
    how = num_classes, volume.image.is_dir(), volume.ignore
    labels = [scans.read_label(path, image, *how) for path in volume.labels]
    scaled = normalized(_shifted(images, volume.name, settings, shift), settings)
    grid, (around, _) = grids.network_grid(image, settings), grids.plane_grid(image, settings)
    nearest = sitk.sitkNearestNeighbor
    label_map, *others = (grids.resample(label, grid, nearest) for label in labels)
    original_label_map, *original_others = map(sitk.GetArrayFromImage, labels)
    case = Case(
        name=volume.name,
        subject=subject,
        image=grids.on_grid(scaled, grid),
        label_map=label_map,
        distance=np.stack([boundary.distance(m, num_classes) for m in label_map]),
        grid=grid,
        original_label_map=original_label_map,
        original_grid=Grid.of(image),
        true_probabilities=_true_probabilities(volume, image, grid, num_classes),
        other_label_maps=np.array(others),
        other_original_label_maps=np.array(original_others),
    )
    if around == grid:
        return case
    return dataclasses.replace(case, plane=grids.on_grid(scaled, around), plane_grid=around)


def _shifted(images, name, settings, shift):
    """The channels of the scan `name` after the shift, if there is one."""
    if not shift:
        return images
    return [
        shifts.apply(image, *shift, settings, f"{name} {k}", window)
        for k, (image, window) in enumerate(zip(images, settings.windows, strict=True))
    ]


def _true_probabilities(volume, image, grid, num_classes):
    """What a phantom's volume knows of its classes, [Z, H, W, C] on `grid`, or None."""
    if volume.true_probabilities is None:
        return None
    found = scans.read_probabilities(volume.true_probabilities, image, num_classes)
    return grids.restore(sitk.GetArrayFromImage(found), Grid.of(image), grid)
