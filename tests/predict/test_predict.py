import csv
import dataclasses
import gc
import itertools
import os
import pathlib
import resource
import shutil
import struct
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import ROOT, dicom_tags, heart, write_image
from scipy import ndimage, special

from bwcr_tf.data import channels, grids, preprocess, scans
from bwcr_tf.data.subjects import Volume
from bwcr_tf.evaluation import calibration, inference, volume_scans, volume_scores, volumes
from bwcr_tf.export import manifest
from bwcr_tf.predict import (
    orientation,
    outputs,
    page,
    scan_folder,
    segmentation,
    volumetry,
    whole_scan,
)
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError

SETTINGS = preprocess.Settings(num_classes=4, size=48, pixel_mm=1.5, n4_shrink=0)
BRIGHTNESS = np.percentile(heart(1)[0], (2, 98))  # 0 and 1 of `intensity_model`
OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def model(intensity_model):
    return segmentation.load(intensity_model(SETTINGS))


def scan(seed=1, shape=(3, 40, 44), spacing=(1.5, 1.25, 8.0), direction=OBLIQUE):
    image = sitk.GetImageFromArray(heart(seed, shape)[0])
    image.SetSpacing(spacing)
    image.SetOrigin((12.5, -33.25, 101.0))
    image.SetDirection(direction)
    return image


def save(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, path)
    return path


def same_geometry(found, expected):
    assert found.GetSize()[:3] == expected.GetSize()
    for what in ("Spacing", "Origin"):
        values = [getattr(image, f"Get{what}")()[:3] for image in (found, expected)]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-5)
    directions = [
        np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[:3, :3]
        for image in (found, expected)
    ]
    np.testing.assert_allclose(*directions, rtol=0, atol=1e-6)


def visible(folder):
    """Names of what is in a folder, but for its lock."""
    return [name for name in os.listdir(folder) if name != ".lock"]


def overlap(found, expected):
    """Mean Dice of the foreground classes, by SimpleITK."""
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(sitk.Cast(expected, sitk.sitkUInt8), sitk.Cast(found, sitk.sitkUInt8))
    return np.mean([measure.GetDiceCoefficient(c) for c in (1, 2, 3)])


def label_map(image, model):
    found = sitk.GetImageFromArray(
        segmentation.predict([image], model).argmax(-1).astype(np.uint8)
    )
    found.CopyInformation(image)
    return found


@pytest.mark.parametrize("end", [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"])
def test_outputs_keep_the_geometry_and_format_of_the_scan(end, model, tmp_path):
    path = save(scan(), tmp_path / "in" / f"a{end}")
    assert not segmentation.predict_all({"a": path}, model, tmp_path / "out")
    suffix = scan_folder.ENDINGS[end]
    expected = sitk.ReadImage(path)
    found = {
        what: sitk.ReadImage(tmp_path / "out" / f"a_{what}{suffix}")
        for what in ("labels", "probabilities", "entropy")
    }
    for image in found.values():
        same_geometry(image, expected)
    probabilities = sitk.GetArrayFromImage(found["probabilities"])  # [C, Z, Y, X]
    assert probabilities.shape == (4, 3, 40, 44)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-6)
    labels = sitk.GetArrayFromImage(found["labels"])
    assert labels.dtype == np.uint8 and set(np.unique(labels)) == {0, 1, 2, 3}
    np.testing.assert_array_equal(labels, probabilities.argmax(axis=0))
    p = np.maximum(probabilities, 1e-30)
    entropy = -(p * np.log(p)).sum(axis=0)
    np.testing.assert_allclose(sitk.GetArrayFromImage(found["entropy"]), entropy, atol=1e-5)
    assert sorted(visible(tmp_path / "out")) == sorted(
        [f"a_{what}{suffix}" for what in found] + ["index.html", "volumes.csv"]
    )


def test_dicom_series_is_predicted_on_its_own_grid(model, tmp_path):
    image = sitk.Cast(scan(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)), sitk.sitkInt16)
    folder = tmp_path / "in" / "study" / "series 1"
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for z in range(image.GetDepth()):
        part = image[:, :, z]
        position = image.TransformIndexToPhysicalPoint((0, 0, z))
        for tag, value in dicom_tags(z, position).items():
            part.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{z}.dcm"))
        writer.Execute(part)
        (folder / f"{z}.dcm").rename(folder / f"IM{z}")  # as many scanners name them
    scans = scan_folder.find_scans(tmp_path / "in", tmp_path / "out")
    assert scans == {"study/series 1": folder}
    assert scan_folder.find_scans(folder, tmp_path / "out") == {"series 1": folder}
    assert not segmentation.predict_all(scans, model, tmp_path / "out")
    found = sitk.ReadImage(tmp_path / "out" / "study" / "series 1_labels.nii.gz")
    same_geometry(found, image)
    expected = label_map(sitk.Cast(image, sitk.sitkFloat32), model)
    assert overlap(found, expected) == 1


