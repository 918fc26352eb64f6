"""The stress script, briefly; `python tools/stress.py` says how to run it for long."""

import errno
import os
import random
import shutil
import subprocess
import sys

import damaged_files
import pytest
import stress
from conftest import ROOT


def test_processes_that_prepare_one_cache_at_once_end_with_one_good_cache(tmp_path):
    stress.cache(tmp_path, 3, random.Random(0))


def test_damage_to_a_run_is_refused_in_one_line_or_changes_nothing(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    shutil.copytree(trained[0].parents[4] / "cache", tmp_path / "cache")
    damaged_files.damage(folder, tmp_path / "cache", 15, random.Random(0))


@pytest.mark.parametrize(
    "error, code, text",
    [
        (f"OSError({errno.ENOSPC}, 'No space left on device', 'a.npz')", 1, "the disk is full"),
        ("RuntimeError('ckpt; No space left on device')", 1, "the disk is full"),
        ("KeyboardInterrupt()", 1, "stopped; the same command resumes"),
        ("signal.raise_signal(15)", 1, "stopped; the same command resumes"),
        ("DataError('a.nii: is empty')", 1, "error: a.nii: is empty"),
        (f"OSError({errno.EEXIST}, 'File exists', 'out')", 1, "error: out: File exists"),
        ("BrokenPipeError()", 1, "stopped: its output is no longer read"),
        ("RuntimeError('a bug')", 1, "Traceback"),
    ],
)
def test_a_command_ends_in_one_line_unless_it_is_a_bug(error, code, text):
    program = (
        "import signal; from bwcr_tf.system import command\n"
        "from bwcr_tf.system.errors import DataError\n"
        f"def main(_): raise {error}\ncommand.run(main)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == code and text in found.stderr
    assert ("Traceback" in found.stderr) == (text == "Traceback")


def test_output_that_is_closed_or_knows_fewer_letters_stops_nothing():
    program = "from bwcr_tf.system import command\ncommand.run(lambda _: print('Опухоль'))"
    line = [sys.executable, "-c", program]
    found = subprocess.run(
        line, cwd=ROOT, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "cp1252"}
    )
    assert found.returncode == 0 and found.stdout.startswith(rb"\u041e\u043f")
    closed = subprocess.run(
        ["bash", "-c", '"$@" >&- 2>&-', "bash", *line], cwd=ROOT, check=False
    )
    assert closed.returncode == 0


def test_an_argument_that_is_not_in_utf_8_is_refused():
    program = "from bwcr_tf.system import command; command.run(print)"
    found = subprocess.run(
        [sys.executable, "-c", program, b"--runs_dir=M\xfcller"], cwd=ROOT, capture_output=True
    )
    assert found.returncode == 1 and b"expected a name in UTF-8" in found.stderr
    assert b"Traceback" not in found.stderr


def test_what_is_not_a_flag_is_refused():
    program = "from bwcr_tf.system import command; command.run(print)"
    found = subprocess.run(
        [sys.executable, "-c", program, "False"], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr == "error: False: not a flag; expected --name=value\n"
