import dataclasses
import json
import shutil

import dicom_writer
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, shared, write_annotated, write_image, write_patient

from bwcr_tf.data import cache, datasets, preprocess, scans
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder


def test_acdc_is_read_with_its_groups_and_frames(acdc):
    collection = datasets.find("acdc", acdc)
    assert collection.classes == ("RV", "MYO", "LV")
    assert len(collection.pool) == 10 and len(collection.test) == 2
    subject = collection.pool[0]
    assert (subject.name, subject.stratum) == ("patient001", "DCM")
    assert [volume.name for volume in subject.volumes] == ["patient001_ED", "patient001_ES"]
    assert subject.volumes[1].image.name == "patient001_frame12.nii.gz"


@pytest.mark.parametrize("name", ["acdc", "nci", "nnunet"])
def test_missing_folder_says_where_to_get_the_data(name, tmp_path):
    with pytest.raises(DataError, match="Source: .* Layout: "):
        datasets.find(name, tmp_path / "nowhere")


def test_patient_without_label_is_named(tmp_path):
    write_patient(tmp_path / "training" / "patient001", 1)
    label = tmp_path / "training/patient001/patient001_frame12_gt.nii.gz"
    label.unlink()
    with pytest.raises(
        DataError, match="patient001_frame12_gt.nii.gz: the label of .* missing"
    ):
        datasets.find("acdc", tmp_path)


@pytest.mark.parametrize("text", ["", "ED: 1\nES: 12\n", "ED: one\nES: 2\nGroup: A", "\0"])
def test_broken_info_is_named(text, tmp_path):
    write_patient(tmp_path / "training" / "patient001", 1)
    (tmp_path / "training/patient001/Info.cfg").write_text(text)
    with pytest.raises(DataError, match="Info.cfg: expected lines"):
        datasets.find("acdc", tmp_path)


def nnunet(root, test_labels=True, **changes):
    info = {
        "channel_names": {"0": "T1"},
        "labels": {"background": 0, "a": 1},
        "file_ending": ".nii.gz",
    }
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_text(json.dumps(info | changes))
    for part, cases in (("Tr", "abc"), ("Ts", "d")):
        for case in cases:
            image, label_map = heart(ord(case))
            write_image(root / f"images{part}" / f"{case}_0000.nii.gz", image)
            if part == "Tr" or test_labels:
                write_image(
                    root / f"labels{part}" / f"{case}.nii.gz", (label_map > 0).astype(np.uint8)
                )
    return root


def test_nnunet_is_read_with_and_without_test_labels(tmp_path):
    collection = datasets.find("nnunet", nnunet(tmp_path / "a"))
    assert collection.classes == ("a",)
    assert [s.name for s in collection.pool + collection.test] == ["a", "b", "c", "d"]
    assert datasets.find("nnunet", nnunet(tmp_path / "b", test_labels=False)).test == ()


def test_ignored_pixels_are_read_only_where_dataset_json_says_so(tmp_path):
    labels = {"background": 0, "a": 1, "ignore": 2}
    for name, changes in (("plain", {}), ("ignoring", {"labels": labels})):
        root = nnunet(tmp_path / name, **changes)
        _, label_map = heart(ord("a"))
        label_map = np.minimum(label_map, 2)
        write_image(root / "labelsTr" / "a.nii.gz", label_map)
    plain, ignoring = (datasets.find("nnunet", tmp_path / n) for n in ("plain", "ignoring"))
    assert ignoring.classes == ("a",) and ignoring.num_classes == 2
    settings = preprocess.Settings(2, size=48, pixel_mm=1.5, n4_shrink=0)
    volumes = [collection.pool[0].volumes[0] for collection in (plain, ignoring)]
    case = preprocess.preprocess(volumes[1], settings)
    np.testing.assert_array_equal(case.original_label_map, label_map)
    assert set(np.unique(case.label_map)) == {0, 1, 2}
    with pytest.raises(DataError, match=r"label values \[2\]; expected 0 to 1"):
        preprocess.preprocess(volumes[0], settings)
    assert cache._key(volumes[0], settings) != cache._key(volumes[1], settings)
    write_image(volumes[1].label, np.full_like(label_map, 2))
    with pytest.raises(DataError, match="all pixels are ignored"):
        preprocess.preprocess(volumes[1], settings)


