import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart
from scipy import ndimage

from bwcr_tf.data import datasets, grids, normalization, preprocess
from bwcr_tf.data.preprocess import Settings
from bwcr_tf.data.subjects import Collection, Subject, Volume

SETTINGS = Settings(num_classes=4, size=32, pixel_mm=2.1, n4_shrink=0)

VERSION_1 = (
    (0.170, 0.118, 0.078, 0.079),
    (0.301, 0.180, 0.188, 0.384),
    (0.502, 0.751, 0.644, 0.901),
    (0.436, 0.366, 0.388, 0.664),
)


def volume(array, spacing=(1.5, 1.25, 8.0)):
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin((10.0, -20.0, 5.0))
    return image


def expected_resampling(array, spacing, settings):
    """SciPy: both grids have their centre in the same place; zero outside."""
    rows, columns = np.broadcast_to(settings.size, 2)
    y = (np.arange(rows) - (rows - 1) / 2) * settings.pixel_mm / spacing[1]
    x = (np.arange(columns) - (columns - 1) / 2) * settings.pixel_mm / spacing[0]
    y, x = y + (array.shape[1] - 1) / 2, x + (array.shape[2] - 1) / 2
    grid = np.stack(np.meshgrid(y, x, indexing="ij"))
    return np.stack(
        [ndimage.map_coordinates(a, grid, order=1, mode="nearest") for a in array]
    ), grid


@pytest.mark.parametrize("size", [32, (32, 48), (16, 32)])
def test_resampling_equals_scipy_and_is_zero_outside(size):
    settings = dataclasses.replace(SETTINGS, size=size)
    array, spacing = heart(3)[0].astype(float), (1.5, 1.25, 8.0)
    image = volume(array, spacing)
    found = grids.resample(image, grids.network_grid(image, settings))
    expected, (y, x) = expected_resampling(array, spacing, settings)
    outside = (y < -0.5) | (y > 39.5) | (x < -0.5) | (x > 43.5)
    np.testing.assert_allclose(found[:, ~outside], expected[:, ~outside], rtol=1e-4, atol=1e-2)
    assert outside.any() == (size != (16, 32)) and not found[:, outside].any()


def test_the_version_is_raised_with_the_pixels_that_a_scan_becomes():
    """What version 1 made of this scan; where it fails on purpose, raise VERSION."""
    rows, columns = np.indices((64, 64))
    field = np.exp((rows - columns) / 80)
    array = np.stack(
        [field * np.kron(heart(k)[0][0][:32, :32], np.ones((2, 2))) for k in range(3)]
    )
    settings = dataclasses.replace(SETTINGS, n4_shrink=2)
    scaled = preprocess.normalized([volume(array)], settings)
    found = grids.on_grid(scaled, grids.network_grid(volume(array), settings))[..., 0]
    blocks = found.reshape(3, 4, 8, 4, 8).mean(axis=(2, 4))
    assert preprocess.VERSION == 1
    np.testing.assert_allclose(blocks[1], VERSION_1, rtol=0, atol=2e-3)


def test_grid_leaves_slices_untouched():
    image = volume(heart(3)[0])
    grid = grids.network_grid(image, SETTINGS)
    assert grid.size == (32, 32, 3) and grid.spacing_mm == (2.1, 2.1, 8.0)
    assert grid.origin[2] == 5.0


def test_tiles_cover_the_outermost_centres_of_rows_and_of_columns():
    image = volume(np.zeros((2, 100, 40)), (1.0, 2.0, 5.0))  # 198 x 39 mm between centres
    settings = dataclasses.replace(SETTINGS, size=48, pixel_mm=2.0)
    grid, whole = grids.plane_grid(image, settings)
    assert grid.size == (48, 100, 2) and whole  # columns, rows


def test_percentiles_become_zero_and_one_and_the_rest_is_clipped():
    array = heart(3)[0].astype(np.float32)
    low, high = np.percentile(array, (2, 98))
    found = sitk.GetArrayFromImage(normalization.normalize(volume(array), SETTINGS))
    np.testing.assert_allclose(found, np.clip((array - low) / (high - low), 0, 1), atol=1e-5)


def test_mostly_constant_image_is_rescaled_by_its_extremes():
    array = np.zeros((2, 40, 40))
    array[0, 0, 0] = 5
    found = sitk.GetArrayFromImage(normalization.normalize(volume(array), SETTINGS))
    assert found.max() == 1 and found.min() == 0


@pytest.mark.parametrize("depth", [6, 2, 1])
def test_n4_removes_a_smooth_bias_field(depth):
    x = np.linspace(-1, 1, 128)
    disc = x[:, None] ** 2 + x[None] ** 2 < 0.7
    flat = np.where(disc, 500.0, 20.0) + np.random.default_rng(0).normal(
        0, 5, (depth, 128, 128)
    )
    field = np.exp(0.3 * (x[:, None] + x[None] ** 2))
    corrected = sitk.GetArrayFromImage(normalization.correct_bias(volume(flat * field), 2))
    assert np.log(corrected[:, disc]).std() < 0.2 * np.log((flat * field)[:, disc]).std()