def test_independent_dice_is_the_one_of_evaluation(model, tmp_path):
    image = scan()
    labels = sitk.GetImageFromArray(heart(1)[1])
    labels.CopyInformation(image)
    paths = save(image, tmp_path / "a.nii.gz"), save(labels, tmp_path / "a_gt.nii.gz")
    case = preprocess.preprocess(Volume("a", *paths), SETTINGS)
    slices = case.image
    probabilities = model.signature(image=slices)["probabilities"].numpy()
    segmentation.predict_all({"a": paths[0]}, model, tmp_path / "out")
    found = overlap(sitk.ReadImage(tmp_path / "out" / "a_labels.nii.gz"), labels)
    assert found == pytest.approx(np.mean(inference.dice(probabilities, case)), abs=1e-6)
    assert found > 0.6


@pytest.mark.parametrize("code", ["RAS", "PIR", "SRP", "LIA"])
def test_reoriented_scan_gives_the_same_segmentation(code, model):
    image = sitk.Cast(scan(), sitk.sitkFloat32)
    expected = label_map(image, model)
    found = label_map(sitk.DICOMOrient(image, code), model)
    assert found.GetSize() != expected.GetSize() or found.GetDirection() != OBLIQUE
    found = sitk.Resample(found, expected, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert overlap(found, expected) > 0.999


@pytest.mark.parametrize("code", ["LPS", "PIR", "SRP", "LIA", "ASL", "RPI"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_at_45_degrees_each_voxel_has_the_probabilities_of_the_network_there(axis, code, model):
    """The axes then read as either of two, and a square plane fits either way round."""
    array = np.random.default_rng(axis).uniform(100, 900, (12, 12, 12)).astype(np.float32)
    where = np.arange(array.size, dtype=np.int32).reshape(array.shape)
    settings = dataclasses.replace(SETTINGS, orientation=code)
    turned = dataclasses.replace(model, settings=settings)
    low, high = np.percentile(array, (2, 98))
    means = ((np.array([200, 500, 300, 800]) - BRIGHTNESS[0]) / np.ptp(BRIGHTNESS))[:, None]
    for signs in itertools.product((-1, 1), repeat=2):
        direction = np.eye(3)
        i, j = {0, 1, 2} - {axis}
        direction[i, i], direction[i, j] = np.sqrt(0.5) * signs[0], np.sqrt(0.5) * signs[1]
        direction[j, i], direction[j, j] = -direction[i, j], direction[i, i]
        grid = grids.Grid(array.shape, (1.5,) * 3, (1, 2, 3), tuple(direction.ravel()))
        image, indices = (grid.place(sitk.GetImageFromArray(a)) for a in (array, where))
        oriented = sitk.GetArrayFromImage(sitk.DICOMOrient(image, code))
        scaled = np.pad(np.clip((oriented - low) / (high - low), 0, 1), ((0,), (18,), (18,)))
        pooled = ndimage.uniform_filter(scaled, (1, 3, 3), mode="constant")[:, 18:30, 18:30]
        p = special.softmax(-((pooled.ravel() - means) ** 2) / (2 * 0.1**2), axis=0)
        expected = np.empty_like(p)
        expected[:, sitk.GetArrayFromImage(sitk.DICOMOrient(indices, code)).ravel()] = p
        found = segmentation.predict([image], turned).reshape(-1, 4).T
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_resampled_scan_gives_the_same_segmentation(model):
    array = np.kron(heart(1)[0], np.ones((1, 4, 4), np.float32))
    fine = sitk.GetImageFromArray(ndimage.gaussian_filter(array, (0, 8, 8)))
    fine.SetSpacing((0.375, 0.375, 8.0))
    grid = grids.Grid((120, 90, 3), (0.53, 0.65, 8.0), (0.3, 0.4, 0), fine.GetDirection())
    coarse = sitk.Resample(
        fine, grid.blank(), sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32
    )
    pair = grids.Grid.of(coarse), grids.Grid.of(fine)
    restored = grids.restore(segmentation.predict([coarse], model), *pair)
    found = pair[1].place(sitk.GetImageFromArray(restored.argmax(-1).astype(np.uint8)))
    assert overlap(found, label_map(fine, model)) >= 0.97


def test_without_reorientation_the_array_axes_are_kept(model):
    image = sitk.Cast(scan(direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)), sitk.sitkFloat32)
    expected = segmentation.predict([image], model)
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))  # says that slices are cut along x
    np.testing.assert_allclose(
        segmentation.predict([image], model, "stored"), expected, atol=1e-5
    )
    assert segmentation.predict([image], model).argmax(-1).any()


