"""Series and files of frames, written by hand and real ones."""

import shutil

import dicom_writer
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import shared

from bwcr_tf.data import dicom, measured, scans
from bwcr_tf.system.errors import DataError

VOLUME = np.random.default_rng(0).integers(0, 1000, (5, 8, 10)).astype(np.int16)
SIN, COS = 0.2, np.sqrt(1 - 0.04)


def pixels(image):
    return sitk.GetArrayFromImage(image)


def refused(path, message):
    with pytest.raises(DataError, match=f"{path.name}.*: .*{message}") as caught:
        scans.read_image(path)
    assert "\n" not in str(caught.value)


def test_files_with_other_formats_endings_are_not_opened_as_dicom(tmp_path):
    for name in "a.nii.gz", "b", "c.dcm", "d":
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" * (name != "d"))
    assert [file.name for file in dicom.dicom_files(tmp_path)] == ["b", "c.dcm"]


def test_a_series_lies_where_its_header_says(tmp_path):
    image = scans.read_image(dicom_writer.write_series(tmp_path / "a", VOLUME))
    assert (image.GetSpacing(), image.GetOrigin()) == ((2, 2, 6), (-10, -20, 0))
    np.testing.assert_array_equal(pixels(image), VOLUME)


def test_tilted_slices_are_read_where_their_steps_follow_the_normal(tmp_path):
    axes = (1, 0, 0, 0, COS, SIN)
    straight = dicom_writer.write_series(
        tmp_path / "straight", VOLUME, lambda k: (0, -6 * k * SIN, 6 * k * COS), axes=axes
    )
    image = scans.read_image(straight)
    np.testing.assert_allclose(
        image.TransformIndexToPhysicalPoint((0, 0, 4)), (0, -24 * SIN, 24 * COS)
    )
    refused(dicom_writer.write_series(tmp_path / "tilt", VOLUME, axes=axes), "lean by 11.5 deg")


def test_sagittal_slices_are_in_the_order_of_their_positions(tmp_path):
    axes = (0, 1, 0, 0, 0, -1)  # their normal is -x, so that the last file is the first slice
    folder = dicom_writer.write_series(
        tmp_path / "a", VOLUME, lambda k: (6 * k, 0, 0), axes=axes
    )
    image = scans.read_image(folder)
    np.testing.assert_array_equal(pixels(image), VOLUME[::-1])
    assert image.GetOrigin() == (24, 0, 0) and image.GetSpacing()[2] == 6


@pytest.mark.parametrize(
    "position, message",
    [
        (lambda k: (2 * k, 0, 6 * k), "lean by 18.4 degrees"),
        (lambda k: (0, 0, 6 * k + 6 * (k > 2)), "6 to 12 mm apart; expected one step"),
        (lambda k: (0, 0, 6 * (k % 4)), "0 to 6 mm apart; two slices in one place"),
        (lambda k: (2 * (k % 2), 0, 6 * k), "off a straight line"),
    ],
)
def test_steps_that_are_not_one_step_along_the_normal_are_refused(position, message, tmp_path):
    refused(dicom_writer.write_series(tmp_path / "a", VOLUME, position), message)


def test_slices_of_several_orientations_are_refused(tmp_path):
    def edit(k):
        return {0x00200037: ("DS", (1, 0, 0, 0, 0.8, 0.6))} if k == 3 else {}

    folder = dicom_writer.write_series(tmp_path / "a", VOLUME, edit=edit)
    refused(folder, "several orientations; expected one")


def test_slices_of_several_spacings_or_sizes_are_refused(tmp_path):
    def edit(k):
        return {0x00280030: ("DS", (2, 2 + 0.1 * (k == 3)))}

    refused(
        dicom_writer.write_series(tmp_path / "a", VOLUME, edit=edit), "expected one spacing"
    )
    dicom_writer.write_series(tmp_path / "b", VOLUME)
    dicom_writer.write(tmp_path / "b" / "2.dcm", VOLUME[2, 1:], dicom_writer.place((0, 0, 12)))
    refused(tmp_path / "b", "not match the required size")


@pytest.mark.parametrize(
    "tag, message",
    [
        (0x00280030, "no PixelSpacing"),
        (0x00200032, "no ImagePositionPatient"),
        (0x00200037, "no ImageOrientationPatient"),
    ],
)
def test_geometry_that_is_not_there_is_not_made_up(tag, message, tmp_path):
    def edit(k):
        return {tag: None} if k == 2 else {}

    folder = dicom_writer.write_series(tmp_path / "a", VOLUME, edit=edit)
    refused(folder, f"2.dcm: {message}")
    refused(folder / "2.dcm", message)


def test_a_mosaic_is_refused(tmp_path):
    def edit(k):
        return {0x00080008: ("CS", r"ORIGINAL\PRIMARY\M\MOSAIC")}

    refused(dicom_writer.write_series(tmp_path / "a", VOLUME[:1], edit=edit), "0.dcm: a mosaic")


def test_inverted_pixels_are_refused(tmp_path):
    def edit(k):
        return {0x00280004: ("CS", f"MONOCHROME{1 if k == 2 else 2}")}

    folder = dicom_writer.write_series(tmp_path / "a", VOLUME, edit=edit)
    message = "2.dcm: PhotometricInterpretation MONOCHROME1; expected MONOCHROME2"
    refused(folder, message)
    refused(folder / "2.dcm", message)


