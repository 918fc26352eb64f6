import os

import pytest

from bwcr_tf.system import files


def test_two_processes_of_one_number_write_one_file_without_losing_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 1)  # as in two containers
    path = tmp_path / "a.csv"
    with files.atomic_path(path) as one:
        one.write_text("one")
        with files.atomic_path(path) as other:
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one" and [*tmp_path.iterdir()] == [path]
    assert one.suffix == path.suffix  # by which Keras and ITK know the format


def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path):
    files.write(tmp_path / "a.txt", "old")
    with pytest.raises(OSError), files.atomic_path(tmp_path / "a.txt") as path:
        path.write_text("half")
        raise OSError
    assert (tmp_path / "a.txt").read_text() == "old" and len([*tmp_path.iterdir()]) == 1
