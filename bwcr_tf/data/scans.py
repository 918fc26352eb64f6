"""Scans and label maps from disk: believed only once header and pixels agree (SimpleITK)."""

import gzip

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import dicom, itk_files, measured
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

PAIRS = ("LR", "PA", "IS")  # of opposite letters, one for each axis of the patient
_MOST, _LEAST = 0.95, 0.5  # share of a label in the image: below, warns, refuses
PAIR_OF = {letter: pair for pair in PAIRS for letter in pair}


def read_image(path):
    """A scan as a float32 sitk.Image of three dimensions: a file, or a folder with one series.

    Padding that a DICOM header declares, and NaN at the border, become one value below all
    others, which `measured.mask` knows. Warns of a NIfTI header that contradicts itself.

    Raises:
      DataError: unreadable, truncated, not 3D, not scalar, not finite, or constant.
    """
    dicom_scan = itk_files.is_dicom(path)
    image = itk_files.read_dicom(path) if dicom_scan else itk_files.read_file(path, warn=True)
    with itk_files.reading(path):
        return measured.fill(sitk.Cast(image, sitk.sitkFloat32), declared=dicom_scan)


def read_header(path):
    """Orientation code (`LPS`, say), size and spacing in mm of a scan, without its pixels.

    Of a folder, those of its first file: in plane, they are those of the series.

    Raises:
      DataError: unreadable, or not the header of one 3D scan.
    """
    files = dicom.dicom_files(path) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: 0 DICOM series in 0 files; expected one")
    file = files[0]
    reader = itk_files.header(file)
    spacing_mm, _, direction = itk_files.geometry(file, reader)
    return code(direction), reader.GetSize(), spacing_mm


def orientation(image):
    """Code of the axes x, y, z of a sitk.Image, or of its reader, such as `LPS`."""
    return code(image.GetDirection())


def code(direction):
    """Code of the axes of nine direction cosines."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)


def axes(source, orientation):
    """((axis, flipped), ...): the axes x, y, z of a code as those of the code `source`."""
    found = [next(i for i in range(3) if source[i] in PAIR_OF[a]) for a in orientation]
    return tuple((i, source[i] != a) for i, a in zip(found, orientation, strict=True))


def turned(array, source, orientation):
    """A view of an array [Z, Y, X, ...] of axes x, y, z of the code `source` in another code.

    It is what sitk.DICOMOrient does with an image of that code. The code of its result is the one
    asked for, even where `code` reads another from the cosines, as it may at 45 degrees.
    """
    found = axes(source, orientation)[::-1]
    order = [2 - axis for axis, _ in found]
    flips = tuple(slice(None, None, -1 if flipped else 1) for _, flipped in found)
    return np.transpose(array, (*order, *range(3, array.ndim)))[flips]


def read_label(path, image, num_classes, place=False, ignore=False):
    """The label map of `image` as a sitk.Image on the image's own grid, of uint8 (above 256
    values of int32, the next type that TensorFlow makes one-hot).

    With `place`, a label on another grid is put there by physical position (nearest neighbour),
    with a warning where some of it is not in the image.
    With `ignore`, the value num_classes marks pixels that count nowhere.

    Raises:
      DataError: another shape or geometry, too little overlap, values that are not
        0..num_classes-1, or all pixels ignored.
    """
    label = itk_files.read_file(path)
    values, last = np.unique(sitk.GetArrayViewFromImage(label)), num_classes - 1 + ignore
    strange = [value for value in values.tolist() if value not in range(last + 1)]
    if strange:
        raise DataError(f"{path}: label values {strange[:5]}; expected 0 to {last}")
    if values[0] == num_classes:
        raise DataError(f"{path}: all pixels are ignored; expected labels")
    label = sitk.Cast(label, sitk.sitkUInt8 if last < 256 else sitk.sitkInt32)
    difference = geometry_difference(label, image)
    if not difference:
        return label
    if not place:
        raise DataError(f"{path}: {difference}")
    placed = sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    if values.any() and (share := _labelled_mm3(placed) / _labelled_mm3(label)) < _MOST:
        found = f"{path}: {share:.1%} of its labels lie in the image; {difference}"
        if share < _LEAST:
            raise DataError(found)
        errors.warn(found)
    return placed


def _labelled_mm3(label):
    return np.count_nonzero(sitk.GetArrayViewFromImage(label)) * np.prod(label.GetSpacing())


def label_values(path):
    """The values that a label map holds, in order, as a list."""
    return np.unique(sitk.GetArrayFromImage(itk_files.read_file(path))).tolist()


def read_probabilities(path, image, num_classes):
    """The class probabilities of `image` on its own grid, a float32 vector sitk.Image (.nii.gz).

    Raises:
      DataError: unreadable, another grid, or not `num_classes` numbers a pixel.
    """
    with itk_files.reading(path):
        gzip.decompress(path.read_bytes())  # ITK is silent about a file cut short
        found = sitk.ReadImage(path, sitk.sitkVectorFloat32)
    if found.GetNumberOfComponentsPerPixel() != num_classes:
        count = found.GetNumberOfComponentsPerPixel()
        raise DataError(f"{path}: {count} components a pixel; expected {num_classes}")
    if difference := geometry_difference(found, image):
        raise DataError(f"{path}: {difference}")
    return found


def geometry_difference(label, image):
    """What differs between two grids, in words; empty if they agree.

    Origins may be 0.01 mm apart and spacings 0.001 mm, and less where pixels are under 0.1 mm.
    """
    small = min(1, 10 * min(image.GetSpacing()))
    atol = {"Size": 0, "Spacing": 1e-3 * small, "Origin": 1e-2 * small, "Direction": 1e-3}
    for what, most in atol.items():
        found, expected = (getattr(grid, f"Get{what}")() for grid in (label, image))
        if not np.allclose(found, expected, rtol=0, atol=most):
            found, expected = (tuple(round(v, 6) for v in grid) for grid in (found, expected))
            return f"{what.lower()} {found}; expected {expected}, the image's"
    return ""