def test_a_lone_slice_takes_its_thickness_or_is_refused(tmp_path):
    folder = dicom_writer.write_series(tmp_path / "a", VOLUME[:1])
    for path in (folder, folder / "0.dcm"):
        assert scans.read_image(path).GetSpacing() == (2, 2, 6)
    apart = {0x00280030: ("DS", (2, 3))}  # rows 2 mm, columns 3 mm
    folder = dicom_writer.write_series(tmp_path / "d", VOLUME[:1], edit=lambda k: apart)
    assert scans.read_image(folder).GetSpacing() == (3, 2, 6)

    def edit(k):
        return {0x00180050: None}

    refused(dicom_writer.write_series(tmp_path / "b", VOLUME[:1], edit=edit), "SliceThickness")
    several = dicom_writer.write_series(tmp_path / "c", VOLUME, edit=edit)
    assert scans.read_image(several).GetSpacing() == (2, 2, 6)


def test_rescale_slopes_that_differ_keep_every_slices_values(tmp_path):
    slopes = (1, 1e-4, 2.5, 1e-3, 7)

    def edit(k):
        return {0x00281052: ("DS", (k,)), 0x00281053: ("DS", (slopes[k],))}

    found = pixels(
        scans.read_image(dicom_writer.write_series(tmp_path / "a", VOLUME, edit=edit))
    )
    expected = VOLUME * np.array(slopes)[:, None, None] + np.arange(5)[:, None, None]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    positions, rescale = (
        [(0, 0, 6 * k) for k in range(5)],
        [*zip(slopes, range(5), strict=True)],
    )
    path = dicom_writer.write_frames(tmp_path / "f.dcm", VOLUME, positions, rescale=rescale)
    np.testing.assert_allclose(pixels(scans.read_image(path)), expected, rtol=1e-6)


@pytest.mark.parametrize("signed, value", [(("SS", -2000), -2000), (("US", 63536), -2000)])
def test_declared_padding_is_not_measured_wherever_it_is(signed, value, tmp_path):
    volume = VOLUME.copy()
    volume[:, :3, :4] = value
    volume[1, 5, 5] = value
    elements = {
        0x00280120: signed,
        0x00281052: ("DS", (-24,)),
        0x00281053: ("DS", (0.5,)),
    }
    folder = dicom_writer.write_series(tmp_path / "a", volume, edit=lambda k: elements)
    image = scans.read_image(folder)
    expected = volume != value
    np.testing.assert_array_equal(measured.mask(image, measured.padding(image)), expected)
    np.testing.assert_array_equal(pixels(image)[expected], volume[expected] * 0.5 - 24)
    assert pixels(image)[~expected].max() < pixels(image)[expected].min()


def test_a_range_of_padding_is_not_measured(tmp_path):
    def edit(k):
        return {0x00280120: ("SS", 0), 0x00280121: ("SS", 9)}

    image = scans.read_image(dicom_writer.write_series(tmp_path / "a", VOLUME, edit=edit))
    np.testing.assert_array_equal(measured.mask(image, measured.padding(image)), VOLUME > 9)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (0, 2, 4, 1, 3)])
def test_frames_come_in_the_order_of_their_positions(order, tmp_path):
    positions = [(-10, -20, 6 * k) for k in order]
    path = dicom_writer.write_frames(tmp_path / "a" / "f.dcm", VOLUME[list(order)], positions)
    for found in (path, path.parent):
        image = scans.read_image(found)
        np.testing.assert_array_equal(pixels(image), VOLUME)
        assert image.GetSpacing() == (3, 2, 6) and image.GetOrigin() == (-10, -20, 0)
        assert scans.read_header(found) == ("LPS", (10, 8, 5), (3, 2, 6))


@pytest.mark.parametrize(
    "steps, message",
    [
        ((0, 1, 2, 4, 5), "6 to 12 mm apart; expected one step"),
        ((0, 1, 2, 0, 1), "two slices in one place"),
        ((0, 1, 2, 3), "4 frames of 5 with a position in the functional groups"),
    ],
)
def test_frames_that_are_no_volume_are_refused(steps, message, tmp_path):
    positions = [(0, 0, 6 * k) for k in steps]
    refused(dicom_writer.write_frames(tmp_path / "f.dcm", VOLUME, positions), message)


def test_frames_without_spacing_or_in_several_files_are_refused(tmp_path):
    positions = [(0, 0, 6 * k) for k in range(5)]
    path = dicom_writer.write_frames(tmp_path / "f.dcm", VOLUME, positions, measures=False)
    refused(path, "no PixelSpacing")
    for name in ("1.dcm", "2.dcm"):
        dicom_writer.write_frames(tmp_path / "b" / name, VOLUME, positions)
    refused(tmp_path / "b", "10 frames in 2 files")


def test_a_real_series_is_read_whole_alone_and_not_with_a_gap(tmp_path):
    series = next(shared("prostate_dicom").rglob("*.dcm")).parent
    whole = scans.read_image(series)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    expected = sitk.Cast(reader.Execute(), sitk.sitkFloat32)
    np.testing.assert_array_equal(pixels(whole), pixels(expected))
    np.testing.assert_allclose(whole.GetOrigin(), expected.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(whole.GetDirection(), expected.GetDirection(), atol=1e-6)
    np.testing.assert_allclose(whole.GetSpacing(), expected.GetSpacing(), atol=1e-5)
    copy = shutil.copytree(series, tmp_path / "series")
    (copy / "._1.dcm").write_bytes(b"\0\5\x16\7")
    assert scans.read_image(copy).GetSize() == whole.GetSize()
    files = sorted(copy.glob("[!.]*.dcm"))
    files[len(files) // 2].unlink()
    refused(copy, "3 to 6 mm apart; expected one step")
    for file in files[1:]:
        file.unlink(missing_ok=True)
    assert scans.read_image(copy).GetSpacing() == (0.5, 0.5, 3)
