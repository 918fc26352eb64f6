import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import dicom_tags, heart, write_image

from bwcr_tf.data.settings import Settings
from bwcr_tf.predict import scan_folder, segmentation
from bwcr_tf.system.errors import DataError

ONE = Settings(num_classes=4, size=48, pixel_mm=1.5, n4_shrink=0)
TWO = dataclasses.replace(ONE, windows=(None, None))


@pytest.fixture(scope="module")
def models(intensity_model):
    """Of one channel, and of two of which it looks at the second alone."""
    two = segmentation.load(intensity_model(TWO, ("T1", "T2")))
    return segmentation.load(intensity_model(ONE)), two


def noise(path, origin=(0, 0, 0)):
    pixels = np.random.default_rng(0).normal(300, 90, (3, 40, 44)).astype(np.int16)
    return write_image(path, pixels, origin=origin)


def predict(model, source, output):
    paths = scan_folder.by_case(scan_folder.find_scans(source, output), model.channels)
    return segmentation.predict_all(paths, model, output)


def write_series(folder, pixels):
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z, plane in enumerate(pixels):
        image = sitk.GetImageFromArray(plane[None])
        image.SetSpacing((1.5, 1.5, 8.0))
        for tag, value in dicom_tags(z, (0, 0, 8 * z)).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(folder / f"{z}.dcm")
        writer.Execute(image)


def labels(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(path))


def test_a_folder_of_channels_gives_one_prediction_for_each_case(models, tmp_path):
    one, two = models
    assert two.channels == ("T1", "T2")
    for seed, case in enumerate("ab"):
        noise(tmp_path / f"in/sub/{case}_0000.nii.gz")
        path = write_image(tmp_path / f"in/sub/{case}_0001.nii.gz", heart(seed)[0])
        segmentation.predict_all({case: path}, one, tmp_path / "alone")
    assert not predict(two, tmp_path / "in", tmp_path / "out")
    for case in "ab":
        found = labels(tmp_path / f"out/sub/{case}_labels.nii.gz")
        np.testing.assert_array_equal(found, labels(tmp_path / f"alone/{case}_labels.nii.gz"))
        assert len(np.unique(found)) == 4
    text = (tmp_path / "out/volumes.csv").read_text()
    assert [line.split(",")[0] for line in text.splitlines()] == ["scan", "sub/a", "sub/b"]
    assert not predict(two, tmp_path / "in/sub/a_0000.nii.gz", tmp_path / "single")
    assert (tmp_path / "single/a_labels.nii.gz").exists()


def test_outputs_lie_where_the_first_channel_does_whichever_one_is_named(models, tmp_path):
    noise(tmp_path / "in/a_0000.nii.gz")
    second = write_image(tmp_path / "in/a_0001.nii.gz", heart(1)[0], (1.5, 1.5, 8.0), (3, 6, 8))
    assert not predict(models[1], second, tmp_path / "out")
    found = sitk.ReadImage(tmp_path / "out/a_labels.nii.gz")
    np.testing.assert_allclose(found.GetOrigin(), (0, 0, 0), atol=1e-4)


def test_a_case_is_known_again_whichever_channel_is_named(models, tmp_path, capsys):
    noise(tmp_path / "in/a_0000.nii.gz")
    second = write_image(tmp_path / "in/a_0001.nii.gz", heart(1)[0])
    for source in (second, second, tmp_path / "in"):
        assert not predict(models[1], source, tmp_path / "out")
    assert "another scan" not in capsys.readouterr().err
    noise(tmp_path / "other/a_0000.nii.gz")
    other = write_image(tmp_path / "other/a_0001.nii.gz", heart(1)[0])
    assert not predict(models[1], other, tmp_path / "out")
    assert "replaces the predictions of another scan called a" in capsys.readouterr().err


def test_channels_may_be_folders_of_a_dicom_series_each(models, tmp_path):
    for k, pixels in enumerate((heart(2)[0][::-1], heart(1)[0])):
        write_series(tmp_path / f"in/a_{k:04}", pixels)
    assert not predict(models[1], tmp_path / "in", tmp_path / "out")
    alone = {"a": tmp_path / "in/a_0001"}
    segmentation.predict_all(alone, models[0], tmp_path / "alone")
    expected = labels(tmp_path / "alone/a_labels.nii.gz")
    np.testing.assert_array_equal(labels(tmp_path / "out/a_labels.nii.gz"), expected)
    assert len(np.unique(expected)) == 4


def test_cases_of_other_channels_are_refused_in_a_line_each_and_the_others_predicted(
    models, tmp_path
):
    for case in "abc":
        noise(tmp_path / f"in/{case}_0000.nii.gz")
        write_image(tmp_path / f"in/{case}_0001.nii.gz", heart(1)[0])
    (tmp_path / "in/a_0001.nii.gz").unlink()
    noise(tmp_path / "in/c_0002.nii.gz")
    noise(tmp_path / "in/d.nii.gz")
    noise(tmp_path / "in/sub/d.nii.gz")
    found = predict(models[1], tmp_path / "in", tmp_path / "out")
    told = "expected 0000 (T1), 0001 (T2)"
    assert [line.removeprefix(f"{tmp_path}/in/") for line in found] == [
        f"a_0001.nii.gz: the image of a is missing; found 0000, {told}",
        f"c_0002.nii.gz: channel 0002 of c; {told}",
        *(
            f"{name}: a name without a channel; expected d_0000.nii.gz (T1), d_0001.nii.gz (T2), "
            "the model's"
            for name in ("d.nii.gz", "sub/d.nii.gz")
        ),
    ]
    assert (tmp_path / "out/b_labels.nii.gz").exists()


def test_channels_are_refused_by_a_model_of_one(tmp_path):
    for k in range(2):
        noise(tmp_path / f"a_{k:04}.nii.gz")
        noise(tmp_path / f"patient_{k:04}.nii.gz", origin=(k, 0, 0))
    paths = scan_folder.find_scans(tmp_path, tmp_path / "out")
    assert scan_folder.by_case(paths, ("image",)) == paths and len(paths) == 4
    with pytest.raises(DataError, match=r"a_0001.nii.gz: .* second channel of a; expected one"):
        scan_folder.refuse_channels(paths)
    scan_folder.refuse_channels({n: p for n, p in paths.items() if n.startswith("patient")})


def test_dicom_series_that_are_channels_are_refused_by_a_model_of_one(tmp_path):
    for name, depth in {"a_0000": 3, "a_0001": 3, "b_0000": 3, "b_0001": 2}.items():
        write_series(tmp_path / name, heart(1)[0][:depth])
    (tmp_path / "a_0001/0.dcm").rename(tmp_path / "a_0001/9.dcm")
    paths = scan_folder.find_scans(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"a_0001: on the grid of a_0000, as a second channel"):
        scan_folder.refuse_channels(paths)
    scan_folder.refuse_channels({n: p for n, p in paths.items() if n.startswith("b")})