@pytest.mark.parametrize("unit", [1e-4, 1e-6, 1e-9, 1e-30, 1e9])
def test_the_unit_of_intensities_does_not_matter(unit):
    x = np.linspace(-1, 1, 64)
    disc = np.where(x[:, None] ** 2 + x[None] ** 2 < 0.7, 2.0, 0.1)
    texture = np.random.default_rng(0).uniform(0.9, 1.1, (3, 64, 64))
    array, settings = disc * texture * np.exp(x), dataclasses.replace(SETTINGS, n4_shrink=2)
    expected, found = (
        sitk.GetArrayFromImage(normalization.normalize(volume(array * scale), settings))
        for scale in (1, unit)
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_restore_undoes_resampling_of_smooth_probabilities():
    z, y, x = np.meshgrid(range(3), np.linspace(0, 3, 40), np.linspace(0, 3, 44), indexing="ij")
    p = 0.5 + 0.4 * np.sin(x + y + z)
    image = volume(np.zeros((3, 40, 44)), (1.5, 1.25, 8.0))
    settings = dataclasses.replace(
        SETTINGS, size=(48, 64), pixel_mm=1.3
    )  # covers the whole image
    grid = grids.network_grid(image, settings)
    on_grid = np.stack(
        [
            grids.resample(grids.Grid.of(image).place(sitk.GetImageFromArray(q)), grid)
            for q in (1 - p, p)
        ],
        axis=-1,
    ).astype(np.float32)
    restored = grids.restore(on_grid, grid, grids.Grid.of(image))
    assert restored.shape == (3, 40, 44, 2)
    np.testing.assert_allclose(restored[:, 2:-2, 2:-2, 1], p[:, 2:-2, 2:-2], atol=0.01)
    np.testing.assert_allclose(restored.sum(-1), 1, atol=1e-6)


def test_what_the_crop_cut_off_is_background():
    image = volume(np.zeros((3, 40, 44)), (3.0, 3.0, 8.0))
    grid = grids.network_grid(image, SETTINGS)
    p = np.zeros((3, 32, 32, 2), np.float32)
    p[..., 1] = 1
    restored = grids.restore(p, grid, grids.Grid.of(image))
    assert restored[0, 0, 0, 0] == 1 and restored[0, 20, 22, 1] == 1


@pytest.mark.parametrize("shape, code", [((3, 40, 44), "RAS"), ((4, 96, 90), "SRA")])
def test_another_orientation_gives_the_same_network_image(shape, code):
    """The larger one is shrunk for N4, in the plane of its slices."""
    image = volume(heart(3, shape=shape)[0])
    flipped = sitk.DICOMOrient(image, code)
    assert flipped.GetDirection() != image.GetDirection()
    for settings in (SETTINGS, dataclasses.replace(SETTINGS, n4_shrink=2)):
        first, second = (
            grids.resample(
                normalization.normalize(i, settings), grids.network_grid(i, settings)
            )
            for i in (image, flipped)
        )
        np.testing.assert_allclose(first, second, atol=1e-4)


def test_propose_keeps_the_digits_of_a_small_spacing(acdc, monkeypatch):
    header = ("LPS", (96, 80, 3), (0.0004, 0.0004, 0.001))
    monkeypatch.setattr(preprocess.scans, "read_header", lambda path: header)
    own = preprocess.propose(datasets.find("acdc", acdc), datasets.DATASETS["nnunet"])
    assert (own.pixel_mm, own.size) == (0.0004, (80, 96))


def proposed(monkeypatch, headers):
    """What is proposed for scans of these (columns, rows) and spacings in mm."""
    left = [("LPS", (*size, 3), (spacing, spacing, 5)) for size, spacing in headers]
    monkeypatch.setattr(preprocess.scans, "read_header", lambda path: left.pop())
    subjects = (Subject("a", "", (Volume("a", None, None),)),) * len(headers)
    found = preprocess.propose(Collection(("a",), subjects), datasets.DATASETS["nnunet"])
    return found.pixel_mm, found.size


@pytest.mark.parametrize(
    "count, wide, side",
    [(10, 1, 256), (20, 1, 160), (20, 2, 256), (100, 5, 160), (100, 6, 256), (230, 11, 160)],
)
def test_proposed_grids_hold_95_percent_of_the_volumes(count, wide, side, monkeypatch):
    sizes = [(160, 160)] * (count - wide) + [(256, 256)] * wide
    assert proposed(monkeypatch, [(size, 1.0) for size in sizes]) == (1.0, side)


def test_spacing_and_extent_are_those_of_the_most_frequent_orientation(monkeypatch):
    headers = [("LPS", (160, 128, 3), (1.0, 1.0, 5.0))] * 2
    headers += [("LPS", (64, 64, 3), (1.5, 1.5, 5.0)), ("RAS", (512, 512, 3), (3.0, 3.0, 5.0))]
    monkeypatch.setattr(preprocess.scans, "read_header", lambda path: headers.pop())
    collection = Collection(("a",), (Subject("a", "", (Volume("a", None, None),)),) * 4)
    own = preprocess.propose(collection, datasets.DATASETS["nnunet"])
    assert (own.orientation, own.pixel_mm, own.size) == ("LPS", 1.0, (128, 160))


@pytest.mark.parametrize("spacing", [0.62504, 0.62496, 0.62549, 1.0004, 0.97656])
def test_a_spacing_with_many_digits_makes_the_grid_no_larger(spacing, monkeypatch):
    pixel_mm, size = proposed(monkeypatch, [((512, 192), spacing)] * 3)
    assert size == (192, 512) and pixel_mm == pytest.approx(spacing, rel=1e-3)
    other = [((192, 192), spacing), ((192, 192), spacing + 2e-5), ((193, 192), spacing)]
    assert proposed(monkeypatch, other)[1] == (192, 208)  # one pixel more is held


def test_propose_takes_the_median_spacing_and_the_extent(acdc):
    collection = datasets.find("acdc", acdc)
    own = preprocess.propose(collection, datasets.DATASETS["nnunet"])
    assert (own.pixel_mm, own.size, own.orientation) == (1.5, 48, "LPS")  # 44 px, next 16
    given = preprocess.propose(collection, datasets.DATASETS["acdc"])
    assert (given.pixel_mm, given.size) == (1.33, 192)
