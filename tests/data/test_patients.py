import json

import pytest

from bwcr_tf.data import datasets, splits
from bwcr_tf.system.errors import DataError

FRAMES = [f"patient{k:03}_frame{n}" for k in range(1, 13) for n in ("01", "12")]


def write(root, cases, test=(), labelled=True, **more):
    """Empty files in nnU-Net's layout, which are not opened before they are preprocessed."""
    for part, names in (("Tr", cases), ("Ts", test)):
        for name in names:
            for path in (f"images{part}/{name}_0000.nii.gz", f"labels{part}/{name}.nii.gz"):
                if part == "Tr" or labelled or path.startswith("images"):
                    (root / path).parent.mkdir(parents=True, exist_ok=True)
                    (root / path).touch()
    info = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "LV": 1}} | more
    (root / "dataset.json").write_text(json.dumps(info))
    return root


def names(subjects):
    return [(subject.name, [volume.name for volume in subject.volumes]) for subject in subjects]


def test_volumes_of_one_patient_are_one_subject_in_one_part_of_a_split(tmp_path, capsys):
    patients = {case: case.partition("_")[0] for case in reversed(FRAMES)}
    found = datasets.find("nnunet", write(tmp_path, FRAMES, patients=patients))
    expected = [
        (patients[one], [one, two]) for one, two in zip(*[iter(FRAMES)] * 2, strict=True)
    ]
    assert names(found.pool) == expected and found.test == ()
    split = splits.split("nnunet", found, ntr=5, run=1)
    parts = [{s.name for s in part} for part in (split.training, split.validation, split.test)]
    assert [len(part) for part in parts] == [5, 5, 2] and len(set().union(*parts)) == 12
    assert capsys.readouterr().err == ""


def test_names_of_patients_need_not_be_parts_of_names_of_cases(tmp_path):
    patients = {"b": "X", "a": "Y", "c": "X", "d": "Z"}
    found = datasets.find("nnunet", write(tmp_path, "abc", "d", patients=patients))
    assert names(found.pool) == [("Y", ["a"]), ("X", ["b", "c"])]
    assert names(found.test) == [("Z", ["d"])]
    write(tmp_path / "unlabelled", "abc", "d", labelled=False, patients=patients)
    assert datasets.find("nnunet", tmp_path / "unlabelled").test == ()


@pytest.mark.parametrize(
    "patients, message",
    [
        ({"a": "X", "b": "X"}, "'patients' lacks c; expected every case"),
        (dict.fromkeys("abcde", "X"), "'patients' has e; expected names of cases"),
        (dict.fromkeys("abcd", "X"), "patient X has cases for training and for test"),
        (["a", "b"], "'patients'; expected {case: name of its patient}"),
        ({"a": 1, "b": 1, "c": 2, "d": 3}, "'patients'; expected {case: name"),
        ({"a": "", "b": "X", "c": "X", "d": "Y"}, "'patients'; expected {case: name"),
        ({"a": "\ud800", "b": "X", "c": "X", "d": "Y"}, "'patients'; expected {case: name"),
    ],
)
def test_patients_that_do_not_fit_the_cases_are_refused(patients, message, tmp_path):
    with pytest.raises(DataError, match=f"dataset.json: {message}") as caught:
        datasets.find("nnunet", write(tmp_path, "abc", "d", patients=patients))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "cases",
    [
        ("patient001_frame01", "patient001_frame12"),
        ("p_ED", "p_es"),
        ("p_t0", "p_T12"),
        ("p_visit_1", "p_visit_2"),
        ("p_scanA", "p_scanB"),
        ("p_1_tp1", "p_1_tp2"),
    ],
)
def test_cases_that_look_like_one_patient_are_warned_of_once(cases, tmp_path, capsys):
    for _ in range(2):
        found = datasets.find("nnunet", write(tmp_path, [*cases, "q_ED", "q_0"]))
    assert names(found.pool) == [(case, [case]) for case in sorted([*cases, "q_ED", "q_0"])]
    (line,) = capsys.readouterr().err.strip().splitlines()
    one, two = sorted(cases)
    assert line.startswith(
        f"warning: {tmp_path}/dataset.json: {one} and {two} look like volumes"
    )
    patient = one.rpartition("_visit" if "visit" in one else "_")[0]
    assert line.endswith(f'"patients": {{"{one}": "{patient}", "{two}": "{patient}", ...}}')


def test_numbered_cases_are_not_warned_of(tmp_path, capsys):
    cases = ["hippocampus_001", "hippocampus_003", "p_ED", "q_ES", "edes", "a_left", "a_right"]
    datasets.find("nnunet", write(tmp_path, cases))
    assert capsys.readouterr().err == ""
