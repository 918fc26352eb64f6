"""What a run survives: PYTHONPATH=.:tests python tools/stress.py kills|disk|cache|damage.

    kills   SIGKILL at random moments; the same command ends with the same weights
    disk    a file system that fills up (root: it is a small tmpfs); likewise
    cache   processes that prepare one cache at once end with one good cache
    damage  random damage to the files of a run is refused in one line, or changes nothing

The suite runs each of them briefly (test_stress.py).
"""

import argparse
import concurrent.futures
import multiprocessing
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

import damaged_files
import numpy as np
from conftest import ROOT, write_patient

from bwcr_tf.data import datasets, preprocess
from bwcr_tf.data.cache import load_case, prepare
from bwcr_tf.export import manifest
from bwcr_tf.training import checkpoints

SETTINGS = preprocess.Settings(4, size=32, pixel_mm=2.0, n4_shrink=0)
STEPS = 12


def make_data(folder):
    for number in range(1, 12):
        part = "training" if number <= 10 else "testing"
        write_patient(folder / part / f"patient{number:03}", number, "AB"[number % 2])
    return folder


def train_command(data, folder):
    flags = {
        "method": "bwcr",
        "dataset": "acdc",
        "data_dir": data,
        "runs_dir": folder / "runs",
        "cache_dir": folder / "cache",
        "ntr": 4,
        "size": 32,
        "pixel_mm": 2,
        "width": 4,
        "batch_size": 4,
        "steps": STEPS,
        "eval_every": 3,
        "n4_shrink": 0,
        "calibration": "none",
        "coverage": 0,
    }
    return [sys.executable, str(ROOT / "train.py"), *(f"--{k}={v}" for k, v in flags.items())]


def train(data, folder, timeout=None):
    """Exit code and stderr of a training; the code is None where `timeout` seconds killed it."""
    command = train_command(data, folder)
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=pipe, start_new_session=True
    )
    try:
        errors = process.communicate(timeout=timeout)[1].decode()
        return process.returncode, errors
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # and what prepares volumes for it
        process.wait()
        return None, ""
    finally:
        process.stderr.close()


def folder_of(folder):
    return folder / "runs/acdc/ntr4/bwcr/run1"


def outcome(folder):
    """Everything that a finished run promises: weights, and an export that is whole."""
    folder = folder_of(folder)
    description = manifest.verify_manifest(folder / "saved_model")
    assert (folder / "MODEL_CARD.md").exists()
    return [
        *checkpoints.load_best(folder).get_weights(),
        *map(np.array, description["calibration"].values()),
    ]


def kills(scratch, count, rng):
    """SIGKILL at `count` random moments, from the start of preprocessing to the export's end."""
    data = make_data(scratch / "data")
    started = time.monotonic()
    code, errors = train(data, scratch / "whole")
    assert code == 0, errors
    seconds, expected = time.monotonic() - started, outcome(scratch / "whole")
    done, finished, folder = 0, 0, scratch / "killed"
    while done < count or finished == 0:
        delay = rng.uniform(0.2, 1.1) * seconds if done < count else None
        code, errors = train(data, folder, delay)
        assert code in (None, 0), errors
        done += code is None
        if code == 0:
            assert damaged_files.equal(outcome(folder), expected), f"other weights in {folder}"
            finished += 1
            shutil.rmtree(folder)
        print(f"{done} of {count} kills, {finished} runs finished with the same weights")


def disk(scratch, count, rng):
    """File systems of `count` sizes that fill up at some point of a run, then grow."""
    data = make_data(scratch / "data")
    code, errors = train(data, scratch / "whole")
    assert code == 0, errors
    expected, folder = outcome(scratch / "whole"), scratch / "small"
    needed = sum(f.stat().st_size for f in (scratch / "whole").rglob("*") if f.is_file())
    folder.mkdir()
    for i in range(count):
        size = int(needed * (i + rng.random()) / count)
        mount(folder, size)
        try:
            code, errors = train(data, folder)
            assert code == 0 or "error: " in errors.splitlines()[-1], errors
            assert "Traceback" not in errors, errors
            print(f"{size / needed:4.0%} of what is needed: code {code}, {errors[-200:]!r}")
            mount(folder, 4 * needed, "remount,")
            code, errors = train(data, folder)
            assert code == 0, errors
            found = outcome(folder)
            assert damaged_files.equal(found, expected), f"other weights after {size} bytes"
        finally:
            subprocess.run(["umount", folder], check=True)


def mount(folder, size, option=""):
    size = max(size, 4096)
    command = ["mount", "-t", "tmpfs", "-o", f"{option}size={size}", "tmpfs", str(folder)]
    subprocess.run(command, check=True)


def cache(scratch, count, rng):
    """`count` processes prepare the same volumes at once."""
    del rng
    subjects = datasets.find("acdc", make_data(scratch / "data")).pool
    expected = prepare(subjects, SETTINGS, scratch / "alone", 1)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(count, mp_context=context) as pool:
        arguments = ([value] * count for value in (subjects, SETTINGS, scratch / "shared", 1))
        found = list(pool.map(prepare, *arguments))
    files = sorted(path.name for path in (scratch / "shared").iterdir())
    assert files == sorted(path.name for path in (scratch / "alone").iterdir())
    found.append([load_case(scratch / "shared" / name) for name in files])
    alone = [load_case(scratch / "alone" / name) for name in files]
    for cases in found[:-1]:
        assert all(equal(a, b) for a, b in zip(cases, expected, strict=True))
    assert all(equal(a, b) for a, b in zip(found[-1], alone, strict=True))
    print(f"{count} processes, {len(files)} volumes, one cache")


def equal(case, other):
    fields = ("image", "label_map", "distance", "grid", "original_label_map", "original_grid")
    return all(np.array_equal(getattr(case, f), getattr(other, f)) for f in fields)


def damage(scratch, count, rng):
    """`count` cases of damage to the files of a run."""
    code, errors = train(make_data(scratch / "data"), scratch)
    assert code == 0, errors
    damaged_files.damage(folder_of(scratch), scratch / "cache", count, rng)


COMMANDS = {
    "kills": (kills, 30),
    "disk": (disk, 8),
    "cache": (cache, 10),
    "damage": (damage, 500),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    function, count = COMMANDS[options.command]
    with tempfile.TemporaryDirectory() as scratch:
        function(pathlib.Path(scratch), options.count or count, random.Random(options.seed))


if __name__ == "__main__":
    main()
