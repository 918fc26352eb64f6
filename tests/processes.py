"""The commands in processes of their own: `script` as from a shell, `run` without the imports.

`run` and `start` fork from a server that has imported TensorFlow, which takes seconds.
"""

import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import types

from conftest import ROOT

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    ["bwcr_tf.training.run", "bwcr_tf.export.saved_model", "bwcr_tf.evaluation.analysis"]
)

SMALL = "--size=32 --pixel_mm=2 --width=4 --batch_size=4 --eval_every=4 --n4_shrink=0".split()
SMALL += ["--ntr=4", "--calibration=none", "--coverage=0"]  # which take longer than to train


def train_flags(acdc, folder, *more):
    """Flags of a small run on the data `acdc`, whose runs and cache are in `folder`."""
    places = f"--data_dir={acdc}", f"--runs_dir={folder}/runs", f"--cache_dir={folder}/cache"
    return ["--dataset=acdc", *places, *SMALL, *more]


def script(name, *flags, check=True):
    """`python name *flags`, as a user starts it."""
    command = [sys.executable, ROOT / name, *map(str, flags)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert not check or found.returncode == 0, found.stderr
    return found


def _execute(code, arguments, printed):
    os.chdir(ROOT)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with open(printed / name, "wb") as file:
            os.dup2(file.fileno(), number)
    sys.argv = ["command", *arguments]
    exec(code, {"__name__": "code"})


def start(module, *flags, first="", printed):
    """Starts `python -m module *flags`, after the lines of code `first`; returns the process.

    What it prints comes into the files stdout and stderr of the folder `printed`.
    """
    run = f"import runpy; runpy.run_module('{module}', run_name='__main__', alter_sys=True)"
    arguments = f"{first}\n{run}", list(map(str, flags)), pathlib.Path(printed)
    process = SERVER.Process(target=_execute, args=arguments)
    process.start()
    return process


def run(module, *flags, first="", check=True):
    """As `subprocess.run` does it: the exit code, and the text of stdout and stderr."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(module, *flags, first=first, printed=folder)
        process.join()
        texts = {
            name: pathlib.Path(folder, name).read_text("utf-8") for name in ("stdout", "stderr")
        }
    assert not check or process.exitcode == 0, texts["stderr"]
    return types.SimpleNamespace(returncode=process.exitcode, **texts)
