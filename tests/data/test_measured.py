"""What is no measurement changes nothing: the same scan with and without it."""

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, shared

from bwcr_tf.data import measured, normalization, scans
from bwcr_tf.data.preprocess import Settings
from bwcr_tf.system.errors import DataError

PLAIN, N4 = Settings(4, 32, 2.1, n4_shrink=0), Settings(4, 32, 2.1, n4_shrink=1)


def volume(array):
    return sitk.GetImageFromArray(array.astype(np.float32))


def normalized(array, settings):
    return sitk.GetArrayFromImage(normalization.normalize(volume(array), settings))


def bright(seed=1, shape=(6, 64, 72)):
    """A scan with a smooth field over it, as N4 needs."""
    array = heart(seed, shape)[0] * np.linspace(1, 1.6, shape[2])
    return array.astype(np.float32)


@pytest.mark.parametrize("settings", [PLAIN, N4])
@pytest.mark.parametrize("value", [-1000, 0, 5000])
def test_a_constant_border_changes_nothing_and_becomes_zero(settings, value):
    array = bright()
    padded = np.pad(array, ((1, 0), (9, 4), (0, 30)), constant_values=value)
    found = normalized(padded, settings)
    np.testing.assert_allclose(found[1:, 9:-4, :-30], normalized(array, settings), atol=1e-6)
    assert not found[0].any() and not found[:, :9].any() and not found[:, :, -30:].any()


def test_a_thin_border_and_air_that_is_zero_are_measured():
    array = bright(shape=(6, 128, 128))
    array[:, 0] = 0  # under 1 %
    array[:, :60, :60] = 0  # a corner
    assert measured.mask(volume(array)).all()


def test_lines_of_one_value_in_padding_are_all_that_is_measured():
    array = np.full((2, 12, 12), np.nan)
    array[:, 0], array[:, 1] = 1, 2
    image = measured.fill(volume(array), declared=False)
    expected = np.isfinite(array)
    np.testing.assert_array_equal(measured.mask(image, measured.padding(image)), expected)
    found = sitk.GetArrayFromImage(normalization.normalize(image, PLAIN))
    np.testing.assert_array_equal(found, np.where(array == 2, 1, 0))


def test_an_image_of_next_to_one_value_has_no_border():
    array = np.zeros((2, 40, 40))
    array[0, 7, 9] = 5
    assert measured.mask(volume(array)).all()


@pytest.mark.parametrize("settings", [PLAIN, N4])
@pytest.mark.parametrize("value", [32767, -32768])
def test_a_hot_or_cold_pixel_changes_nothing_but_itself(settings, value):
    array = bright()
    hot = array.copy()
    hot[3, 30, 40] = value
    expected, found = normalized(array, settings), normalized(hot, settings)
    expected[3, 30, 40] = found[3, 30, 40] = 0
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_hot_spot_is_as_bright_as_the_brightest_other_pixel():
    array = bright()
    array[3, 30:36, 40:44] = 32767
    image = volume(array)
    found = sitk.GetArrayFromImage(measured.without_outliers(image, measured.mask(image)))
    assert found[3, 32, 41] == array[array < 32767].max()


def test_ordinary_scans_have_neither_border_nor_outliers():
    paths = sorted(shared("hippocampus").glob("imagesTr/*.nii.gz"))[::40]
    paths += sorted(shared("acdc").glob("training/*/*frame01.nii.gz"))[::20]
    for path in paths:
        image = scans.read_image(path)
        mask = measured.mask(image, measured.padding(image))
        assert mask.all() and measured.without_outliers(image, mask) is image


def test_few_bright_pixels_are_no_mask_for_n4():
    array = np.random.default_rng(0).normal(100, 5, (4, 64, 64)).astype(np.float32)
    array[2, 20:26, 20:30] = 400  # 0.37 %
    image = volume(array)
    assert sitk.Hash(normalization.correct_bias(image, 1)) == sitk.Hash(image)


def test_padding_in_the_middle_counts_in_neither_percentiles_nor_n4():
    array = bright()
    holes = np.zeros(array.shape, bool)
    holes[:, 10:20, 5:12] = holes[:, :, :6] = True
    image = volume(np.where(holes, np.nan, array))
    filled = measured.fill(image, declared=True)
    found = sitk.GetArrayFromImage(normalization.normalize(filled, PLAIN))
    low, high = np.percentile(array[~holes], (2, 98))
    expected = np.clip((array - low) / (high - low), 0, 1)
    np.testing.assert_allclose(found[~holes], expected[~holes], atol=1e-5)
    assert not found[holes].any()
    n4 = sitk.GetArrayFromImage(normalization.normalize(filled, N4))
    np.testing.assert_allclose(n4[~holes], normalized(array, N4)[~holes], atol=0.05)


def margin(array, what):
    array = array.astype(np.float32)
    if what == "wedges":
        y, x = np.mgrid[: array.shape[1], : array.shape[2]]
        array[:, (x + y < 15) | (x + y > 70)] = np.nan
    if what == "slices":
        array[:1] = np.nan
    if what == "frame":
        array[:, [0, -1]] = np.nan
    if what == "hole":
        array[1, 20:30, 10:30] = np.nan
    if what == "corner pixel":
        array[0, 0, 0] = np.nan
    if what == "infinite":
        array[:, 0] = np.inf
    if what == "nothing else":
        array[:] = np.nan
    return array


@pytest.mark.parametrize("what", ["wedges", "slices", "frame"])
@pytest.mark.parametrize("end", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_margins_of_nan_are_padding(what, end, tmp_path):
    array = margin(heart(1)[0], what)
    sitk.WriteImage(volume(array), tmp_path / f"a{end}")
    image = scans.read_image(tmp_path / f"a{end}")
    mask = measured.mask(image, measured.padding(image))
    np.testing.assert_array_equal(mask, ~np.isnan(array))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[mask], array[mask])


@pytest.mark.parametrize("what", ["hole", "corner pixel", "infinite", "nothing else"])
@pytest.mark.parametrize("end", [".nii.gz", ".nrrd"])
def test_other_pixels_that_are_no_numbers_are_refused(what, end, tmp_path):
    sitk.WriteImage(volume(margin(heart(1)[0], what)), tmp_path / f"a{end}")
    with pytest.raises(DataError, match=f"a{end}: .*(infinite|constant)"):
        scans.read_image(tmp_path / f"a{end}")