def test_slices_cut_in_another_plane_are_warned_of(model, capsys):
    orientation.check_plane(scan(), SETTINGS, "auto", "a")
    assert not capsys.readouterr().err
    across = scan(direction=(0, 0, 1, 1, 0, 0, 0, 1, 0))
    for mode in "auto", "stored":
        orientation.check_plane(across, SETTINGS, mode, "a")
        told = capsys.readouterr().err
        assert " mm in the model's plane" in told
        assert ("--orientation=stored" in told) == (mode == "auto")


def large_scan():
    """150 mm across, of which the model's grid holds 72."""
    return sitk.Cast(scan(1, (2, 100, 100), (1.5, 1.5, 8.0)), sitk.sitkFloat32)


def test_a_model_of_another_preprocessing_is_told_of(intensity_model, tmp_path, capsys):
    folder = shutil.copytree(intensity_model(SETTINGS), tmp_path / "saved_model")
    content = manifest.verify_manifest(folder)
    assert not capsys.readouterr().err
    manifest.write_manifest(folder, content | {"preprocessed_by": preprocess.VERSION + 1})
    segmentation.load(folder)
    told = f"warning: {folder}: trained on scans that were preprocessed by version"
    assert f"{told} {preprocess.VERSION + 1} of" in capsys.readouterr().err


@pytest.mark.parametrize("code", [None, "RIP"])
def test_a_scan_larger_than_the_grid_is_predicted_all_over(
    code, model, intensity_model, capsys
):
    image = large_scan()
    whole = segmentation.load(intensity_model(dataclasses.replace(SETTINGS, size=112)))
    expected = segmentation.predict([image], whole)
    turned = sitk.DICOMOrient(image, code) if code else image
    found = segmentation.predict([turned], model)
    if code:
        place = grids.Grid.of(turned).place
        parts = [
            place(sitk.GetImageFromArray(np.ascontiguousarray(found[..., c]))) for c in range(4)
        ]
        back = [sitk.DICOMOrient(part, scans.orientation(image)) for part in parts]
        found = np.stack([sitk.GetArrayFromImage(part) for part in back], axis=-1)
    assert not capsys.readouterr().err
    inner = np.zeros(
        (100, 100), bool
    )  # the pooling sees the border of a grid, and of its centre
    inner[3:-3, 3:-3] = True
    inner[24:76, 24:76] = False
    inner[28:72, 28:72] = True
    np.testing.assert_allclose(found[:, inner], expected[:, inner], atol=0.02)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)


@pytest.mark.parametrize("size, max_tiles", [(48, 256), (48, 1), (112, 256)])
def test_volumes_are_calibrated_and_measured_on_what_is_predicted(
    size, max_tiles, intensity_model, tmp_path
):
    settings = dataclasses.replace(SETTINGS, size=size)
    model = segmentation.load(intensity_model(settings))
    label = sitk.Cast(large_scan() > 600, sitk.sitkUInt8)
    paths = save(large_scan(), tmp_path / "a.nii.gz"), save(label, tmp_path / "b.nii.gz")
    case = preprocess.preprocess(Volume("a", *paths), settings)
    assert (case.plane is None) == (size == 112)
    model = dataclasses.replace(model, max_tiles=max_tiles)
    beyond = model.class_frequencies if max_tiles == 1 else None
    scan = volume_scans.scan(model.probabilities, case, calibration.identity(4), beyond)
    expected = segmentation.predict(channels.read(paths[:1]), model)
    np.testing.assert_allclose(scan.probabilities(), expected, atol=1e-5)


@pytest.mark.parametrize("max_tiles, empty", [(None, False), (256, False), (1, True)])
def test_intervals_are_of_the_tiles_that_they_were_fitted_with(
    max_tiles, empty, model, tmp_path
):
    rule = volumes.Rule(None, 1.0, "relative", 0.5, 0.9)
    model = dataclasses.replace(model, rules=(rule,) * 3)
    path = save(large_scan(), tmp_path / "a.nii.gz")
    assert not segmentation.predict_all(
        {"a": path}, model, tmp_path / "out", max_tiles=max_tiles
    )
    (row,) = volumetry.read_volumes(tmp_path / "out", model).values()
    for name in model.classes:
        for what in ("calibrated_ml", "low_ml", "high_ml", "coverage"):
            assert (row[f"{name}_{what}"] == "") == empty
        assert float(row[f"{name}_ml"]) >= 0


@pytest.mark.parametrize("code", ["LPS", "PLS"])
def test_what_no_tile_covers_has_the_class_frequencies_of_training(code, model):
    frequencies = (0.7, 0.05, 0.1, 0.15)
    model = dataclasses.replace(model, class_frequencies=frequencies)
    straight = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    image = sitk.Cast(scan(1, (2, 100, 80), (1.5, 1.5, 8.0), straight), sitk.sitkFloat32)
    found = segmentation.predict([sitk.DICOMOrient(image, code)], model, max_tiles=1)
    found = found if code == "LPS" else found.swapaxes(1, 2)
    seen = np.zeros((100, 80), bool)
    seen[26:74, 16:64] = True
    np.testing.assert_allclose(found[:, ~seen], np.broadcast_to(frequencies, (2, 5696, 4)))
    assert (found[:, seen, 0] < 0.5).any()


