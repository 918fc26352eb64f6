"""Slices of a prediction as small pictures: the image, contours of probability, the entropy."""

import base64
import dataclasses
import io

import contourpy
import matplotlib
import matplotlib.path
import numpy as np
import SimpleITK as sitk
from PIL import Image
from scipy import special

from bwcr_tf.data import scans
from bwcr_tf.data.normalization import PERCENTILES

LEVELS = (0.1, 0.5, 0.9)  # probabilities of the contours
PIXELS = 128  # of the longer side of a picture
MOST = 10  # slices of a scan
BYTES = 45_000  # of a scan, so that twenty stay under a megabyte
MARGIN_MM = 20.0  # shown at least around what was found


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """A slice; pictures are data URIs, contours SVG paths on a grid of half pixels of `size`."""

    number: int  # in the scan's own order, from 1
    size: tuple[int, int]  # x, y
    image: str
    entropy: str
    contours: dict  # (class from 1, level) -> SVG path

    @property
    def bytes(self):
        """What it takes on a page, about."""
        return len(self.image) + len(self.entropy) + sum(map(len, self.contours.values()))


def thumbnails(probabilities, image, orientation):
    """At most MOST Thumbnails of a sitk.Image and its probabilities [Z, Y, X, C].

    They are spread evenly over the slices in which a structure has a probability over LEVELS[0]
    and one more at either end, and all show the surroundings of what was found; the whole scan
    where nothing was. The slices are those of a model of the code `orientation`. Fewer
    are kept where they would take more than BYTES.
    """
    codes = scans.orientation(image), shown_in(orientation)
    pixels = scans.turned(sitk.GetArrayViewFromImage(image), *codes)
    probabilities = scans.turned(probabilities, *codes)
    axes = scans.axes(*codes)
    spacing_mm = [image.GetSpacing()[axis] for axis, _ in axes[:2]]
    chosen, box = region(probabilities[..., 0] < 1 - LEVELS[0], spacing_mm)
    extent = (np.array(box[2:]) - box[:2]) * spacing_mm
    size = tuple(np.maximum(2, np.rint(PIXELS * extent / extent.max())).astype(int).tolist())
    grey = np.stack([_resize(pixels[z], box, size) for z in chosen])
    low, high = np.percentile(grey, PERCENTILES)
    grey = np.clip((grey - low) / max(high - low, 1e-6), 0, 1)
    number = np.arange(1, len(pixels) + 1)[:: -1 if axes[2][1] else 1]
    found = []
    for z, shown in zip(chosen, grey, strict=True):
        foreground = [_resize(p, box, size) for p in np.moveaxis(probabilities[z], -1, 0)[1:]]
        found.append(_thumbnail(int(number[z]), shown, np.stack(foreground)))
    for count in range(len(found), 0, -1):
        kept = [found[i] for i in spread(0, len(found) - 1, count)]
        if sum(thumbnail.bytes for thumbnail in kept) <= BYTES:
            break
    return kept


def shown_in(orientation):
    """The code in which the slices of the code `orientation` are shown.

    It is how radiologists look at them: head or front up, the patient's left on the right, else
    the front on the left.
    """
    columns, rows = sorted(map(scans.PAIR_OF.get, orientation[:2]), key=scans.PAIRS.index)
    return columns[0] + rows[0] + orientation[2]


def region(found, spacing_mm):
    """Which slices to show, and the part of them (x0, y0, x1, y1), of a mask [Z, H, W]."""
    if not found.any():
        found = np.ones_like(found)
    spans = []
    for axis in range(3):
        inside = np.flatnonzero(found.any(axis=tuple({0, 1, 2} - {axis})))
        spans.append((inside[0], inside[-1] + 1))
    depth, height, width = found.shape
    first, last = max(spans[0][0] - 1, 0), min(spans[0][1], depth - 1)
    chosen = spread(first, last, MOST)
    (top, bottom), (left, right) = spans[1:]
    sides_mm = (right - left) * spacing_mm[0], (bottom - top) * spacing_mm[1]
    x, y = (round(max(max(sides_mm) / 2, MARGIN_MM) / mm) for mm in spacing_mm)
    box = (max(left - x, 0), max(top - y, 0), min(right + x, width), min(bottom + y, height))
    return chosen, tuple(map(int, box))


def spread(first, last, count):
    """At most `count` whole numbers from `first` to `last`, evenly."""
    return np.unique(np.linspace(first, last, count).round().astype(int)).tolist()


def _thumbnail(number, grey, foreground):
    """The Thumbnail of an image [H, W] in [0, 1] and its probabilities of classes 1.. [C, H, W]."""
    contours = {}
    for c, p in enumerate(foreground, start=1):
        generator = contourpy.contour_generator(z=p, name="serial")
        for level in LEVELS:
            if path := "".join(map(_svg_path, generator.lines(level))):
                contours[c, level] = path
    coarse = foreground[:, ::2, ::2]
    p = np.clip([1 - coarse.sum(axis=0), *coarse], 0, 1)
    heat = matplotlib.colormaps["inferno"](special.entr(p).sum(axis=0) / np.log(2))[..., :3]
    return Thumbnail(number, grey.shape[::-1], _data_uri(grey), _data_uri(heat), contours)


def _resize(array, box, size):
    """[H, W] float32: the part `box` of an array on another number of pixels, anti-aliased."""
    picture = Image.fromarray(np.ascontiguousarray(array, np.float32))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR, box))


def _svg_path(line):
    """A polyline of pixel centres [N, 2] (x, y) as an SVG path, in half pixels."""
    path = matplotlib.path.Path(line + 0.5)
    path.should_simplify, path.simplify_threshold = True, 0.4
    points = np.rint(2 * path.cleaned(simplify=True).vertices[:-1]).astype(int)
    if len(points) < 3:
        return ""
    steps = " ".join(f"{x} {y}" for x, y in np.diff(points, axis=0).tolist())
    return f"M{points[0, 0]} {points[0, 1]}l{steps}".replace(" -", "-")


def _data_uri(picture):
    """A grey [H, W] or RGB [H, W, 3] picture in [0, 1] as the URI of a WebP file."""
    content = io.BytesIO()
    Image.fromarray(np.rint(255 * picture).astype(np.uint8)).save(content, "WEBP", quality=40)
    return "data:image/webp;base64," + base64.b64encode(content.getvalue()).decode()
