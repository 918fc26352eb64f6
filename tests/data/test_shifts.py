import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, write_image
from scipy import ndimage, stats

from bwcr_tf.data import cache, measured, preprocess, scans, shifts
from bwcr_tf.data.settings import Settings
from bwcr_tf.data.subjects import Subject, Volume
from bwcr_tf.system.errors import DataError

SETTINGS = Settings(num_classes=4, size=32, pixel_mm=2.0, n4_shrink=0)
PIXELS = (1.25 / 2, 1.5 / 2)  # of `scan`, rows and columns


@pytest.fixture
def scan():
    image = sitk.GetImageFromArray(heart(1)[0].astype(np.float32))
    image.SetSpacing((1.5, 1.25, 8.0))
    image.SetOrigin((3, -7, 11))
    return image


def shifted(image, name, severity, seed="a"):
    found = shifts.apply(image, name, severity, SETTINGS, seed)
    for what in ("Size", "Spacing", "Origin", "Direction"):
        assert getattr(found, f"Get{what}")() == getattr(image, f"Get{what}")()
    return sitk.GetArrayFromImage(found).astype(np.float64)


def unit(array):
    """(low, range) of the intensities that become 0 and 1."""
    low, high = np.percentile(array, (2, 98))
    return low, high - low


@pytest.mark.parametrize("name", shifts.SHIFTS)
def test_a_shift_grows_with_its_severity(name, scan):
    original = sitk.GetArrayFromImage(scan)
    rms = [np.sqrt(np.square(shifted(scan, name, s) - original).mean()) for s in range(1, 6)]
    assert (np.diff(rms) > 0).all()
    assert rms[0] > 0.01 * unit(original)[1] and rms[4] < 1.5 * unit(original)[1]


@pytest.mark.parametrize("name", shifts.SHIFTS)
def test_a_shift_depends_on_the_scan_alone_not_on_how_it_is_stored(name, scan):
    first = shifted(scan, name, 3)
    np.testing.assert_array_equal(first, shifted(scan, name, 3))
    turned = sitk.DICOMOrient(scan, "AIR")
    found = shifts.apply(turned, name, 3, SETTINGS, "a")
    back = sitk.GetArrayFromImage(sitk.DICOMOrient(found, "LPS"))
    np.testing.assert_allclose(back, first, rtol=1e-5)
    if name in ("noise", "bias", "ghosting"):
        assert not np.array_equal(first, shifted(scan, name, 3, "b"))


@pytest.mark.parametrize("code", ["LPS", "PIR", "LIA"])
def test_a_shifted_scan_at_45_degrees_is_stored_as_it_was(code):
    """Its axes read as either of two."""
    array = np.random.default_rng(0).uniform(0, 100, (12, 12, 12)).astype(np.float32)
    image = sitk.GetImageFromArray(array)
    half = np.sqrt(0.5)
    settings = dataclasses.replace(SETTINGS, orientation=code)
    for turn in (
        [1, 0, 0, 0, half, -half, 0, half, half],
        [half, -half, 0, half, half, 0, 0, 0, 1],
    ):
        image.SetDirection(turn)
        found = shifts.apply(image, "noise", 1, settings, "a")
        assert np.corrcoef(sitk.GetArrayFromImage(found).ravel(), array.ravel())[0, 1] > 0.9


def test_noise_is_gaussian_of_its_standard_deviation(scan):
    original = sitk.GetArrayFromImage(scan)
    added = (shifted(scan, "noise", 2) - original) / unit(original)[1]
    assert added.std() == pytest.approx(0.1, rel=0.03) and abs(added.mean()) < 0.005
    assert stats.kstest(added.ravel() / 0.1, "norm").pvalue > 0.01


def test_noise_of_ct_is_in_units_of_its_window(tmp_path, scan):
    sitk.WriteImage(scan, path := tmp_path / "scan.nii.gz")
    sitk.WriteImage(sitk.Cast(0 * scan, sitk.sitkUInt8), label := tmp_path / "label.nii.gz")
    low, high = -4e3, 4e3  # far beyond all intensities, so that nothing is clipped
    settings = dataclasses.replace(SETTINGS, pixel_mm=1.5, windows=((low, high),))
    shifted, plain = (
        preprocess.preprocess(Volume("a", path, label), settings, shift=shift).image
        for shift in (("noise", 1), None)
    )
    assert 0.03 < (shifted - plain).std() < 0.05  # 0.05, less what resampling smooths


def test_blur_is_scipy_s_at_the_pixels_of_the_model(scan):
    original = sitk.GetArrayFromImage(scan).astype(np.float64)
    sigma = 0, 1.5 / PIXELS[0], 1.5 / PIXELS[1]
    expected = ndimage.gaussian_filter(original, sigma, mode="nearest")
    np.testing.assert_allclose(shifted(scan, "blur", 3), expected, rtol=1e-4)


def test_bias_is_a_smooth_factor_of_its_size(scan):
    original = sitk.GetArrayFromImage(scan).astype(np.float64)
    lowest = original.min()
    kept = original > lowest + 50
    field = np.log((shifted(scan, "bias", 3) - lowest)[kept] / (original - lowest)[kept])
    assert 0.3 < np.abs(field).max() <= 0.6 + 1e-4
    places = np.stack(
        np.meshgrid(*(np.linspace(-1, 1, n) for n in original.shape), indexing="ij")
    )
    powers = [p for p in np.ndindex(4, 4, 4) if sum(p) <= 3]
    basis = np.stack(
        [np.prod([c**k for c, k in zip(places, p, strict=True)], axis=0)[kept] for p in powers]
    )
    fit = np.linalg.lstsq(basis.T, field, rcond=None)[0] @ basis
    np.testing.assert_allclose(fit, field, atol=1e-3)