@pytest.mark.parametrize("frequencies", [(0.7, 0.05, 0.1, 0.15), (0.1, 0.1, 0.1, 0.7)])
def test_volumes_count_unseen_voxels_as_the_most_frequent_class(frequencies, model, tmp_path):
    """Else an interval that reaches down to their frequency takes in all of them."""
    label = sitk.Cast(large_scan() > 600, sitk.sitkUInt8)
    paths = save(large_scan(), tmp_path / "a.nii.gz"), save(label, tmp_path / "b.nii.gz")
    rules = tuple(volumes.Rule(0.01, 1.0, "nested", 5.0, 0.9) for _ in model.classes)
    model = dataclasses.replace(model, class_frequencies=frequencies, rules=rules, max_tiles=1)
    assert not segmentation.predict_all({"a": paths[0]}, model, tmp_path / "out")
    (row,) = csv.DictReader((tmp_path / "out/volumes.csv").read_text().splitlines())
    written = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "a_labels.nii.gz"))
    case = preprocess.preprocess(Volume("a", *paths), model.settings)
    how = model.probabilities, case, calibration.identity(4), frequencies
    rows = volume_scores.score(volume_scans.scan(*how), rules, model.classes)
    seen = 2 * 48 * 48
    for c, (name, measured) in enumerate(zip(model.classes, rows, strict=True), start=1):
        voxels = {
            what: float(row[f"{name}_{what}"]) / case_ml(case)
            for what in ("ml", "calibrated_ml", "low_ml", "high_ml")
        }
        for what, value in voxels.items():
            assert value == pytest.approx(measured[what] / case_ml(case), abs=0.1)
        assert voxels["ml"] == pytest.approx(np.count_nonzero(written == c), abs=0.1)
        outside = 20000 - seen if frequencies[c] == 0.7 else 0
        assert outside <= voxels["low_ml"] <= voxels["high_ml"] <= outside + seen + 0.1


def case_ml(case):
    return np.prod(case.original_grid.spacing_mm) / 1000


def test_probabilities_that_round_past_one_are_clipped():
    over = np.float32([0, 1 + 1e-6, 0, 0])
    layout = whole_scan.plan(grids.Grid.of(sitk.Image(5, 5, 2, sitk.sitkFloat32)), SETTINGS)
    slices = np.zeros((2, *SETTINGS.shape, 1), np.float32)
    found, unseen = whole_scan.predict(
        slices,
        layout,
        lambda images: np.broadcast_to(over, (*images.shape[:3], 4)),
        (0.25,) * 4,
    )
    assert found.min() == 0 and found.max() == 1 and unseen is None


def test_a_scan_that_no_tile_covers_whole_is_warned_of(model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(whole_scan, "_BLOCK", 1)  # a slice at a time
    path = save(large_scan(), tmp_path / "a.nii.gz")
    assert not segmentation.predict_all({"a": path}, model, tmp_path / "out", max_tiles=1)
    told = capsys.readouterr().err
    assert (
        "77.0% of the scan lies beyond the model's grid; there, probabilities are 1 / 4" in told
    )
    assert "77.0% of the scan" in (tmp_path / "out" / "index.html").read_text("utf-8")
    assert model.class_frequencies == (0.25,) * 4  # of a model of an earlier version
    model = dataclasses.replace(model, class_frequencies=(0.4, 0.3, 0.2, 0.1))
    segmentation.predict(channels.read([path]), model, max_tiles=1)
    assert "how frequent the classes are in training" in capsys.readouterr().err


def test_a_rectangle_predicts_what_the_square_does_where_it_covers_the_scan(
    model, intensity_model
):
    """Their pixels have the same places; away from the edge, the network sees the same there."""
    rectangle = segmentation.load(intensity_model(dataclasses.replace(SETTINGS, size=(32, 48))))
    image = scan(
        shape=(3, 52, 44), spacing=(1.5, 1.5, 8.0), direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)
    )
    image = sitk.Cast(image, sitk.sitkFloat32)
    square, found = (
        segmentation.predict(
            [image], dataclasses.replace(m, class_frequencies=(1, 0, 0, 0)), max_tiles=1
        )
        for m in (model, rectangle)
    )
    np.testing.assert_allclose(found[:, 11:-11], square[:, 11:-11], atol=1e-5)
    assert (found[:, :9, :, 0] == 1).all() and (square[:, :9, :, 0] < 1).any()


def write_nifti(path, spacing, value=None):
    """A scan whose header sitk would refuse to write."""
    save(sitk.Cast(scan(), sitk.sitkFloat32), path)
    content = bytearray(path.read_bytes())
    content[80:92] = struct.pack("<3f", *spacing)  # pixdim[1:4]
    if value is not None:
        content[352:356] = struct.pack("<f", value)
    path.write_bytes(content)


