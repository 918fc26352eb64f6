"""The 60 real label files of NCI-ISBI 2013, each with a synthetic image: a DICOM series."""

import pathlib
import shutil

import numpy as np
import processes
import pytest
import SimpleITK as sitk
from conftest import dicom_tags, shared
from scipy import ndimage

from bwcr_tf.data import datasets, preprocess, scans, splits
from bwcr_tf.system.errors import DataError

COARSE = 5  # the images' pixels are five times the labels', to be quick
BRIGHTNESS = np.array([100, 300, 450])  # of background, CG, PZ


def image_grid(label, name):
    """The image's grid of a label: its slices, but for two cases that are irregular in reality."""
    width, height, depth = label.GetSize()
    spacing, start = np.array(label.GetSpacing()), 0
    if name == "ProstateDx-01-0055":  # 23 label slices, 34 image slices
        depth, start = 34, -5
    pixel = COARSE * spacing[0] * (1.3 if name == "ProstateDx-01-0082" else 1)  # another grid
    size = [
        int(count * step / pixel) for count, step in ((width, spacing[0]), (height, spacing[1]))
    ]
    grid = sitk.Image([*size, depth], sitk.sitkInt16)
    grid.SetSpacing((pixel, pixel, spacing[2]))
    grid.SetDirection(label.GetDirection())
    grid.SetOrigin(label.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, float(start))))
    return grid


def render(label, grid, rng):
    """Brightness of each class under a bias field and noise, int16 on `grid`."""
    classes = sitk.GetArrayFromImage(
        sitk.Resample(label, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    )
    smooth = ndimage.gaussian_filter(BRIGHTNESS[classes].astype(float), (0, 1, 1))
    bias = 1 + 0.3 * np.linspace(-1, 1, classes.shape[2])
    return (bias * smooth + rng.normal(0, 20, classes.shape)).astype(np.int16)


def write_series(folder, array, grid):
    """A DICOM file for each slice; the orientation is the grid's."""
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    axes = np.reshape(grid.GetDirection(), (3, 3))
    for z, pixels in enumerate(array):
        piece = sitk.GetImageFromArray(pixels[None])
        piece.SetSpacing(grid.GetSpacing())
        position = grid.TransformIndexToPhysicalPoint((0, 0, z))
        tags = dicom_tags(z, [f"{v:.6f}" for v in position])
        tags["0020|0037"] = "\\".join(f"{v:.9f}" for v in axes[:, :2].T.ravel())
        tags["0028|0030"] = "\\".join(f"{v:.9f}" for v in grid.GetSpacing()[1::-1])
        tags["0018|0050"] = f"{grid.GetSpacing()[2]:.9f}"
        for tag, value in tags.items():
            piece.SetMetaData(tag, value)
        writer.SetFileName(folder / f"{z:03}.dcm")
        writer.Execute(piece)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The archive's own nested folders: <site>/<subject>/<study>/<series>/, labels apart."""
    root = tmp_path_factory.mktemp("nci")
    shutil.copytree(shared("nci_labels"), root / "labels")
    for k, path in enumerate(sorted((root / "labels").rglob("*.nrrd"))):
        name = path.stem.removesuffix("_correctedLabels")
        label = sitk.ReadImage(path)
        grid = image_grid(label, name)
        array = render(label, grid, np.random.default_rng(k))
        write_series(root / path.parent.name / name / "1.2.3" / "1.2.3.100", array, grid)
    return root


@pytest.fixture(scope="module")
def tidy(archive, tmp_path_factory):
    """The layout of the README: <site>/Images/<subject>/**, <site>/Labels/<subject>.nrrd."""
    root = tmp_path_factory.mktemp("tidy")
    for site in ("Prostate-3T", "PROSTATE-DIAGNOSIS"):
        (root / site).mkdir()
        (root / site / "Images").symlink_to(archive / site)
        (root / site / "Labels").symlink_to(archive / "labels" / site)
    return root


@pytest.mark.parametrize("layout", ["archive", "tidy"])
def test_all_sixty_subjects_are_read_in_both_layouts_and_split_over_both_sites(layout, request):
    collection = datasets.find("nci", request.getfixturevalue(layout))
    assert len(collection.pool) == 60 and collection.classes == ("CG", "PZ")
    for ntr in (6, 12):
        split = splits.split("nci", collection, ntr, 1)
        parts = split.test, split.validation, split.training
        assert list(map(len, parts)) == [30, 4, ntr]
        for part in parts:
            assert sum(s.stratum == "Prostate-3T" for s in part) == len(part) // 2


@pytest.mark.parametrize(
    "name, slices",
    [("0006", 32), ("0055", 34), ("0082", 32)],
    ids=["corrected", "0055", "0082"],
)
def test_irregular_cases_have_their_label_where_the_image_shows_it(archive, name, slices):
    collection = datasets.find("nci", archive)
    (volume,) = next(s for s in collection.pool if s.name.endswith(f"Dx-01-{name}")).volumes
    case = preprocess.preprocess(volume, preprocess.Settings(3, 64, 2.5, n4_shrink=0))
    assert case.original_label_map.shape[0] == slices
    pixels = sitk.GetArrayFromImage(scans.read_image(volume.image))
    means = [pixels[case.original_label_map == c].mean() for c in range(3)]
    np.testing.assert_allclose(means, BRIGHTNESS, atol=50)
    if name == "0055":
        assert not case.label_map[:5].any() and case.label_map[5:28].any()


def test_two_labels_of_one_subject_and_a_label_without_image_are_refused(archive, tmp_path):
    label = sorted((archive / "labels").rglob("*0006_correctedLabels.nrrd"))[0]
    for site in ("Prostate-3T", "PROSTATE-DIAGNOSIS"):
        (tmp_path / site).symlink_to(archive / site)
    shutil.copytree(archive / "labels", tmp_path / "labels")
    shutil.copy(label, tmp_path / "ProstateDx-01-0006.nrrd")
    with pytest.raises(DataError, match="0006.nrrd.* is a label of ProstateDx-01-0006, too"):
        datasets.find("nci", tmp_path)
    (tmp_path / "ProstateDx-01-0006.nrrd").rename(tmp_path / "ProstateDx-01-0099.nrrd")
    with pytest.raises(
        DataError, match="0099.nrrd: the image of ProstateDx-01-0099 is missing"
    ):
        datasets.find("nci", tmp_path)


@pytest.mark.parametrize("layout, ntr", [("archive", 6), ("tidy", 12)])
def test_nci_trains_and_is_evaluated_with_synthetic_images_and_real_labels(
    layout, ntr, request, tmp_path, tmp_path_factory
):
    cache = tmp_path_factory.getbasetemp() / "nci_cache"  # the same volumes in both layouts
    flags = [
        "--dataset=nci", f"--data_dir={request.getfixturevalue(layout)}", "--method=bwcr",
        f"--ntr={ntr}", "--steps=2", "--size=32", "--pixel_mm=4", "--width=4", "--batch_size=4",
        "--eval_every=2", "--n4_shrink=0", "--calibration=none", f"--runs_dir={tmp_path}/runs",
        f"--cache_dir={cache}",
    ]  # fmt: skip
    folder = tmp_path / f"runs/nci/ntr{ntr}/bwcr/run1"
    for command in (["training", *flags], ["evaluation", f"--run_dir={folder}"]):
        processes.run(f"bwcr_tf.{command[0]}", *command[1:])
    rows = (pathlib.Path(folder) / "scores.csv").read_text().splitlines()
    assert len(rows) == 1 + 30 * 3