def test_scans_of_another_ending_are_told_once(tmp_path, capsys):
    root = nnunet(tmp_path)
    for name in "x_0000.nii", "y_0000.NII.GZ", "x_0000.json":
        (root / "imagesTr" / name).touch()
    for _ in range(2):
        datasets.find("nnunet", root)
    told = capsys.readouterr().err
    assert (
        told.count("x_0000.nii: 2 such files are not read; expected .nii.gz, the file_ending")
        == 1
    )


def test_a_label_without_an_image_is_refused(tmp_path):
    root = nnunet(tmp_path / "a")
    (root / "imagesTr" / "b_0000.nii.gz").unlink()
    with pytest.raises(DataError, match="b_0000.nii.gz: the image of b is missing"):
        datasets.find("nnunet", root)


def test_subjects_of_other_classes_are_refused(tmp_path):
    root = nnunet(tmp_path / "a")
    spec = run_folder.RunSpec("nnunet", ("a",), preprocess.Settings(2), ("a",), ("b",), ("c",))
    assert [subject.name for subject in spec.subjects("test", root)] == ["c"]
    with pytest.raises(DataError, match="classes a; expected a, b, the run's"):
        dataclasses.replace(spec, classes=("a", "b")).subjects("test", root)


def test_a_name_among_training_and_test_cases_is_refused(tmp_path):
    root = nnunet(tmp_path / "a")
    for path in root.glob("*Ts/d*"):
        path.rename(path.with_name(path.name.replace("d", "a", 1)))
    with pytest.raises(DataError, match="a is there twice"):
        datasets.find("nnunet", root)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"channel_names": {"0": "T1", "2": "T2"}}, "expected JSON"),
        ({"channel_names": {}}, "no channels"),
        ({"labels": {"background": 0, "a": 2}}, "label values"),
        ({"labels": [1, 2]}, "expected JSON"),
        (
            {"labels": {"background": 0, "ignore": 1, "a": 2}},
            "'ignore' is 1; expected the last",
        ),
        ({"labels": {"background": 0, "ignore": 1}}, "label values"),
        ({"labels": {"background": 0, "all": [1, 2], "a": 2}}, "regions.*softmax"),
        ({"regions_class_order": [1]}, "regions.*softmax"),
        ({"labels": {"background": 0, "all": 1}}, "'all'; expected the name"),
        ({"labels": {"background": 0, " ": 1}}, "without a name"),
        (
            {"labels": {"background": 0, "a\nb": 1}},
            r"label 'a\\nb'; expected a name of one line",
        ),
        ({"labels": {"background": 0, "a|b": 1}}, "label 'a|b'; expected a name of one line"),
        ({"labels": {"background": 0, "a\\b": 1}}, "expected a name of one line"),
        ({"labels": {"a": 0, "background": 1}}, "label 'a' is 0; expected 'background'"),
        ({"labels": {"a": 0, "b": 1}}, "label 'a' is 0; expected 'background'"),
        ({"labels": {"background": 0, "a": 1, "a_low": 2}}, "'a_low'; .* is a column of 'a'"),
    ],
)
def test_nnunet_refuses_what_it_cannot_train_on(change, message, tmp_path):
    with pytest.raises(DataError, match=f"dataset.json: .*{message}"):
        datasets.find("nnunet", nnunet(tmp_path / "a", **change))


def test_a_dataset_json_with_a_byte_order_mark_is_read(tmp_path):
    root = nnunet(tmp_path / "a")
    path = root / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert datasets.find("nnunet", root).classes == ("a",)


def test_real_hippocampus_is_read():
    collection = datasets.find("nnunet", shared("hippocampus"))
    assert collection.classes == ("anterior", "posterior")
    assert len(collection.pool) == 180 and len(collection.test) == 50