def four_dimensions(path):
    save(sitk.JoinSeries([scan(), scan()]), path)


def colours(path):
    save(sitk.Compose([sitk.Cast(scan(), sitk.sitkUInt8)] * 3), path)


BAD = {
    "4d.nii.gz": four_dimensions,
    "rgb.nrrd": colours,
    "empty.nii": lambda path: path.write_bytes(b""),
    "text.nii.gz": lambda path: path.write_text("not a scan"),
    "constant.mha": lambda path: save(0 * scan(), path),
    "nan.nii": lambda path: write_nifti(path, (1.5, 1.5, 8.0), np.nan),
    "cut.nii.gz": lambda path: path.write_bytes(
        save(scan(), path).read_bytes()[: path.stat().st_size // 2]
    ),
    "no spacing.nii": lambda path: write_nifti(path, (1.5, 0, 8)),
    "one pixel.nii": lambda path: save(scan(shape=(1, 1, 1)), path),
}


def test_bad_scans_end_in_one_line_each_and_do_not_stop_the_good(model, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, make in BAD.items():
        make(folder / name)
    save(scan(), folder / "good.nii.gz")
    (folder / "no series").mkdir()
    (folder / "no series" / "1.dcm").write_bytes(b"DICM")
    scans = scan_folder.find_scans(folder, tmp_path / "out")
    assert len(scans) == len(BAD) + 2
    failures = segmentation.predict_all(scans, model, tmp_path / "out")
    assert len(failures) == len(BAD) + 1
    for name, failure in zip([*sorted(BAD), "no series"], sorted(failures), strict=False):
        assert "\n" not in failure and str(folder) in failure, name
    names = {name.split("_")[0] for name in visible(tmp_path / "out")}
    assert names == {"good", "index.html", "volumes.csv"}


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_full_disk_is_noticed(ending, tmp_path):
    image = sitk.Cast(scan(), sitk.sitkFloat32)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), (3, 40, 44))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with (
            pytest.raises(DataError, match="could not be written"),
            outputs.together(tmp_path, "a") as folder,
        ):
            outputs.write(folder, ending, probabilities.astype(np.float32), image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_another_scan_of_the_same_name_is_told_and_leaves_nothing_of_the_first(
    model, tmp_path, capsys
):
    array = np.random.default_rng(0).normal(100, 30, (2, 8, 8)).astype(np.float32)
    paths = [write_image(tmp_path / place, array) for place in ("1/a.nii.gz", "2/a.nrrd")]
    for path, told in (paths[0], False), (paths[0], False), (paths[1], True):
        assert not segmentation.predict_all({"a": path}, model, tmp_path / "out")
        told_so = (
            f"{path}: replaces the predictions of another scan called a; give each patient"
        )
        assert (told_so in capsys.readouterr().err) == told
    assert {name for name in visible(tmp_path / "out") if name.startswith("a")} == {
        "a_labels.nrrd", "a_probabilities.nrrd", "a_entropy.nrrd"
    }  # fmt: skip
    assert str(tmp_path) not in (tmp_path / "out" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("shape", [(1, 40, 44), (1000, 8, 8), (5, 1, 1)])
def test_one_slice_many_slices_and_one_pixel_work(shape, model, tmp_path):
    array = np.random.default_rng(0).normal(100, 30, shape).astype(np.float32)
    path = write_image(tmp_path / "a.nii.gz", array)
    assert not segmentation.predict_all({"a": path}, model, tmp_path / "out")
    labels = sitk.ReadImage(tmp_path / "out" / "a_labels.nii.gz")
    assert labels.GetSize() == shape[::-1]


def test_names_stay_apart_and_inside_the_output_folder(tmp_path):
    source = tmp_path / "in"
    files = [
        "a.nii.gz",
        "a.nrrd",
        "b c é.mha",
        "sub/a.nii",
        "x..nii",
        ".hidden.nii",
        "notes.txt",
    ]
    for file in [*files, "out/a_labels.nii.gz", ".git/b.nii"]:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).touch()
    names = scan_folder.find_scans(source, source / "out")
    assert set(names) == {"a.nii.gz", "a.nrrd", "b c é", "sub/a", "x."}
    assert set(scan_folder.find_scans(source, source / "out", "a.*")) == {
        "a.nii.gz",
        "a.nrrd",
        "sub/a",
    }
    assert list(scan_folder.find_scans(source / "sub" / ".." / "a.nrrd", tmp_path)) == ["a"]
    (tmp_path / "link.nrrd").symlink_to(source / "a.nrrd")
    assert list(scan_folder.find_scans(tmp_path / "link.nrrd", tmp_path / "out")) == ["link"]
    assert set(scan_folder.find_scans(source, source.parent)) > set(names)  # those in out/, too


def test_predictions_of_an_earlier_call_are_no_scans(model, tmp_path, capsys):
    """Else its maps of entropy would be segmented, and stand in volumes.csv as patients."""
    source = tmp_path / "in"
    path = save(scan(), source / "p1.nii.gz")
    assert not segmentation.predict_all({"p1": path}, model, source / "deep/first")
    (source / "deep/first/p1_labels.dcm").touch()  # of a DICOM series
    (source / "report").mkdir()
    (source / "report/index.html").write_text("<p>of someone else")
    save(scan(), source / "report/p2.nii.gz")
    capsys.readouterr()
    told = f"warning: {source / 'deep/first'}: predictions of this command, which are left out"
    for output in source / "second", tmp_path / "out":
        assert set(scan_folder.find_scans(source, output)) == {"p1", "report/p2"}
        assert capsys.readouterr().err.strip() == told
    assert set(scan_folder.find_scans(source, source / "deep/first")) == {"p1", "report/p2"}
    assert not capsys.readouterr().err


def test_the_page_says_whose_a_folder_is_from_its_first_scan_on(model, tmp_path):
    path, seen = save(scan(), tmp_path / "a.nii.gz"), []

    def look(folder, *_):
        seen.append((tmp_path / "out/index.html").exists())

    paths = {"a": path, "b": path}
    assert not segmentation.predict_all(paths, model, tmp_path / "out", write_also=look)
    assert seen == [False, True]


@pytest.mark.parametrize("name", ["a_labels.nrrd", "a_entropy.nii.gz", "a_labels.dcm"])
def test_files_that_are_not_of_this_command_are_neither_replaced_nor_removed(
    name, model, tmp_path
):
    path, output = save(scan(), tmp_path / "a.nii.gz"), tmp_path / "out"
    output.mkdir()
    (output / name).write_text("by hand")
    with pytest.raises(DataError, match=f"{name}: not of this command; choose another output"):
        segmentation.predict_all({"a": path}, model, output)
    assert [file.name for file in output.iterdir()] == [name]
    assert not segmentation.predict_all({"b": path}, model, output)
    assert (output / name).read_text() == "by hand"


def test_a_name_that_is_too_long_for_its_files_is_refused(model, tmp_path):
    long, path = 80 * "肺", save(scan(), tmp_path / "a.nii.gz")  # 240 bytes
    (tmp_path / "out").mkdir()
    (failure,) = segmentation.predict_all({long: path, "a": path}, model, tmp_path / "out")
    assert "too long a name; expected 234 bytes at most" in failure
    assert {name.split("_")[0] for name in visible(tmp_path / "out")} == {
        "a", "index.html", "volumes.csv"
    }  # fmt: skip


@pytest.mark.parametrize("pattern", ["", "."])
def test_an_empty_pattern_is_refused(pattern, tmp_path):
    save(scan(), tmp_path / "a.nii.gz")
    with pytest.raises(DataError, match=r"--pattern='\.?': expected one such as"):
        scan_folder.find_scans(tmp_path, tmp_path / "out", pattern)


def test_a_table_that_cannot_be_written_leaves_the_new_images(model, tmp_path, monkeypatch):
    path, output = save(scan(), tmp_path / "a.nii.gz"), tmp_path / "out"
    assert not segmentation.predict_all({"a": path}, model, output)
    monkeypatch.setattr(volumetry, "write_volumes", lambda *_: open(tmp_path / "no/table", "w"))
    (failure,) = segmentation.predict_all({"a": path}, model, output)
    assert failure.endswith("; its images are written")


def test_a_folder_that_may_not_be_read_is_left_out(tmp_path, monkeypatch, capsys):
    closed = tmp_path / "in/lost+found"
    closed.mkdir(parents=True)
    save(scan(), tmp_path / "in/a.nii.gz")

    def dicom_files(folder, deep=True):
        if folder == closed:
            raise PermissionError(13, "Permission denied", str(closed))
        return []

    monkeypatch.setattr(scan_folder.dicom, "dicom_files", dicom_files)
    assert set(scan_folder.find_scans(tmp_path / "in", tmp_path / "out")) == {"a"}
    assert f"{closed}: no permission to read it" in capsys.readouterr().err


def test_a_scan_that_fails_says_that_its_earlier_prediction_stays(model, tmp_path):
    path = save(scan(), tmp_path / "a.nii.gz")
    output = tmp_path / "out"
    assert not segmentation.predict_all({"a": path}, model, output)
    before = {file.name: file.read_bytes() for file in output.glob("[!.]*")}
    path.write_bytes(path.read_bytes()[:500])
    failures = segmentation.predict_all({"a": path, "b": path}, model, output)
    assert [failure.endswith("; its earlier prediction stays") for failure in failures] == [
        True,
        False,
    ]
    assert {file.name: file.read_bytes() for file in output.glob("[!.]*")} == before


def test_a_series_in_a_folder_that_is_called_as_a_file_is_no_nifti(tmp_path):
    (tmp_path / "A.nii").mkdir()
    assert outputs.nifti_header(tmp_path / "A.nii") is None


def test_links_to_folders_of_scans_are_warned_of(tmp_path, capsys):
    for file in ("in/a.nii", "elsewhere/b.nii"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).touch()
    assert set(scan_folder.find_scans(tmp_path / "in", tmp_path / "out")) == {"a"}
    assert not capsys.readouterr().err
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere")
    assert set(scan_folder.find_scans(tmp_path / "in", tmp_path / "out")) == {"a"}
    assert "in/link: 1 links to folders not followed" in capsys.readouterr().err


def test_folders_that_cannot_be_used_are_refused(tmp_path):
    path = save(scan(), tmp_path / "in" / "a.nii.gz")
    for source in (path, path.parent):
        with pytest.raises(DataError, match="choose another output folder"):
            scan_folder.find_scans(source, tmp_path / "out" / ".." / "in")
    with pytest.raises(DataError, match=r"in: no scan of 1 is called \*.nrrd; .*'a.nii.gz'"):
        scan_folder.find_scans(path.parent, tmp_path / "out", "*.nrrd")
    (tmp_path / "out").mkdir()
    for source in (tmp_path / "out", tmp_path / "none"):
        with pytest.raises(DataError, match="no scans here|not there"):
            scan_folder.find_scans(source, tmp_path / "new")
    with pytest.raises(DataError, match="not a model"):
        segmentation.load(tmp_path)


def test_a_model_of_classes_that_share_a_column_of_volumes_is_refused(
    intensity_model, tmp_path
):
    folder = shutil.copytree(intensity_model(SETTINGS), tmp_path / "saved_model")
    content = manifest.verify_manifest(folder) | {"classes": ["background", "a", "b", "a_low"]}
    manifest.write_manifest(folder, content)
    with pytest.raises(DataError, match="column 'a_low_ml' of volumes.csv"):
        segmentation.load(folder)


def test_a_dicom_series_hides_no_other_scans_and_no_pattern(tmp_path):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "report.dcm").touch()
    assert list(scan_folder.find_scans(tmp_path / "in", tmp_path / "out")) == ["in"]
    with pytest.raises(DataError, match=r"in: a DICOM series, .* no --pattern"):
        scan_folder.find_scans(tmp_path / "in", tmp_path / "out", "*.nii.gz")
    save(scan(), tmp_path / "in" / "sub" / "a.nii.gz")
    for pattern in "*", "*.nii.gz":
        with pytest.raises(DataError, match=r"in: the DICOM file report.dcm beside a.nii.gz"):
            scan_folder.find_scans(tmp_path / "in", tmp_path / "out", pattern)
    (tmp_path / "in" / "report.dcm").rename(tmp_path / "report.dcm")
    assert list(scan_folder.find_scans(tmp_path / "in", tmp_path / "out")) == ["sub/a"]


