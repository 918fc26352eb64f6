import importlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import ROOT, shared, write_image

import bwcr_tf
from bwcr_tf.data import preprocess, scans
from bwcr_tf.predict import segmentation
from bwcr_tf.system.errors import DataError

command = importlib.import_module("bwcr_tf.predict.__main__")
CLASSES = ("prostate", "other", "nowhere")
CODES = {"prostate": ["41216001", "Prostate", "Anatomical Structure"]}
MODEL = segmentation.Model(CLASSES, None, None, 8 * "0123abcd", CODES, ())


def extra():
    """highdicom; skips the test where the extra is not installed."""
    return pytest.importorskip("highdicom", reason="the extra dicom is not installed")


def series(number):
    """The folder of one of five real series."""
    found = shared("prostate_dicom").glob("*/*/*")
    return sorted(path for path in found if path.is_dir())[number]


def smooth_probabilities(image):
    """[Z, Y, X, 4] that follow the pixels of a scan; the last class is nowhere likely."""
    x = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(image, 2))
    x = (x - x.mean()) / x.std()
    logits = np.stack([0 * x, 2 * x - 1, -2 * x - 1, x - 9], axis=-1)
    p = np.exp(logits)
    return (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)


def on_grid(segmentation, image):
    """Array [Z, Y, X, segment] of a highdicom Segmentation, its slices put where a sitk.Image has
    them by their physical positions."""
    volume = segmentation.get_volume(combine_segments=False, rescale_fractional=False)
    affine = np.asarray(volume.affine)  # of [slice, row, column] to LPS
    found = np.full((*image.GetSize()[::-1], volume.array.shape[-1]), 255)
    for k, pixels in enumerate(volume.array):
        corners = [affine @ (k, *corner, 1) for corner in ((0, 0), (pixels.shape[0] - 1, 0))]
        first, last = (
            image.TransformPhysicalPointToContinuousIndex(c[:3].tolist()) for c in corners
        )
        np.testing.assert_allclose(first, (0, 0, round(first[2])), atol=0.01)
        np.testing.assert_allclose(last, (0, pixels.shape[0] - 1, round(first[2])), atol=0.01)
        found[round(first[2])] = pixels
    return found


def check(folder, path, image, labels, probabilities):
    """Reads both Segmentations of a scan back: every voxel, their source, their segments."""
    highdicom = extra()
    import pydicom

    sources = {pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in path}
    for what, kind in (("labels", "BINARY"), ("probabilities", "FRACTIONAL")):
        found = highdicom.seg.segread(folder / f"{what}.dcm")
        assert found.SegmentationType == kind
        pixels = on_grid(found, image)
        if kind == "BINARY":
            expected = np.stack([labels == c for c in range(1, 4)], axis=-1)
            np.testing.assert_array_equal(pixels, expected)
        else:
            assert (found.SegmentationFractionalType, found.MaximumFractionalValue) == (
                "PROBABILITY",
                255,
            )
            assert np.abs(pixels / 255 - probabilities[..., 1:]).max() <= 0.5 / 255 + 1e-6
            assert len(np.unique(pixels)) > 200
        referenced = found.ReferencedSeriesSequence[0]
        uids = {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence}
        assert uids == sources if kind == "FRACTIONAL" else uids <= sources
        first, second, _ = found.SegmentSequence
        coded = first.SegmentedPropertyTypeCodeSequence[0]
        assert (coded.CodeValue, coded.CodingSchemeDesignator) == ("41216001", "SCT")
        assert second.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Tissue"
        assert [item.SegmentLabel for item in found.SegmentSequence] == list(CLASSES)
        algorithm = first.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (
            "bwcr_tf",
            bwcr_tf.__version__,
        )


@pytest.fixture(scope="module", params=range(5))
def written(request, tmp_path_factory):
    """The folders of a real series and of its Segmentations, and what they are of."""
    extra()
    folder, output = series(request.param), tmp_path_factory.mktemp("written")
    image = scans.read_image(folder)
    probabilities = smooth_probabilities(image)
    command.dicom_writer({"a": folder})(output, folder, probabilities, MODEL)
    return folder, output, image, probabilities


