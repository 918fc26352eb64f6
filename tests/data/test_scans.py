import pathlib

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, write_image

from bwcr_tf.data import preprocess, scans, subjects
from bwcr_tf.system.errors import DataError


def broken(tmp_path, what):
    """A volume's (image path, label path) with one thing wrong."""
    image, label_map = heart(1)
    spacing = (1.5, 1.5, 8.0)
    if what == "nan":
        image = image.astype(np.float32)
        image[0, 0, 0] = np.nan
    if what == "constant":
        image[:] = 7
    if what == "value":
        label_map[0, 0, 0] = 4
    if what == "shape":
        label_map = label_map[:, 1:]
    if what == "four":
        image = np.stack([image, image])
    path = write_image(tmp_path / "i.nii.gz", image, (*spacing, 1.0)[: image.ndim])
    spacing = (1.6, 1.5, 8.0) if what == "geometry" else spacing
    label = write_image(tmp_path / "l.nii.gz", label_map, spacing)
    if what == "truncated":
        path.write_bytes(path.read_bytes()[:-2000])
    if what == "empty":
        path.write_bytes(b"")
    return path, label


@pytest.mark.parametrize(
    "what, message",
    [
        ("nan", "i.nii.gz: 1 pixels are NaN"),
        ("constant", "i.nii.gz: constant image, every pixel is 7"),
        ("value", r"l.nii.gz: label values \[4\]; expected 0 to 3"),
        ("shape", r"l.nii.gz: size \(44, 39, 3\); expected \(44, 40, 3\)"),
        ("geometry", r"l.nii.gz: spacing \(1.6, 1.5, 8.0\); expected \(1.5, 1.5, 8.0\)"),
        ("truncated", "i.nii.gz: cannot be read"),
        ("empty", "i.nii.gz: cannot be read"),
        ("four", "i.nii.gz: 4D with 1 components"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, what, message):
    image_path, label_path = broken(tmp_path, what)
    with pytest.raises(DataError, match=message) as caught:
        image = scans.read_image(image_path)
        scans.read_label(label_path, image, num_classes=4)
    assert "\n" not in str(caught.value)


def test_a_folder_without_dicom_is_refused_by_its_header_as_by_its_pixels(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    for read in (scans.read_header, scans.read_image):
        with pytest.raises(DataError) as caught:
            read(tmp_path)
        assert str(caught.value) == f"{tmp_path}: 0 DICOM series in 0 files; expected one"


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_endings_in_capitals_are_read(ending, tmp_path):
    path = write_image(tmp_path / f"a{ending}", heart(1)[0])
    large = path.rename(tmp_path / f"A{ending.upper()}")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(scans.read_image(large)), heart(1)[0])


def test_good_files_pass(tmp_path):
    image_path, label_path = map(pathlib.Path, broken(tmp_path, "nothing"))
    image = scans.read_image(image_path)
    label = scans.read_label(label_path, image, num_classes=4)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(label), heart(1)[1])


@pytest.mark.parametrize("spacing, origin", [(0.005, 0.008), (0.0057, 0)])
def test_a_label_off_by_a_pixel_is_refused_in_micrometres_too(spacing, origin, tmp_path):
    pixels, label_map = heart(1)
    image = scans.read_image(write_image(tmp_path / "i.nrrd", pixels, (0.005,) * 3))
    label = write_image(tmp_path / "l.nrrd", label_map, (spacing, 0.005, 0.005), (origin, 0, 0))
    with pytest.raises(DataError, match="expected .*, the image's"):
        scans.read_label(label, image, 4)
    same = write_image(tmp_path / "same.nrrd", label_map, (0.005 + 1e-9,) * 3)
    assert scans.read_label(same, image, 4).GetSize() == image.GetSize()


def test_probabilities_are_read_whole_or_refused(tmp_path):
    image = scans.read_image(broken(tmp_path, "nothing")[0])
    truth = np.random.default_rng(0).random((3, 40, 44, 4), np.float32)
    content = sitk.GetImageFromArray(truth, isVector=True)
    content.CopyInformation(image)
    path = tmp_path / "truth.nii.gz"
    sitk.WriteImage(content, path)
    found = sitk.GetArrayFromImage(scans.read_probabilities(path, image, 4))
    np.testing.assert_array_equal(found, truth)
    with pytest.raises(DataError, match="4 components a pixel; expected 3"):
        scans.read_probabilities(path, image, 3)
    with pytest.raises(DataError, match="size .* expected"):
        scans.read_probabilities(path, image[1:], 4)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="truth.nii.gz: cannot be read"):
        scans.read_probabilities(path, image, 4)


def test_more_than_256_classes_are_read_and_preprocessed_as_they_are(tmp_path):
    image_array, label_map = heart(1)
    many = np.array([0, 255, 256, 299])[label_map].astype(np.uint16)
    image = write_image(tmp_path / "i.nii.gz", image_array)
    label = write_image(tmp_path / "l.nii.gz", many)
    found = scans.read_label(label, scans.read_image(image), num_classes=300)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), many)
    settings = preprocess.Settings(300, 64, 1.5, n4_shrink=0)
    case = preprocess.preprocess(subjects.Volume("a", image, label), settings)
    assert set(np.unique(case.label_map)) == {0, 255, 256, 299}
    with pytest.raises(DataError, match="expected 0 to 298"):
        scans.read_label(label, scans.read_image(image), num_classes=299)