@pytest.mark.parametrize("place", ["study/series/out", "study/series"])
def test_an_output_folder_in_a_dicom_series_is_refused(place, tmp_path):
    """The next call would read its DICOM Segmentations as slices of the series."""
    (tmp_path / "study/series").mkdir(parents=True)
    (tmp_path / "study/series/0.dcm").touch()
    for source in tmp_path / "study", tmp_path / "study/series":
        with pytest.raises(DataError, match="choose another output folder"):
            scan_folder.find_scans(source, tmp_path / place)
        assert scan_folder.find_scans(source, tmp_path / "study/out")


@pytest.mark.parametrize("failing", ["the entropy", "what is written also", "the page"])
def test_nothing_is_left_of_a_scan_that_cannot_be_written(
    failing, model, tmp_path, monkeypatch
):
    write = sitk.WriteImage

    def write_image(image, path, **options):
        if "entropy" in str(path):
            raise RuntimeError("disk full")
        write(image, path, **options)

    def write_also(folder, *_):
        (folder / "labels.dcm").touch()
        if failing == "what is written also":
            raise RuntimeError("disk full")

    def article(*_):
        raise RuntimeError("disk full")

    path = save(scan(), tmp_path / "a.nii.gz")
    if failing == "the entropy":
        monkeypatch.setattr(sitk, "WriteImage", write_image)
    if failing == "the page":
        monkeypatch.setattr(page, "article", article)
    arguments = {"a": path}, model, tmp_path / "out", "auto", write_also
    (failure,) = segmentation.predict_all(*arguments)
    assert "disk full" in failure and not visible(tmp_path / "out")
    monkeypatch.undo()
    failing = "nothing"
    assert not segmentation.predict_all(*arguments)
    kinds = "entropy.nii.gz", "labels.dcm", "labels.nii.gz", "probabilities.nii.gz"
    names = {f"a_{kind}" for kind in kinds} | {"index.html", "volumes.csv"}
    assert set(visible(tmp_path / "out")) == names


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux")
def test_memory_does_not_grow(model, tmp_path):
    path = save(scan(1, (10, 96, 96), (0.75, 0.75, 8.0)), tmp_path / "a.nrrd")
    image = scans.read_image(path)

    def resident_mib(scans):
        for _ in range(scans):
            segmentation.predict([image], model)
        gc.collect()
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    before = resident_mib(20)
    assert resident_mib(60) - before < 30  # 60 scans' probabilities are 84 MiB


