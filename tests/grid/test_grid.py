import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from bwcr_tf.data import preprocess
from bwcr_tf.evaluation import calibration, calibration_record, volumes
from bwcr_tf.grid import execution
from bwcr_tf.grid import jobs as grid_jobs
from bwcr_tf.training import run_folder

ROOT = pathlib.Path(__file__).parents[2]
TRAIN = """
import pathlib, shutil, sys
named = dict(a[2:].split("=", 1) for a in sys.argv[1:])
folder = pathlib.Path(named["runs_dir"], named["dataset"], "ntr" + named["ntr"])
folder = folder / named["method"] / ("run" + named["run"])
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "calls.txt", "a") as file:
    print(*sys.argv[1:], file=file)
(folder / "flags.txt").write_text("".join(f"--{k}={v}\\n" for k, v in named.items()))
shutil.copy(pathlib.Path(__file__).with_name("split.json"), folder)
sys.exit(3 if named["method"] == "svls" else 0)
"""
EVALUATE = """
import pathlib, shutil, sys
folder = pathlib.Path(sys.argv[1].removeprefix("--run_dir="))
for name in ("calibration.json", "scores.csv", "summary.json"):
    shutil.copy(pathlib.Path(__file__).with_name(name), folder)
"""
CLASSES = "RV", "MYO", "LV"
SPEC = run_folder.RunSpec(
    "acdc", CLASSES, preprocess.Settings(4, 32, 2.0), ("patient001",), (), ("patient011",)
)
RECORD = {"choice": "none", "kind": "none", "volumes": None}


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    """Stand-ins for the two commands: training notes its call and fails for svls."""
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "evaluate.py").write_text(EVALUATE)
    (tmp_path / "scores.csv").touch()
    split = dataclasses.asdict(SPEC) | {"hash": SPEC.hash}
    none = calibration_record.to_json(calibration.identity(4))
    summary = {"calibration": {"map": none}}
    for name, content in ("split", split), ("summary", summary), ("calibration", RECORD):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setattr(grid_jobs, "TRAIN", (str(tmp_path / "train.py"),))
    monkeypatch.setattr(grid_jobs, "EVALUATE", (str(tmp_path / "evaluate.py"),))
    return tmp_path


def make_jobs(root, methods, runs=("1",), scales=(), others=()):
    place = str(root / "runs")
    given = methods, ["5"], runs, scales, "acdc", place, list(others)
    return grid_jobs.make_jobs(*given, sys.executable)


def calls(job):
    return (job.folder / "calls.txt").read_text().splitlines()


def test_run_1_of_all_methods_comes_first_and_the_sweep_has_its_own_folders():
    jobs = grid_jobs.make_jobs(
        ["da", "bwcr"], ["5", "10"], ["1", "2"], ["0.10", "1"], "acdc", "r", ["--x=1"]
    )
    folders = [job.folder.as_posix() for job in jobs]
    assert folders[:4] == [
        "r/acdc/ntr5/da/run1",
        "r/acdc/ntr5/bwcr/run1",
        "r/lambda0.1/acdc/ntr5/cr/run1",
        "r/acdc/ntr5/cr/run1",  # a scale of 1 is cr itself
    ]
    assert folders[4] == "r/acdc/ntr10/da/run1" and folders[8] == "r/acdc/ntr5/da/run2"
    assert len(set(folders)) == len(folders) == 16
    assert jobs[2].train[3:] == [
        "--method=cr", "--dataset=acdc", "--ntr=5", "--run=1", "--runs_dir=r/lambda0.1",
        "--consistency_scale=0.1", "--x=1",
    ]  # fmt: skip
    assert jobs[2].evaluate[3:] == ["--run_dir=r/lambda0.1/acdc/ntr5/cr/run1"]


def test_a_run_is_made_once_and_with_the_lambda_that_was_asked_for():
    given = ["da", "da"], ["5"], ["1", "1"], ["0.1", "0.10", "0.12345678", "10", "1e-7"]
    found = [job.folder.parts[:2] for job in grid_jobs.make_jobs(*given, "acdc", "r", [])]
    names = ["lambda0.1", "lambda0.12345678", "lambda10", "lambda1e-07"]
    assert found == [("r", name) for name in ("acdc", *names)]


def test_a_failed_run_is_named_and_the_others_continue(scripts):
    jobs = make_jobs(scripts, ["da", "svls", "bwcr"])
    failures = execution.execute_all(jobs)
    assert failures == {jobs[1].folder: "training ended with 3"}
    assert [job.finished for job in jobs] == [True, False, True]


def test_finished_runs_are_skipped_and_interrupted_ones_are_resumed(scripts, capsys):
    jobs = make_jobs(scripts, ["da", "bwcr"])
    execution.execute_all(jobs)
    (jobs[1].folder / "scores.csv").unlink()
    assert execution.execute_all(jobs) == {}
    assert "2 runs: 1 finished, 1 to resume, 1 remain" in capsys.readouterr().out
    assert len(calls(jobs[0])) == 1 and len(calls(jobs[1])) == 2


@pytest.mark.parametrize(
    "a, b, expected",
    [("True", "1", True), ("True", "t", True), ("False", "0", True), ("True", "0", False),
     ("0.001", "1e-3", True), ("96", "96,96", True), ("da", "DA", True), ("da", "cr", False)],
)  # fmt: skip
def test_two_texts_of_a_flag_may_mean_the_same(a, b, expected):
    assert grid_jobs.same(a, b) == grid_jobs.same(b, a) == expected


