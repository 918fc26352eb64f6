"""The CURVAS layout: a folder per case with annotation_1.nii.gz, annotation_2.nii.gz, ..."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, shared, write_annotated, write_image

from bwcr_tf.data import cache, datasets, grids, preprocess, splits
from bwcr_tf.data.subjects import Volume
from bwcr_tf.system.errors import DataError

SETTINGS = preprocess.Settings(num_classes=4, size=32, pixel_mm=2.1, n4_shrink=0)


def names(subjects):
    return [subject.name for subject in subjects]


def only_volume(root):
    return datasets.find("annotators", root).pool[0].volumes[0]


def test_cases_have_all_their_annotators_and_the_validation_set_joins_the_pool(annotated):
    found = datasets.find("annotators", annotated)
    assert names(found.pool) == [f"case{i:02}" for i in range(9)]
    assert names(found.test) == ["case09", "case10"]
    assert [len(subject.volumes[0].labels) for subject in found.pool] == [1, 2, 3] * 3
    split = splits.split("annotators", found, ntr=4, run=1)
    assert len(split.validation) == 5 and split.test == found.test


def test_the_tenth_annotator_is_the_last_of_ten(tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0, annotators=10)
    assert [path.name for path in only_volume(tmp_path).labels] == [
        f"annotation_{k}.nii.gz" for k in range(1, 11)
    ]


def test_sets_without_any_annotation_count_as_absent(tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0)
    for part in ("validation", "testing"):
        write_annotated(tmp_path / f"{part}_set" / part, 1, annotators=0)
    (tmp_path / "training_set" / ".hidden").mkdir()
    found = datasets.find("annotators", tmp_path)
    assert names(found.pool) == ["a"] and not found.test


def test_a_folder_without_annotations_says_what_is_expected(tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0, annotators=0)
    with pytest.raises(DataError, match="Source: .* Layout: .*annotation_1.nii.gz"):
        datasets.find("annotators", tmp_path)


def test_classes_come_from_dataset_json_or_else_from_the_first_case(tmp_path):
    image, label_map = heart(0)
    for k, largest in ((1, 1), (2, 3)):
        path = tmp_path / "training_set" / "a" / f"annotation_{k}.nii.gz"
        write_image(path, np.minimum(label_map, largest))
    write_image(tmp_path / "training_set" / "a" / "image.nii.gz", image)
    assert datasets.find("annotators", tmp_path).classes == ("class1", "class2", "class3")
    write_image(path, label_map.astype(np.float32))
    assert datasets.find("annotators", tmp_path).classes == ("class1", "class2", "class3")
    labels = {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "scar": 4}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    assert datasets.find("annotators", tmp_path).classes == ("RV", "MYO", "LV", "scar")


def test_a_value_to_ignore_is_refused(tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0)
    labels = {"labels": {"background": 0, "a": 1, "ignore": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(labels))
    message = "label 'ignore'; expected none for several annotators"
    with pytest.raises(DataError, match=message):
        datasets.find("annotators", tmp_path)


def test_visits_of_one_patient_are_told_and_joined_by_dataset_json(tmp_path, capsys):
    for name in "a_visit1", "a_visit2", "b":
        write_annotated(tmp_path / "training_set" / name, 0)
    assert len(datasets.find("annotators", tmp_path).pool) == 3
    assert "a_visit1 and a_visit2 look like volumes of one patient" in capsys.readouterr().err
    about = {"labels": {"background": 0, "a": 1, "b": 2, "c": 3}}
    about["patients"] = {"a_visit1": "a", "a_visit2": "a", "b": "b"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    pool = datasets.find("annotators", tmp_path).pool
    assert [(s.name, [v.name for v in s.volumes]) for s in pool] == [
        ("a", ["a_visit1", "a_visit2"]),
        ("b", ["b"]),
    ]
    assert not capsys.readouterr().err


@pytest.mark.parametrize("values", [(0, 255), (0, 0), (1, 1), (0, 2)])
def test_classes_are_not_guessed_from_values_with_a_gap(values, tmp_path):
    image, label_map = heart(0)
    write_image(tmp_path / "training_set" / "a" / "image.nii.gz", image)
    path = tmp_path / "training_set" / "a" / "annotation_1.nii.gz"
    write_image(path, np.array(values, np.uint8)[(label_map > 0).astype(int)])
    with pytest.raises(DataError, match="annotation_1.nii.gz: label values .*dataset.json"):
        datasets.find("annotators", tmp_path)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda case: (case / "image.nii.gz").unlink(), "image.nii.gz: the image of b is miss"),
        (
            lambda case: [path.unlink() for path in case.glob("annotation*")],
            "annotation_1.nii.gz: the label of b is missing",
        ),
        (
            lambda case: (case / "annotation_2.nii.gz").unlink(),
            "b: 2 annotations, annotation_3.nii.gz among them; expected annotation_1.nii.gz to",
        ),
        (
            lambda case: (case / "annotation_3.nii.gz").rename(case / "annotation_x.nii.gz"),
            "b: 3 annotations, annotation_x.nii.gz among them; expected annotation_1.nii.gz to",
        ),
        (
            lambda case: (case / "annotation_3.nii.gz").rename(case / "annotation_3.nii"),
            "b: 3 annotations, annotation_3.nii among them; expected annotation_1.nii.gz to",
        ),
        (
            lambda case: (case / "annotation_3.nii.gz").rename(case / "Annotation_3.nii.gz"),
            "b: 3 annotations, Annotation_3.nii.gz among them; expected annotation_1.nii.gz to",
        ),
    ],
)
def test_a_case_that_lacks_a_file_is_named(damage, message, tmp_path):
    for name in "ab":
        write_annotated(tmp_path / "training_set" / name, 0)
    damage(tmp_path / "training_set" / "b")
    with pytest.raises(DataError, match=message):
        datasets.find("annotators", tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda image: image * 2, "label values .*; expected 0 to 3"),
        (lambda image: image[:-1], "size .* expected .*, the image's"),
    ],
)
def test_any_annotation_that_does_not_fit_is_named(change, message, tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0)
    volume = only_volume(tmp_path)
    sitk.WriteImage(change(sitk.ReadImage(volume.labels[2])), volume.labels[2])
    with pytest.raises(DataError, match=f"annotation_3.nii.gz: {message}"):
        preprocess.preprocess(volume, SETTINGS)


def test_the_case_of_annotator_1_is_that_of_a_volume_with_one_label(tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0)
    volume = only_volume(tmp_path)
    several = preprocess.preprocess(volume, SETTINGS)
    single = preprocess.preprocess(Volume("a", volume.image, volume.label), SETTINGS)
    for field in ("image", "label_map", "distance", "original_label_map"):
        np.testing.assert_array_equal(getattr(several, field), getattr(single, field))
    assert len(single.label_maps) == len(single.original_label_maps) == 1
    assert len(several.label_maps) == 3


def test_all_annotations_survive_the_cache_and_are_part_of_its_key(tmp_path):
    write_annotated(tmp_path / "training_set" / "a", 0)
    subjects = datasets.find("annotators", tmp_path).pool
    for _ in range(2):  # made, then found
        (case,) = cache.prepare(subjects, SETTINGS, tmp_path / "cache", workers=1)
        for path, original, found in zip(
            subjects[0].volumes[0].labels,
            case.original_label_maps,
            case.label_maps,
            strict=True,
        ):
            label = sitk.ReadImage(path)
            np.testing.assert_array_equal(original, sitk.GetArrayFromImage(label))
            expected = grids.resample(label, case.grid, sitk.sitkNearestNeighbor)
            np.testing.assert_array_equal(found, expected)
    key = cache._key(subjects[0].volumes[0], SETTINGS)
    write_image(subjects[0].volumes[0].labels[2], heart(1)[1])
    assert cache._key(subjects[0].volumes[0], SETTINGS) != key


def test_real_lidc_is_read():
    found = datasets.find("annotators", shared("lidc"))
    assert found.classes == ("nodule",)
    assert len(found.pool) == 300 and len(found.test) == 100
    assert {len(s.volumes[0].labels) for s in found.pool + found.test} == {4}