def test_volumes_of_earlier_scans_are_kept(model, tmp_path):
    path = save(scan(1), tmp_path / "in" / "a.nii.gz")
    for name in ("a", "b", "a"):
        assert not segmentation.predict_all({name: path}, model, tmp_path / "out")
    table = tmp_path / "out" / "volumes.csv"
    header, *rows = table.read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["a", "b"]
    assert rows[0].split(",")[1:] == rows[1].split(",")[1:]
    other, text = dataclasses.replace(model, digest="5" * 64), table.read_text()
    for again, content in ((model, "scan,liver_ml\n"), (other, text)):
        table.write_text(content)
        with pytest.raises(DataError, match="volumes.csv: of another model"):
            segmentation.predict_all({"a": path}, again, tmp_path / "out")
        assert table.read_text() == content
    table.unlink()
    with pytest.raises(DataError, match="index.html: of another model"):
        segmentation.predict_all({"a": path}, other, tmp_path / "out")
    assert not segmentation.predict_all({"c": path}, model, tmp_path / "out")
    assert 'data-scan="a"' in (tmp_path / "out" / "index.html").read_text("utf-8")


def test_one_process_at_a_time_predicts_into_a_folder(model, tmp_path):
    """Each would write its own rows over those that the other has added to volumes.csv."""
    path = save(scan(), tmp_path / "in" / "a.nii.gz")
    (tmp_path / "out").mkdir()
    with files.lock(tmp_path / "out" / ".lock", ""):
        with pytest.raises(DataError, match="out: another process is predicting into it"):
            segmentation.predict_all({"a": path}, model, tmp_path / "out")
    assert not visible(tmp_path / "out")
    assert not segmentation.predict_all({"a": path}, model, tmp_path / "out")


