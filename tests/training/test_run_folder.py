import dataclasses

import pytest

from bwcr_tf.data.settings import Settings
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder

SPEC = run_folder.RunSpec("nnunet", ("a",), Settings(2, 32), ("a",), ("b",), ("c",))
OTHER = run_folder.RunSpec("nnunet", ("a",), Settings(2, 32), ("b",), ("a",), ("c",))


@pytest.mark.parametrize("flags, spec", [({"steps": 3}, SPEC), ({"steps": 2}, OTHER)])
def test_a_refused_claim_leaves_the_folder_as_it_is(flags, spec, tmp_path):
    run_folder.claim(tmp_path, {"steps": 2}, SPEC)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DataError):
        run_folder.claim(tmp_path, flags, spec)
    (tmp_path / "flags.txt").unlink()
    with pytest.raises(DataError, match="flags.txt: not a run's flags"):
        run_folder.claim(tmp_path, flags, spec)
    del before[tmp_path / "flags.txt"]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_run_that_goes_on_elsewhere_has_its_data_where_they_are_now(tmp_path):
    run_folder.claim(tmp_path, {"steps": 2, "data_dir": "a", "cache_dir": "b"}, SPEC)
    for places in (
        {"data_dir": "c", "cache_dir": "d"},
        {"cache_dir": "e"},
    ):  # then: its default
        run_folder.claim(tmp_path, {"steps": 2, "calibration": "beta"} | places, SPEC)
        assert run_folder.read_flags(tmp_path) == {"steps": "2"} | places
        assert run_folder.load_spec(tmp_path) == SPEC


@pytest.mark.parametrize("name", ["runs [2]", "a\\b"])
def test_a_lock_that_is_refused_makes_no_folder(name, tmp_path):
    with pytest.raises(DataError, match="expected a path without"):
        with run_folder.lock(tmp_path / name / "run1"):
            pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, default, other",
    [
        ("labels", "first", "mean"),
        ("size", "32", "64"),
        ("pixel_mm", 1.33, 2.0),
        ("jit", False, True),
    ],
)
def test_a_flag_at_its_default_is_no_other_than_one_that_is_not_given(
    name, default, other, tmp_path
):
    changed = {"size": {"size": 64}, "pixel_mm": {"pixel_mm": 2.0}}.get(name, {})
    changed = dataclasses.replace(SPEC, settings=dataclasses.replace(SPEC.settings, **changed))
    for number, flags in enumerate(({"steps": 2}, {"steps": 2, name: default})):
        folder = tmp_path / str(number)
        run_folder.claim(folder, flags, SPEC)
        text = (folder / "flags.txt").read_text()
        for again in ({}, {name: default}):
            run_folder.claim(folder, {"steps": 2} | again, SPEC)
        with pytest.raises(DataError, match=f"made with --{name}=.*, not .*; use its flags"):
            run_folder.claim(folder, {"steps": 2, name: other}, changed)
        assert (folder / "flags.txt").read_text() == text


def test_a_square_is_one_size_in_both_forms(tmp_path):
    run_folder.claim(tmp_path, {"size": "32"}, SPEC)
    run_folder.claim(tmp_path, {"size": "32,32"}, SPEC)