def test_segmentations_of_a_real_series_hold_every_voxel(written):
    folder, output, image, probabilities = written
    files = sorted(folder.glob("*.dcm"))
    check(output, files, image, probabilities.argmax(axis=-1), probabilities)


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="no dciodvfy (dicom3tools) here")
def test_dciodvfy_finds_no_error_in_them(written):
    for what in ("labels", "probabilities"):
        line = ["dciodvfy", written[1] / f"{what}.dcm"]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        report = (done.stdout + done.stderr).splitlines()
        assert "Segmentation" in report  # the IOD that it was checked as
        assert not [text for text in report if "Error" in text]


def write_enhanced(path, heights):
    """An enhanced MR file of which frame k lies at heights[k] mm, and its pixels [Z, Y, X]."""
    import pydicom
    from pydicom.dataset import Dataset, FileMetaDataset

    pixels = np.random.default_rng(0).integers(0, 500, (len(heights), 12, 10)).astype(np.uint16)
    item = Dataset()
    item.PlaneOrientationSequence, item.PixelMeasuresSequence = [Dataset()], [Dataset()]
    item.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    item.PixelMeasuresSequence[0].PixelSpacing = [2, 2]
    item.PixelMeasuresSequence[0].SliceThickness = 3
    frames = []
    for height in heights:
        frame = Dataset()
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [-10, -20, height]
        frames.append(frame)
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    image.SOPClassUID, image.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.3.4"
    image.StudyInstanceUID, image.SeriesInstanceUID = "1.2.3.5", "1.2.3.6"
    image.FrameOfReferenceUID, image.Modality = "1.2.3.7", "MR"
    image.PatientID = image.PatientName = image.PatientBirthDate = image.PatientSex = ""
    image.StudyID = image.StudyDate = image.StudyTime = image.AccessionNumber = ""
    image.ReferringPhysicianName = ""
    image.SharedFunctionalGroupsSequence = [item]
    image.PerFrameFunctionalGroupsSequence = frames
    image.NumberOfFrames, image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.PixelData = 15, 0, pixels.tobytes()
    image.save_as(path, enforce_file_format=True)


def test_frames_of_one_file_keep_their_places(tmp_path):
    extra()
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, (6, 0, 9, 3))
    write = command.dicom_writer({"a": path})
    image = scans.read_image(path)
    probabilities = smooth_probabilities(image)
    write(tmp_path, path, probabilities, MODEL)
    check(tmp_path, [path], image, probabilities.argmax(axis=-1), probabilities)


@pytest.mark.parametrize("groups", ["per frame", "none shared"])
def test_frames_that_keep_their_measures_themselves_are_written(groups, tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    extra()
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, (6, 0, 9, 3))
    source = pydicom.dcmread(path)
    shared_group = source.SharedFunctionalGroupsSequence[0]
    for frame in source.PerFrameFunctionalGroupsSequence:
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            frame[name] = shared_group[name]
    source.SharedFunctionalGroupsSequence = (
        [] if groups == "none shared" else [pydicom.Dataset()]
    )
    source.save_as(path)
    image = scans.read_image(path)
    probabilities = smooth_probabilities(image)
    command.dicom_writer({"a": path})(tmp_path, path, probabilities, MODEL)
    check(tmp_path, [path], image, probabilities.argmax(axis=-1), probabilities)


def test_a_series_that_is_read_gets_its_segmentations(tmp_path):
    """Without a SliceThickness, with orientations that differ in a digit, and number -1."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    extra()
    for k, file in enumerate(sorted(series(0).glob("*.dcm"))):
        source = pydicom.dcmread(file)
        del source.SliceThickness
        source.ImageOrientationPatient[0] += 1e-5 * k
        source.SeriesNumber = -1
        source.save_as(tmp_path / f"{k:02}.dcm")
    files = sorted(tmp_path.glob("*.dcm"))
    image = scans.read_image(tmp_path)
    probabilities = smooth_probabilities(image)
    (tmp_path / "out").mkdir()
    command.dicom_writer({"a": tmp_path})(tmp_path / "out", tmp_path, probabilities, MODEL)
    check(tmp_path / "out", files, image, probabilities.argmax(axis=-1), probabilities)


def test_a_scan_in_which_nothing_was_found_is_an_empty_segmentation(tmp_path):
    highdicom = extra()
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, (0, 3))
    probabilities = np.zeros((2, 12, 10, 4), np.float32)
    probabilities[..., 0] = 1
    command.dicom_writer({"a": path})(tmp_path, path, probabilities, MODEL)
    for what in ("labels", "probabilities"):
        assert not highdicom.seg.segread(tmp_path / f"{what}.dcm").pixel_array.any()


@pytest.mark.parametrize(
    ("number", "expected"),
    [(7, (701, 702)), (21474836, (2147483601, 2147483602)), (21474837, (21474837,) * 2)],
)
def test_series_numbers_are_those_of_the_source_and_in_range(number, expected, tmp_path):
    """That of an integer string: -2^31 to 2^31 - 1 (PS3.5, 6.2)."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    extra()
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, (0, 3, 6, 9))
    source = pydicom.dcmread(path)
    source.SeriesNumber = number
    source.save_as(path)
    probabilities = smooth_probabilities(scans.read_image(path))
    command.dicom_writer({"a": path})(tmp_path, path, probabilities, MODEL)
    names = [f"{what}.dcm" for what in ("labels", "probabilities")]
    assert (
        tuple(int(pydicom.dcmread(tmp_path / name).SeriesNumber) for name in names) == expected
    )