def test_command_predicts_a_folder_and_ends_non_zero_on_a_bad_scan(intensity_model, tmp_path):
    save(scan(1), tmp_path / "in" / "größe 1.nii.gz")
    save(scan(2), tmp_path / "in" / "sub" / "2.nrrd")
    four_dimensions(tmp_path / "in" / "3.nii.gz")
    command = [sys.executable, "-m", "bwcr_tf.predict", f"--model={intensity_model(SETTINGS)}"]
    command += [f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and "3.nii.gz: 4D" in errors[0]
    assert "2 of 3 scans predicted" in done.stdout and "predicting scans  3/3" in done.stderr
    with open(tmp_path / "out" / "volumes.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["scan"] for row in rows] == ["größe 1", "sub/2"]
    assert all(float(row["LV_ml"]) > 0 and row["LV_low_ml"] == "" for row in rows)  # no rules


@pytest.mark.parametrize("codes", [(1, 2), (0, 2), (1, 0), (0, 0)])
def test_nifti_outputs_carry_the_forms_and_codes_of_the_scan(codes, model, tmp_path):
    affine = np.array([[-1.5, 0.01, 0, 9], [0, -1.25, 0.02, 8], [0, 0, 8, 7], [0, 0, 0, 1]])
    file = nibabel.Nifti1Image(heart(1)[0].T, affine)
    file.set_qform(affine + np.eye(4, k=3), codes[0], strip_shears=True)
    file.set_sform(affine, codes[1])
    nibabel.save(file, tmp_path / "a.nii")
    assert not segmentation.predict_all({"a": tmp_path / "a.nii"}, model, tmp_path / "out")
    for what in ("labels", "probabilities", "entropy"):
        found = nibabel.load(tmp_path / "out" / f"a_{what}.nii.gz")
        np.testing.assert_array_equal(found.affine, nibabel.load(tmp_path / "a.nii").affine)
        for field in ("qform_code", "sform_code", "quatern_d", "qoffset_x", "srow_y"):
            np.testing.assert_array_equal(found.header[field], file.header[field])
    labels = np.asarray(nibabel.load(tmp_path / "out" / "a_labels.nii.gz").dataobj).T
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    expected = segmentation.predict([scans.read_image(tmp_path / "a.nii")], model).argmax(-1)
    np.testing.assert_array_equal(labels, expected)


def test_more_than_256_classes_are_written_as_they_are(tmp_path):
    image = sitk.Cast(scan(), sitk.sitkFloat32)
    probabilities = np.zeros((3, 40, 44, 300), np.float32)
    probabilities[..., 299] = 1
    outputs.write(tmp_path, ".nii.gz", probabilities, image)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "labels.nii.gz"))
    assert (labels == 299).all()
