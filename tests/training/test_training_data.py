import dataclasses

import numpy as np
import pytest

from bwcr_tf.data import grids, preprocess
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import training_data


def case(direction, *label_maps):
    grid = grids.Grid((2, 2, 1), (1.0, 1.0, 1.0), (0, 0, 0), direction)
    first, *others = (np.reshape(m, (1, 2, 2)).astype(np.uint8) for m in label_maps)
    others = np.array(others)
    return preprocess.Case("a", "a", None, first, None, grid, first, grid, None, others, others)


def larger(case, *rows):
    """The Case of a scan of four rows, of which the grid holds the two in the middle."""
    grid = grids.Grid((2, 4, 1), (1.0, 1.0, 1.0), (0, -1, 0), DICOM)
    whole = np.array(rows, np.uint8)[None]
    return dataclasses.replace(case, original_grid=grid, original_label_map=whole)


DICOM, NIFTI = (1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1)


def test_class_frequencies_are_those_of_all_annotators(tmp_path):
    cases = [case(DICOM, [0, 0, 1, 2]), case(DICOM, [0, 0, 0, 0], [0, 0, 0, 2])]
    training_data.write(tmp_path, training_data.describe(cases, 4))
    found = training_data.read(tmp_path)["class_frequencies"]
    assert found == pytest.approx([9 / 12, 1 / 12, 2 / 12, 0])
    ignoring = training_data.describe([*cases, case(DICOM, [4, 4, 0, 3])], 4)
    assert ignoring["class_frequencies"] == pytest.approx([10 / 14, 1 / 14, 2 / 14, 1 / 14])
    assert training_data.read(tmp_path / "none") == {}


def test_class_frequencies_are_those_beyond_the_grid_and_of_one_more_scan():
    cases = [case(DICOM, [0, 0, 1, 2]), case(DICOM, [0, 0, 0, 0])]
    held = training_data.class_frequencies(cases, 4)
    np.testing.assert_allclose(held, [6 / 8, 1 / 8, 1 / 8, 0])
    cases[0] = larger(cases[0], (0, 0), (0, 0), (1, 2), (0, 2))
    found = training_data.class_frequencies(cases, 4)
    np.testing.assert_allclose(found, (np.array([3 / 4, 0, 1 / 4, 0]) + held) / 2)
    cases[1] = larger(cases[1], (0, 0), (0, 0), (0, 0), (4, 4))  # two of four are ignored
    found = training_data.class_frequencies(cases, 4)
    np.testing.assert_allclose(found, (2 * np.array([5 / 6, 0, 1 / 6, 0]) + held) / 3)


@pytest.mark.parametrize(
    "directions, known",
    [
        ([DICOM], False),
        ([DICOM, NIFTI], False),  # what a file says whose directions were lost
        ([DICOM, (0, 0, 1, 1, 0, 0, 0, 1, 0)], True),
        ([(1, 0, 0, 0, 0.8, -0.6, 0, 0.6, 0.8)], True),
    ],
)
def test_directions_are_known_where_one_is_not_the_identity(directions, known):
    cases = [case(direction, [0, 0, 0, 1]) for direction in directions]
    assert training_data.describe(cases, 2)["directions_known"] is known


@pytest.mark.parametrize(
    "described, told",
    [
        ({"preprocessed_by": preprocess.VERSION}, ""),
        (
            {"preprocessed_by": preprocess.VERSION + 1},
            f"by version {preprocess.VERSION + 1} of",
        ),
        ({}, "by an unknown version of"),
    ],
)
def test_another_version_of_the_preprocessing_is_told_of(capsys, described, told):
    training_data.check_version("runs/a", described)
    found = capsys.readouterr().err
    assert told in found and found.startswith("\nwarning: runs/a: trained on" if told else "")
    assert bool(found) == bool(told)


@pytest.mark.parametrize("begun_by", [preprocess.VERSION, preprocess.VERSION + 1, None])
def test_a_run_that_resumes_with_another_preprocessing_is_of_no_version(
    tmp_path, capsys, begun_by
):
    described = {"class_frequencies": [1.0]}
    new = training_data.with_version(tmp_path, described)
    assert new == described | {"preprocessed_by": preprocess.VERSION}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step-5.index").touch()
    assert (
        begun_by or training_data.with_version(tmp_path, described)["preprocessed_by"] is None
    )
    capsys.readouterr()
    training_data.write(tmp_path, described | {"preprocessed_by": begun_by})
    assert not capsys.readouterr().err
    resumed = training_data.with_version(tmp_path, described)["preprocessed_by"]
    same = begun_by == preprocess.VERSION
    assert resumed == (preprocess.VERSION if same else None)
    assert ("trained on scans" in capsys.readouterr().err) == (not same)


@pytest.mark.parametrize("versions, expected", [([1, 1], 1), ([1, 2], None), ([1, None], None)])
def test_an_ensemble_has_the_version_that_its_members_share(versions, expected):
    known = {"class_frequencies": [1.0], "directions_known": True}
    members = [known | ({"preprocessed_by": v} if v else {}) for v in versions]
    assert training_data.join(members)["preprocessed_by"] == expected


def test_a_damaged_file_is_named(tmp_path):
    training_data.write(tmp_path, {"class_frequencies": [0.5, 0.5], "directions_known": True})
    path = tmp_path / "training_data.json"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match="training_data.json: not JSON"):
        training_data.read(tmp_path)
