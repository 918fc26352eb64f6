"""The jobs of a grid of runs: their commands, and which are finished as asked for."""

import itertools
import json
import os
import pathlib
import re
from typing import NamedTuple

from bwcr_tf.evaluation import calibration_record, scores
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import flag_roles, run_folder

_FLAG = re.compile("--?[A-Za-z]")  # -2 is a value
TRAIN, EVALUATE = ("-m", "bwcr_tf.training"), ("-m", "bwcr_tf.evaluation")


class Job(NamedTuple):
    """One run of the grid: its folder and the commands that make it."""

    folder: pathlib.Path
    train: list  # commands
    evaluate: list

    @property
    def finished(self):
        """Whether the run is trained to the end, and scored with the calibration that it has."""
        summary = scores.read_summary(self.folder)
        if not summary or not (self.folder / "scores.csv").exists():
            return False
        try:
            num_classes = run_folder.load_spec(self.folder).settings.num_classes
            return not calibration_record.outdated(self.folder, num_classes, summary)
        except DataError:  # not trained, or damaged, as train.py tells
            return False

    @property
    def started(self):
        """Whether its folder was claimed."""
        return (self.folder / "flags.txt").exists()


def make_jobs(methods, ntrs, run_numbers, scales, dataset, runs_dir, others, python="python"):
    """Jobs in the order of their running, each once; `others` are arguments for train.py.

    A scale other than 1 trains `cr` in <runs_dir>/lambda<scale>/, for a run's folder belongs to
    one set of flags; a scale of 1 is `cr` itself.
    """
    rows = [(method, runs_dir, []) for method in methods]
    for scale in map(float, scales):
        if scale == 1:
            rows += [("cr", runs_dir, [])] if "cr" not in methods else []
        else:
            text = repr(scale).removesuffix(".0")
            place = os.path.join(runs_dir, f"lambda{text}")
            rows.append(("cr", place, [f"--consistency_scale={text}"]))
    jobs = (
        make_job(method, dataset, ntr, run, place, [*extra, *others], python)
        for run, ntr, (method, place, extra) in itertools.product(run_numbers, ntrs, rows)
    )
    return list({job.folder: job for job in jobs}.values())


def make_job(method, dataset, ntr, run, runs_dir, others, python):
    """The Job of one run; `others` are further arguments for train.py."""
    folder = run_folder.path(runs_dir, dataset, ntr, method, run)
    names = {"method": method, "dataset": dataset, "ntr": ntr, "run": run, "runs_dir": runs_dir}
    named = [f"--{name}={value}" for name, value in names.items()]
    evaluate = [python, *EVALUATE, f"--run_dir={folder}"]
    return Job(folder, [python, *TRAIN, *named, *others], evaluate)


def other_flags(job):
    """Which flag of a finished job its folder was not made with, in words, or None.

    train.py refuses such a folder, but is not called for what is finished. A flag that is not
    asked for now is not looked at: only train.py knows its default. Of another data folder, it is
    the subjects that count.
    """
    spec = run_folder.load_spec(job.folder)
    made_with = flag_roles.with_defaults(run_folder.read_flags(job.folder), spec)
    made_with |= _exported_with(job.folder)
    for name, value in named(job.train[1 + len(TRAIN) :]).items():
        old = made_with.get(name, "none")
        if name == "data_dir":
            if reason := _other_subjects(spec, value):
                return reason
        elif not name.endswith("_dir") and not same(old, value):
            return f"made with --{name}={old}, not {value}"
    return None


def _other_subjects(spec, directory):
    """What a data folder lacks of a run's training or test subjects, in words, or None."""
    try:
        for part in ("training", "test"):
            spec.subjects(part, directory)
    except DataError as error:
        return str(error)
    return None


def _exported_with(folder):
    """Flags of a run's calibration, which may have been exported again since it was trained."""
    try:
        record = json.loads((folder / "calibration.json").read_text())
        found = {"calibration": record["choice"]}
        if "volumes" in record:
            found["coverage"] = str(record["volumes"]["coverage"] if record["volumes"] else 0)
        return found
    except (OSError, KeyError, ValueError, TypeError):  # of an earlier version
        return {}


def named(arguments):
    """{name: value} of arguments `--name=value`, `--name value`, `--name` and `--noname`.

    One dash is as good as two.
    """
    found = {}
    for argument, following in itertools.pairwise([*arguments, "--end"]):
        if not _FLAG.match(argument):
            continue  # a value
        name, equals, value = argument.lstrip("-").partition("=")
        if not equals and not _FLAG.match(following):
            value = following
        elif not equals:
            name, value = name.removeprefix("no"), str(not name.startswith("no"))
        found[name] = value
    return found


def same(a, b):
    """Whether two texts of a flag mean the same: 0.001 is 1e-3, a size of 96 is 96,96."""
    try:
        return _pair(a) == _pair(b)
    except ValueError:
        words = {"t": "true", "1": "true", "f": "false", "0": "false"}  # as absl reads them
        return words.get(a.lower(), a.lower()) == words.get(b.lower(), b.lower())


def _pair(text):
    numbers = [float(part) for part in text.split(",")]
    return numbers * 2 if len(numbers) == 1 else numbers


def mistaken(jobs):
    """{folder: what `other_flags` says} of the finished jobs that are not what was asked for."""
    found = {job.folder: other_flags(job) for job in jobs if job.finished}
    return {folder: reason for folder, reason in found.items() if reason}