def test_real_dicom_series_is_read_and_labels_are_placed_by_position(tmp_path):
    source = sorted(shared("prostate_dicom").iterdir())[0]
    images = tmp_path / "Prostate-3T" / "Images"
    shutil.copytree(source, images / source.name)
    image = scans.read_image(images / source.name)
    assert image.GetSize()[:2] == (384, 384) and image.GetSpacing() == pytest.approx(
        (0.5, 0.5, 3)
    )
    label = sitk.Image(100, 80, 9, sitk.sitkUInt8)  # another grid: twice as coarse, offset
    label.SetSpacing((1.0, 1.0, 3.0))
    label.SetDirection(image.GetDirection())
    label.SetOrigin(image.TransformIndexToPhysicalPoint((120, 130, 5)))
    label[40, 30, 4] = 2
    (tmp_path / "Prostate-3T" / "Labels").mkdir()
    sitk.WriteImage(label, tmp_path / "Prostate-3T/Labels" / f"{source.name}.nrrd")
    subject = datasets.find("nci", tmp_path).pool[0]
    placed = scans.read_label(subject.volumes[0].label, image, 3, place=True)
    found = np.argwhere(sitk.GetArrayFromImage(placed) == 2)
    assert len(found) == 4  # 2 x 2 pixels of half the size
    assert np.abs(found - [9, 190, 200]).max() <= 1
    far = write_image(
        tmp_path / "far.nrrd", np.ones((2, 3, 4), np.uint8), origin=(1e4, 1e4, 1e4)
    )
    with pytest.raises(DataError, match="0.0% of its labels lie in the image"):
        scans.read_label(far, image, 3, place=True)


@pytest.mark.parametrize("columns, expected", [(0, ""), (2, "80.0%"), (4, "60.0%"), (6, None)])
def test_a_label_that_is_placed_beside_its_image_is_told_or_refused(
    columns, expected, tmp_path, capsys
):
    label_map = np.zeros((3, 20, 30), np.uint8)
    label_map[1, 5:15, :10] = 1
    image = sitk.GetImageFromArray(np.zeros((3, 20, 30), np.float32))
    path = write_image(tmp_path / "l.nrrd", label_map, (1, 1, 1), (-columns, 0, 0))
    if expected is None:
        with pytest.raises(
            DataError, match=r"l.nrrd: 40.0% of its labels lie in the image; ori"
        ):
            scans.read_label(path, image, 2, place=True)
        return
    placed = scans.read_label(path, image, 2, place=True)
    assert sitk.GetArrayFromImage(placed).sum() == 10 * (10 - columns)
    told = capsys.readouterr().err
    assert (f"l.nrrd: {expected} of its labels" in told) if expected else not told


def nci(root):
    for site in ("Prostate-3T", "PROSTATE-DIAGNOSIS"):
        image, label_map = heart(1)
        dicom_writer.write_series(root / site / "Images" / site[-2:] / "study" / "1", image)
        write_image(root / site / "Labels" / f"{site[-2:]}.nrrd", label_map)
    return root


def annotators(root):
    write_annotated(root / "training_set" / "a", 0, annotators=2)
    return root


def acdc(root):
    write_patient(root / "training" / "patient001", 1)
    return root


@pytest.mark.parametrize("make", [acdc, nci, nnunet, annotators])
def test_hidden_files_and_folders_are_left_out(make, tmp_path):
    root = make(tmp_path / "data")
    expected = datasets.find(make.__name__, root)
    files = [file for s in expected.pool for volume in s.volumes for file in volume.files]
    for path in sorted(root.rglob("*")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")  # as macOS writes them
        path.with_name(".DS_Store").touch()
        path.with_name(".hidden").mkdir(exist_ok=True)
        path.with_name(".hidden").joinpath("0.dcm").touch()
    found = datasets.find(make.__name__, root)
    assert found == expected
    assert [f for s in found.pool for volume in s.volumes for f in volume.files] == files
