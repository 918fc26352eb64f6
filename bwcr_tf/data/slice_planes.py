"""Where the slices of a DICOM series or the frames of a file lie, and whether they are a stack."""

import dataclasses
import itertools
import math

import numpy as np

from bwcr_tf.data import dicom_elements, header_checks
from bwcr_tf.data.formats import Mismatch

LEAN, UNEVEN = 1e-2, 0.1  # largest tilt (sine) and relative difference of steps

_SHARED, _PER_FRAME, _POSITION, _ORIENTATION, _MEASURES, _TRANSFORMATION = (
    dicom_elements.SEQUENCES
)
_ELEMENTS = {  # name: its tag, and the functional group that it is in (PS3.3, C.7.6.16)
    "ImagePositionPatient": (0x00200032, _POSITION),
    "ImageOrientationPatient": (0x00200037, _ORIENTATION),
    "PixelSpacing": (0x00280030, _MEASURES),
    "SliceThickness": (0x00180050, _MEASURES),
    "RescaleSlope": (0x00281053, _TRANSFORMATION),
    "RescaleIntercept": (0x00281052, _TRANSFORMATION),
}
_TAGS = {name: f"{tag >> 16:04x}|{tag & 0xFFFF:04x}" for name, (tag, _) in _ELEMENTS.items()}
_GROUPS = {(sequence, tag): name for name, (tag, sequence) in _ELEMENTS.items()}


@dataclasses.dataclass(frozen=True)
class Plane:
    """Where a slice or frame lies, and how its stored values become those of ITK."""

    position: np.ndarray  # [3] of its first pixel, x, y, z in mm
    axes: np.ndarray  # [3, 3], columns: along a row, along a column, normal
    spacing_mm: tuple  # x, y, z; z is the slice thickness, or None
    rescale: tuple  # slope, intercept


def planes_of(file, reader):
    """The Planes of the slice or the frames in a file, of which ITK's `reader` has the header."""
    where = {name: text(reader, tag) for name, tag in _TAGS.items()}
    frames = [where]
    if "MOSAIC" in text(reader, "0008|0008"):  # Image Type of Siemens' tiles
        raise Mismatch(f"{file.name}: a mosaic of slices; expected a file for each slice")
    if text(reader, "0028|0004").strip() == "MONOCHROME1":  # which ITK inverts before rescaling
        raise Mismatch(
            f"{file.name}: PhotometricInterpretation MONOCHROME1; expected MONOCHROME2"
        )
    if numbers(text(reader, "0028|0008"))[:1] > [1] or not where["ImagePositionPatient"]:
        frames = _functional_groups(file.read_bytes()) or frames
        if len(frames) != (count := reader.GetSize()[2]):
            found = f"{len(frames)} frames of {count} with a position in the functional groups"
            raise Mismatch(f"{file.name}: {found}; expected all")
    try:
        return [_plane(frame) for frame in frames]
    except Mismatch as error:
        raise Mismatch(f"{file.name}: {error}") from error


def _functional_groups(content):
    """{name of _TAGS: text} of each frame of a file, what the frames share included."""
    shared, frames = {}, []
    for path, value in dicom_elements.elements(content):
        if path == (_PER_FRAME, dicom_elements.ITEM):
            frames.append(dict(shared))
        elif path[0] in (_SHARED, _PER_FRAME) and path[1:] in _GROUPS:
            target = frames[-1] if path[0] == _PER_FRAME and frames else shared
            target[_GROUPS[path[1:]]] = value.decode("ascii", "replace")
    return frames


def _plane(texts):
    """The Plane of a dict of _TAGS' names to texts. Raises on what is not there."""
    found = {name: numbers(joined) for name, joined in texts.items()}
    for name, count in zip(_TAGS, (3, 6, 2), strict=False):
        if len(found.get(name, ())) != count:
            raise Mismatch(f"no {name} of {count} numbers; expected where its pixels are")
    rows, columns = np.reshape(found["ImageOrientationPatient"], (2, 3))
    length = max(abs(np.linalg.norm(axis) - 1) for axis in (rows, columns))
    between_rows, between_columns = found["PixelSpacing"]
    if not (length < LEAN and min(between_rows, between_columns) > 0):
        raise Mismatch(f"axes {rows}, {columns} and spacing {found['PixelSpacing']} mm")
    axes = np.stack([rows, columns, np.cross(rows, columns)], axis=1)
    axes = header_checks.nearest_axes(axes / np.linalg.norm(axes, axis=0))
    thickness = (found.get("SliceThickness") or [None])[0]
    slope, intercept = (
        (found.get(name) or [default])[0]
        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    if not slope:
        raise Mismatch("RescaleSlope 0; expected another number")
    position = np.array(found["ImagePositionPatient"])
    return Plane(position, axes, (between_columns, between_rows, thickness), (slope, intercept))


def arrange(planes):
    """Indices of Planes in the order of their positions, and the volume's spacing in mm.

    Raises:
      formats.Mismatch: not parallel, not of one spacing, or not in even steps along the
        normal.
    """
    first = planes[0]
    if max(np.abs(plane.axes - first.axes).max() for plane in planes) > 1e-3:
        raise Mismatch("slices in several orientations; expected one")
    in_plane = [plane.spacing_mm[:2] for plane in planes]
    if not np.allclose(in_plane, in_plane[0], rtol=1e-3, atol=0):
        found = f"{min(in_plane)} to {max(in_plane)} mm"
        raise Mismatch(f"pixels of {found} in one stack; expected one spacing")
    if len(planes) == 1:
        if not 0 < (first.spacing_mm[2] or 0) < math.inf:
            raise Mismatch("one slice without a SliceThickness; expected one above 0 mm")
        return [0], first.spacing_mm
    normal = first.axes[:, 2]
    order = sorted(range(len(planes)), key=lambda k: normal @ planes[k].position)
    places = np.array([planes[k].position for k in order])
    return order, (*in_plane[0], _step(places, normal))


def _step(places, normal):
    """The one step in mm between positions [N, 3] along a normal. Raises if there is none."""
    gaps_mm = [math.dist(*pair) for pair in itertools.pairwise(places)]
    if not max(gaps_mm) < (1 + UNEVEN) * min(gaps_mm):
        twice = "; two slices in one place" * (min(gaps_mm) < 1e-3)
        found = f"slices {min(gaps_mm):g} to {max(gaps_mm):g} mm apart{twice}"
        raise Mismatch(f"{found}; expected one step")
    step = (places[-1] - places[0]) / (len(places) - 1)
    length = np.linalg.norm(step)
    lean = np.linalg.norm(np.cross(step, normal)) / length
    if lean > LEAN:
        raise Mismatch(
            f"steps between slices lean by {math.degrees(math.asin(min(lean, 1))):.1f} degrees "
            "(gantry tilt, or a stack that drifts); expected steps along the normal"
        )
    apart = places - places[0] - np.arange(len(places))[:, None] * step
    if np.linalg.norm(apart, axis=1).max() > UNEVEN * length:
        raise Mismatch("slices are off a straight line; expected one step along the normal")
    return float(length)


def text(reader, tag):
    """A tag of a DICOM header that ITK has read, or ''."""
    return reader.GetMetaData(tag) if reader.HasMetaDataKey(tag) else ""


def numbers(joined):
    """The numbers of a text such as `0.5\\0.5`; none if one of them is not a finite number."""
    try:
        found = [float(part.strip("\0 ")) for part in joined.split("\\")]
    except ValueError:
        return []
    return found if np.isfinite(found).all() else []