def test_contrast_keeps_the_order_and_both_percentiles(scan):
    original = sitk.GetArrayFromImage(scan).astype(np.float64)
    found = shifted(scan, "contrast", 4)
    order = np.argsort(original, axis=None)
    assert (np.diff(found.ravel()[order]) >= 0).all()
    np.testing.assert_allclose(unit(found), unit(original), rtol=1e-3)
    low, width = unit(original)
    power = np.log((np.median(found) - low) / width) / np.log(
        (np.median(original) - low) / width
    )
    assert min(abs(power - 2.5), abs(power - 0.4)) < 0.02


def test_contrast_is_raised_in_some_scans_and_lowered_in_others():
    drawn = {
        float(shifts.contrast(np.array([0.5]), 2.5, None, np.random.default_rng(seed))[0])
        for seed in range(20)
    }
    assert sorted(drawn) == pytest.approx([0.5**2.5, 0.5**0.4])


def test_two_channels_of_a_scan_have_noise_of_their_own(tmp_path):
    image, label = heart(1)
    image, label = (
        write_image(tmp_path / f"{k}.nii.gz", a) for k, a in enumerate((image, label))
    )
    volume = Volume("a", image, label, other_channels=(image,))
    settings = dataclasses.replace(SETTINGS, windows=(None, None))
    first, second = np.moveaxis(
        preprocess.preprocess(volume, settings, "a", ("noise", 3)).image, -1, 0
    )
    plain = preprocess.preprocess(volume, settings, "a").image[..., 0]
    assert abs(np.corrcoef((first - plain).ravel(), (second - plain).ravel())[0, 1]) < 0.9


def test_motion_leaves_the_magnitude_of_k_space_and_a_still_body_as_they_are():
    image = heart(1)[0].astype(np.float64)
    motion = 2 * np.sin(np.arange(40))
    found = shifts.moved(image, motion)
    spectra = [np.abs(np.fft.fft2(a)) for a in (found, image)]
    np.testing.assert_allclose(*spectra, rtol=1e-9, atol=1e-6)
    assert np.abs(np.abs(found) - image).max() > 50
    np.testing.assert_allclose(shifts.moved(image, 0 * motion), image, atol=1e-9)
    aside = shifts.moved(
        image, np.full(40, 3.0)
    )  # the same for all lines: a shift of the image
    np.testing.assert_allclose(aside, np.roll(image, 3, axis=1), atol=1e-6)


def test_lower_resolution_has_no_detail_below_its_pixels_and_the_same_mean(scan):
    original = sitk.GetArrayFromImage(scan).astype(np.float64)
    found = shifted(scan, "resolution", 5)  # 10 mm
    assert found.mean() == pytest.approx(original.mean(), rel=0.01)
    spectra = [np.abs(np.fft.fft(a, axis=1)) for a in (found, original)]
    fine = np.abs(np.fft.fftfreq(40, 1.25)) > 1 / 10
    assert spectra[0][:, fine].mean() < 0.2 * spectra[1][:, fine].mean()


def test_padding_and_a_constant_border_stay(tmp_path):
    array = heart(1)[0].astype(np.float32)
    array[:, :8] = np.nan
    path = write_image(tmp_path / "a.nii.gz", array)
    image = scans.read_image(path)
    found = shifts.apply(image, "noise", 5, SETTINGS, "a")
    assert measured.padding(found) == measured.padding(image)
    same = sitk.GetArrayFromImage(found) == sitk.GetArrayFromImage(image)
    assert same[:, :8].all() and not same[:, 8:].any()


def test_shifted_cases_have_cache_files_of_their_own(tmp_path):
    image, label = heart(1)
    paths = [
        write_image(tmp_path / f"{name}.nii.gz", a) for name, a in (("i", image), ("l", label))
    ]
    subjects = [Subject("a", "", (Volume("a_ED", *paths),))]
    plain = preprocess.preprocess(subjects[0].volumes[0], SETTINGS, "a")
    noisy, worse, again = (
        cache.prepare(subjects, SETTINGS, tmp_path / "cache", 1, shift)[0]
        for shift in (("noise", 1), ("noise", 2), ("noise", 1))
    )
    assert len(list((tmp_path / "cache").iterdir())) == 2
    np.testing.assert_array_equal(noisy.image, again.image)
    np.testing.assert_array_equal(noisy.label_map, plain.label_map)
    distances = [np.square(case.image - plain.image).mean() for case in (noisy, worse)]
    assert 0 < distances[0] < distances[1]
    expected = preprocess.preprocess(subjects[0].volumes[0], SETTINGS, "a", ("noise", 2)).image
    np.testing.assert_array_equal(worse.image, expected)


@pytest.mark.parametrize("text", ["noise", "noise:0", "noise:6", "snow:1", "noise:x", ""])
def test_what_is_no_shift_is_refused(text):
    with pytest.raises(DataError, match="expected NAME:SEVERITY of noise, .* and 1 to 5"):
        shifts.parse(text)
    assert shifts.parse("noise:3") == ("noise", 3)


def test_what_ct_does_not_have_is_refused_for_any_channel_of_ct():
    for windows in (((-100, 200),), (None, (-100, 200))):
        for name in ("bias", "ghosting"):
            with pytest.raises(DataError, match=f"shift={name}:5: not of CT; expected"):
                shifts.parse(f"{name}:5", windows)
        assert shifts.parse("noise:5", windows) == ("noise", 5)
    assert shifts.parse("bias:5", (None, None)) == ("bias", 5)  # so of the layout of CURVAS
