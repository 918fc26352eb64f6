"""One volume to the grid of the network and back (Sec. 4)."""

import dataclasses

import numpy as np
import SimpleITK as sitk

from bwcr_tf import boundary
from bwcr_tf.data import channels, scans, shifts, tiles
from bwcr_tf.data.grids import Grid
from bwcr_tf.data.normalization import normalize
from bwcr_tf.data.settings import Settings


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
    """Spacings in mm of the model's pixels on a Grid, if one is over twice the other, or None.

    The slices then seem to be cut in another plane than the model's.
    """
    single = dataclasses.replace(grid, size=(1, 1, 1)).blank()
    x, y, _ = sitk.DICOMOrient(single, settings.orientation).GetSpacing()
    return (x, y) if max(x, y) > 2 * min(x, y) else None


def resample(image, grid, interpolator=sitk.sitkLinear):
    """Array [Z, H, W] (or with a class axis) of `image` on `grid`, zero outside of it."""
    image = sitk.Resample(image, grid.blank(), sitk.Transform(), interpolator, 0.0)
    return sitk.GetArrayFromImage(image)


def network_image(images, settings, grid):
    """Array [Z, H, W, K] in [0, 1] on `grid`, of the K sitk.Images of `channels.read`."""
    return on_grid(normalized(images, settings), grid)


def normalized(images, settings):
    """The sitk.Images of `channels.read` with intensities in [0, 1]; N4 may turn their axes."""
    pairs = zip(images, settings.windows, strict=True)
    return [normalize(image, settings, window) for image, window in pairs]


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


def preprocess(volume, settings, subject="", shift=None):
    """The Case of a subjects.Volume; `shift` is the name and the severity of one of `shifts`.

    Raises:
      DataError: the files are not what they must be.
    """
    images = channels.read(volume.images)
    image = images[0]
    if shift:
        images = [
            shifts.apply(channel, *shift, settings, f"{volume.name} {k}", window)
            for k, (channel, window) in enumerate(zip(images, settings.windows, strict=True))
        ]
    num_classes, place = settings.num_classes, volume.image.is_dir()
    how = num_classes, place, volume.ignore
    labels = [scans.read_label(path, image, *how) for path in volume.labels]
    grid, (around, _) = network_grid(image, settings), plane_grid(image, settings)
    scaled = normalized(images, settings)
    label_map, *others = (resample(label, grid, sitk.sitkNearestNeighbor) for label in labels)
    original_label_map, *original_others = map(sitk.GetArrayFromImage, labels)
    return Case(
        name=volume.name,
        subject=subject,
        image=on_grid(scaled, grid),
        label_map=label_map,
        distance=np.stack([boundary.distance(m, num_classes) for m in label_map]),
        grid=grid,
        original_label_map=original_label_map,
        original_grid=Grid.of(image),
        true_probabilities=_true_probabilities(volume, image, grid, num_classes),
        other_label_maps=np.array(others),
        other_original_label_maps=np.array(original_others),
        plane=on_grid(scaled, around) if around != grid else None,
        plane_grid=around if around != grid else None,
    )


def _true_probabilities(volume, image, grid, num_classes):
    """What a phantom's volume knows of its classes, [Z, H, W, C] on `grid`, or None."""
    if volume.true_probabilities is None:
        return None
    found = scans.read_probabilities(volume.true_probabilities, image, num_classes)
    return restore(sitk.GetArrayFromImage(found), Grid.of(image), grid)