def test_names_keep_their_letters_whatever_the_character_set_of_the_source(tmp_path):
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    extra()
    path = tmp_path / "enhanced.dcm"
    write_enhanced(path, (0, 3, 6, 9))
    source = pydicom.dcmread(path)
    source.SpecificCharacterSet, source.PatientName = "ISO_IR 100", "Müller^Jörg"
    source.save_as(path)
    model = segmentation.Model(("tumör", "肿瘤", "nowhere"), None, None, 8 * "0123abcd", {}, ())
    probabilities = smooth_probabilities(scans.read_image(path))
    command.dicom_writer({"a": path})(tmp_path, path, probabilities, model)
    found = pydicom.dcmread(tmp_path / "labels.dcm")
    assert [s.SegmentLabel for s in found.SegmentSequence] == ["tumör", "肿瘤", "nowhere"]
    assert found.PatientName == "Müller^Jörg"


def test_prediction_of_a_series_gives_the_same_in_nifti_and_dicom(intensity_model, tmp_path):
    extra()
    folder = series(0)
    settings = preprocess.Settings(4, 96, 2.0, n4_shrink=0)
    model = segmentation.load(intensity_model(settings))
    write = command.dicom_writer({"a": folder})
    assert not segmentation.predict_all({"a": folder}, model, tmp_path, write_also=write)
    labels = sitk.ReadImage(tmp_path / "a_labels.nii.gz")
    p = np.moveaxis(
        sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "a_probabilities.nii.gz")), 0, -1
    )
    highdicom = extra()
    for what, expected in (
        ("labels", sitk.GetArrayFromImage(labels)[..., None] == np.arange(1, 4)),
        ("probabilities", np.rint(255 * p[..., 1:])),
    ):
        found = on_grid(highdicom.seg.segread(tmp_path / f"a_{what}.dcm"), labels)
        np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_written_is_known_before_anything_is_predicted(
    intensity_model, tmp_path, monkeypatch
):
    path = write_image(tmp_path / "a.nii.gz", np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    with monkeypatch.context() as patched:
        patched.delitem(sys.modules, "bwcr_tf.predict.dicom_segmentation", raising=False)
        patched.delattr("bwcr_tf.predict.dicom_segmentation", raising=False)
        patched.setitem(sys.modules, "highdicom", None)
        with pytest.raises(DataError, match=r"highdicom is missing: pip install '\.\[dicom\]'"):
            command.dicom_writer({"a": path})
    extra()
    with pytest.raises(DataError, match="a.nii.gz: not DICOM; expected DICOM series"):
        command.dicom_writer({"a": path})


def test_command_says_so_in_one_line_and_predicts_nothing(tmp_path):
    path = write_image(tmp_path / "in" / "a.nii.gz", np.zeros((3, 4, 5), np.int16))
    line = [sys.executable, "-m", "bwcr_tf.predict", f"--model={tmp_path}", f"--input={path}"]
    line += [f"--output={tmp_path / 'out'}", "--dicom_seg"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and len(done.stderr.strip().splitlines()) == 1
    assert "not DICOM" in done.stderr or "pip install '.[dicom]'" in done.stderr
    assert not (tmp_path / "out").exists()