def test_results_of_other_flags_are_not_taken_for_finished(scripts):
    execution.execute_all(
        make_jobs(scripts, ["da"], others=["--steps=100", "--learning_rate=1e-3"])
    )
    same = make_jobs(scripts, ["da"], others=["--steps=100", "--learning_rate=0.001"])
    assert execution.execute_all(same) == {}
    other = make_jobs(scripts, ["da"], others=["--steps=2000"])
    assert execution.execute_all(other) == {other[0].folder: "made with --steps=100, not 2000"}
    apart = make_jobs(scripts, ["da"], others=["--steps", "2000"])
    assert grid_jobs.mistaken(apart) == execution.execute_all(other)
    for size in "96", "32,48":
        sized = make_jobs(scripts, ["da"], others=[f"--size={size}"])
        assert grid_jobs.mistaken(sized) == {
            sized[0].folder: f"made with --size=32,32, not {size}"
        }
    own = make_jobs(scripts, ["da"], others=["--size=32", "--pixel_mm=2", "--labels=first"])
    assert grid_jobs.mistaken(own) == {}


def test_results_of_another_data_folder_are_not_taken_for_finished(scripts, acdc):
    execution.execute_all(make_jobs(scripts, ["da"]))
    jobs = make_jobs(scripts, ["da"], others=[f"--data_dir={acdc}"])
    assert grid_jobs.mistaken(jobs) == {}
    other = shutil.copytree(acdc, scripts / "other")
    shutil.rmtree(other / "testing/patient011")
    (jobs,) = make_jobs(scripts, ["da"], others=[f"--data_dir={other}"])
    found = grid_jobs.mistaken([jobs])[jobs.folder]
    assert found == f"{other}: test subject patient011 of the split is not here"


@pytest.mark.parametrize(
    "record",
    [{"kind": "beta", "choice": "beta"}, {"volumes": {"coverage": 0.9, "classes": {}}}],
)
def test_a_run_that_was_scored_with_another_calibration_is_not_finished(scripts, record):
    (job,) = make_jobs(scripts, ["da"])
    execution.execute_all([job])
    assert job.finished
    weights, bias = np.eye(8, 4).tolist(), [0.5] * 4
    record = RECORD | {"weights": weights, "bias": bias} | record
    rule = {field: 1.0 for field in volumes.Rule._fields}
    if record["volumes"]:
        record["volumes"]["classes"] = dict.fromkeys(CLASSES, rule)
    (job.folder / "calibration.json").write_text(json.dumps(record))
    assert not job.finished
    (job.folder / "calibration.json").write_text("[]")
    assert not job.finished


@pytest.mark.parametrize(
    ("name", "first", "then", "volumes"),
    [
        ("calibration", "auto", "none", {"coverage": 0.9}),
        ("coverage", "0.9", "0.8", {"coverage": 0.8}),
        ("coverage", "0.9", "0", None),
    ],
)
def test_a_run_that_was_exported_again_has_the_calibration_of_then(
    name, first, then, volumes, scripts
):
    jobs = [make_jobs(scripts, ["da"], others=[f"--{name}={value}"]) for value in (first, then)]
    execution.execute_all(jobs[0])
    path = jobs[0][0].folder / "calibration.json"
    if volumes:
        volumes |= {"classes": {}}
    path.write_text(json.dumps(RECORD | {"volumes": volumes}))
    assert grid_jobs.mistaken(jobs[1]) == {}
    expected = {path.parent: f"made with --{name}={then}, not {first}"}
    assert grid_jobs.mistaken(jobs[0]) == expected


def test_named_arguments_are_read_in_every_form():
    found = grid_jobs.named(["--a=1", "--b", "-2", "--jit", "--nomixed", "--c=", "--d", "x y"])
    assert found == {
        "a": "1", "b": "-2", "jit": "True", "mixed": "False", "c": "", "d": "x y",
    }  # fmt: skip
    assert grid_jobs.named(["-e=2", "-f", "3", "-g"]) == {"e": "2", "f": "3", "g": "True"}


def command(*arguments):
    return [sys.executable, "-m", "bwcr_tf.grid", *arguments]


def test_print_commands_reads_flag_files_and_quotes_the_rest(tmp_path):
    (tmp_path / "my.flags").write_text("# for us\n--dataset=acdc\n--steps=7\n")
    found = subprocess.run(
        command(
            "--flagfile=my.flags", "--methods=da", "--ntr=5", "--runs=2", "--print_commands",
            "--data_dir=a b", "--seed", "4",
        ),
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout == (
        "python -m bwcr_tf.training --method=da --dataset=acdc --ntr=5 --run=2 --runs_dir=runs "
        "--steps=7 '--data_dir=a b' --seed 4 && "
        "python -m bwcr_tf.evaluation --run_dir=runs/acdc/ntr5/da/run2\n"
    )


def test_no_method_is_an_error_of_one_line():
    found = subprocess.run(command(), cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 1 and found.stderr.startswith("error: no runs")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods=da", "--ntr=02"], "flag --ntr"),
        (["--methods=da", "--run=2"], "--run is a flag of train.py; expected --runs here"),
        (["--consistency_scales=0"], "numbers above zero"),
        (["--consistency_scales=inf"], "numbers above zero"),
        (["--consistency_scales=0.1,10", "--consistency_scale", "2"], "would replace those of"),
    ],
)
def test_flags_that_train_other_folders_are_refused(arguments, message):
    found = subprocess.run(
        command(*arguments, "--print_commands"), cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode and message in found.stderr


def test_a_stopped_grid_takes_its_run_with_it(tmp_path):
    (tmp_path / "train.py").write_text(
        "import os, time\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(60)\n"
    )
    program = (
        "from absl import app; from bwcr_tf.grid import __main__ as grid, jobs; "
        "jobs.TRAIN = ('train.py',); grid.define_flags(); "
        "app.run(grid.main, flags_parser=grid.parse)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "--methods=da"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(1200):
        time.sleep(0.05)
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            break
    child = int((tmp_path / "pid").read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
