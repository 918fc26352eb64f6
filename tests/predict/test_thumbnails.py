import base64
import io
import re

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from bwcr_tf.data import scans
from bwcr_tf.predict import thumbnails


def image_of(array, spacing=(1.0, 1.0, 3.0), code="LPS"):
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    direction = sitk.DICOMOrientImageFilter.GetDirectionCosinesFromOrientation(code)
    image.SetDirection(direction)
    return image


def cone(depth=5, size=64, radius=20.0):
    """Probabilities [Z, Y, X, 2] that fall from 1 at (x, y) = (30, 34) to 0 at `radius` mm."""
    y, x = np.mgrid[:size, :size]
    p = np.clip(1 - np.hypot(x - 30, y - 34) / radius, 0, 1)
    p = np.tile(p, (depth, 1, 1))
    p[0] = 0
    return np.stack([1 - p, p], axis=-1).astype(np.float32)


def points(path):
    """The points [N, 2] of an SVG path of relative lines, in pixels."""
    found = []
    for part in path.split("M")[1:]:
        start, steps = (re.findall(r"-?\d+", text) for text in part.split("l"))
        steps = np.array(steps, int).reshape(-1, 2)
        found.append(np.array(start, int) + np.vstack([[0, 0], np.cumsum(steps, axis=0)]))
    return np.concatenate(found) / 2


def picture(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.mark.parametrize(
    ("model", "shown"),
    [
        ("LPS", "LPS"),
        ("RAI", "LPI"),
        ("PLS", "LPS"),
        ("AIR", "PIR"),
        ("SPL", "PIL"),
        ("RSA", "LIA"),
    ],
)
@pytest.mark.parametrize("stored", ["LPS", "RAS", "PIR", "SLA"])
def test_slices_are_turned_as_itk_turns_them(stored, model, shown):
    array = np.random.default_rng(0).random((4, 5, 6))
    image = image_of(array, code=stored)
    assert thumbnails.shown_in(model) == shown
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(image, shown))
    codes = scans.orientation(image), shown
    np.testing.assert_array_equal(scans.turned(array.astype(np.float32), *codes), expected)
    classes = np.stack([array, -array], axis=-1).astype(np.float32)
    np.testing.assert_array_equal(scans.turned(classes, *codes)[..., 1], -expected)


def test_contours_are_where_the_probability_is_that_of_their_level():
    probabilities = cone()
    image = image_of(probabilities[..., 1])
    for thumbnail in thumbnails.thumbnails(probabilities, image, "LPS")[1:]:
        scale = thumbnail.size[0] / 64  # the margin of 20 mm shows the whole scan
        assert thumbnail.size == (128, 128)
        for level in thumbnails.LEVELS:
            found = points(thumbnail.contours[1, level]) / scale - 0.5
            distance = np.hypot(*(found - (30, 34)).T)
            np.testing.assert_allclose(distance, 20 * (1 - level), atol=0.5)


def test_slices_are_those_of_what_was_found_and_one_beyond_numbered_as_in_the_file():
    probabilities = cone(12)
    probabilities[9:] = (1, 0)  # found in slices 2 to 9 of 12
    image = image_of(probabilities[..., 1])
    found = thumbnails.thumbnails(probabilities, image, "LPS")
    assert [thumbnail.number for thumbnail in found] == list(range(1, 11))
    assert not found[0].contours and not found[-1].contours
    turned = thumbnails.thumbnails(probabilities, image, "LPI")
    assert [thumbnail.number for thumbnail in turned] == list(range(10, 0, -1))


def test_region_is_what_was_found_with_a_margin():
    found = np.zeros((9, 200, 300), bool)
    found[4:6, 80:140, 100:110] = True  # 120 mm x 10 mm
    chosen, box = thumbnails.region(found, (1.0, 2.0))
    assert chosen == [3, 4, 5, 6]
    assert box == (100 - 60, 80 - 30, 110 + 60, 140 + 30)
    chosen, box = thumbnails.region(0 * found > 0, (1.0, 2.0))
    assert chosen == list(range(9)) and box == (0, 0, 300, 200)


def test_pictures_show_the_image_and_the_entropy_in_millimetres():
    probabilities = cone()
    probabilities[2, :32, :32] = 0.5  # a toss-up in the corner of the third slice
    array = np.zeros((5, 64, 64))
    array[:, 32:, :32] = 100
    image = image_of(array, spacing=(1.0, 0.5, 3.0))
    found = thumbnails.thumbnails(probabilities, image, "LPS")[2]
    assert found.size == (128, 64)
    grey = picture(found.image)[..., 0]
    assert grey.shape == (64, 128)
    assert grey[40:60, 8:56].min() > 245 and grey[:24].max() < 10 and grey[:, 72:].max() < 10
    heat = picture(found.entropy).astype(int)
    assert heat.shape[:2] == (32, 64)
    assert heat[4:12, 4:28].min(axis=(0, 1))[0] > 240 and heat[28:, 48:].max() < 20


def test_scans_of_many_structures_in_noise_take_no_more_than_they_may():
    rng = np.random.default_rng(0)
    coarse = rng.dirichlet(np.full(16, 0.2), (30, 12, 12))
    probabilities = np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.float32)
    image = image_of(rng.normal(size=(30, 96, 96)))
    found = thumbnails.thumbnails(probabilities, image, "LPS")
    assert 2 <= len(found) < thumbnails.MOST
    total = sum(len(t.image + t.entropy + "".join(t.contours.values())) for t in found)
    assert 0.5 * thumbnails.BYTES < total <= thumbnails.BYTES
