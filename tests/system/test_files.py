import os
import types

import pytest

from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError


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


def test_a_second_process_is_kept_out_on_windows_too(tmp_path, monkeypatch):
    def locking(number, mode, count):
        raise PermissionError(13, "Permission denied")

    windows = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *_: None)
    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", windows, raising=False)
    monkeypatch.setattr(files, "_BUSY", PermissionError)
    with files.lock(tmp_path / "lock", "busy"):
        windows.locking = locking
        with pytest.raises(DataError, match="busy"), files.lock(tmp_path / "lock", "busy"):
            pass


def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path):
    files.write(tmp_path / "a.txt", "old")
    with pytest.raises(OSError), files.atomic_path(tmp_path / "a.txt") as path:
        path.write_text("half")
        raise OSError
    assert (tmp_path / "a.txt").read_text() == "old" and len([*tmp_path.iterdir()]) == 1
