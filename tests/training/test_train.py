"""train.py and evaluate.py as a user runs them: processes, files and exit codes."""

import csv
import json
import pathlib
import re
import signal
import time
import types
from functools import partial

import keras
import numpy as np
import processes
import pytest
import tensorflow as tf
from conftest import shared
from processes import SMALL, script, train_flags

from bwcr_tf import metrics, unet
from bwcr_tf.data import cache, datasets, preprocess
from bwcr_tf.evaluation import __main__ as evaluation
from bwcr_tf.evaluation import scores
from bwcr_tf.export import __main__ as export
from bwcr_tf.export import calibration_cases, saved_model
from bwcr_tf.methods import METHODS
from bwcr_tf.system.errors import DataError
from bwcr_tf.trainer import Trainer
from bwcr_tf.training import __main__ as training
from bwcr_tf.training import run, run_folder, training_data
from bwcr_tf.training.selection import NotFinite, Selection

train, evaluate = (partial(processes.run, f"bwcr_tf.{n}") for n in ("training", "evaluation"))


def test_start_block_says_what_will_happen(trained):
    for text in (
        "classes RV, MYO, LV",
        "4 subjects, 24 slices",
        "32 x 32 at 2 mm",
        "12, 0 done",
    ):
        assert text in trained[1]


def test_run_folder_has_everything(trained):
    folder = trained[0]
    names = {path.name for path in folder.iterdir()}
    assert {
        "flags.txt",
        "split.json",
        "logs",
        "checkpoints",
        "best.keras",
        "saved_model",
    } <= names
    assert "--method=bwcr\n" in (folder / "flags.txt").read_text()
    assert "calibration" not in json.loads((folder / "split.json").read_text())
    record = json.loads((folder / "calibration.json").read_text())
    assert (record["choice"], record["kind"]) == ("auto", "none") and record["selected_weights"]
    assert record["candidates"].keys() == {"temperature", "beta", "dirichlet"}
    assert not [path for path in folder.rglob("*") if "tmp" in path.name]
    model = json.loads((folder / "saved_model" / "model.json").read_text())
    assert sum(model["class_frequencies"]) == pytest.approx(1) and min(
        model["class_frequencies"]
    )
    assert model["directions_known"] is False


def test_tensorboard_has_terms_rate_validation_and_images(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[0] / "logs"), size_guidance={"tensors": 0})
    events.Reload()
    tags = set(events.Tags()["tensors"])
    names = "loss supervised consistency learning_rate".split()
    assert {f"train/{name}" for name in names} <= tags
    assert {"validation/dice", "validation/ece", "validation/dice_RV"} <= tags
    assert any(tag.startswith("image, label") for tag in tags)
    steps = [event.step for event in events.Tensors("train/loss")]
    assert steps == [4, 8, 12]


def test_evaluate_writes_scores_that_the_metrics_confirm(trained):
    folder = trained[0]
    printed = script("evaluate.py", f"--run_dir={folder}").stdout
    assert "dice" in printed and "LV" in printed
    rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
    assert list(rows[0]) == list(scores.COLUMNS)
    assert len(rows) == 4 * 4  # volumes; classes and `all`
    spec, flags = run_folder.load_spec(folder), run_folder.read_flags(folder)
    subjects = spec.subjects("test", flags["data_dir"])
    case = cache.prepare(subjects, spec.settings, flags["cache_dir"])[1]
    network = unet.load(folder / "best.keras")
    p = keras.ops.convert_to_numpy(keras.ops.softmax(network(case.image)))
    row = next(r for r in rows if (r["volume"], r["class"]) == (case.name, "all"))
    assert float(row["ece"]) == pytest.approx(metrics.ece(p, case.label_map), abs=1e-4)
    assert float(row["nll"]) == pytest.approx(metrics.nll(p, case.label_map), abs=1e-4)
    assert float(row["tace_paper"]) == pytest.approx(float(row["tace"]) / 15, abs=1e-6)
    dice = [float(r["dice"]) for r in rows if r["volume"] == case.name and r["class"] != "all"]
    assert float(row["dice"]) == pytest.approx(np.mean(dice), abs=1e-6)
    summary = json.loads((folder / "summary.json").read_text())
    every = [float(r["dice"]) for r in rows if r["class"] == "all"]
    assert summary["scores"]["all"]["dice"]["mean"] == pytest.approx(np.mean(every), abs=1e-6)
    assert {path.name for path in (folder / "figures").iterdir()} >= {
        "reliability.png",
        "panels.png",
    }


def test_calibration_subjects_neither_train_nor_select_and_serve_the_export(acdc, tmp_path):
    flags = "--method=da", "--steps=2", "--num_calibration=3", "--calibration=beta", "--ntr=2"
    flags += "--size=32,48", "--coverage=0.9"
    train(*train_flags(acdc, tmp_path, *flags))
    folder = tmp_path / "runs/acdc/ntr2/da/run1"
    split = json.loads((folder / "split.json").read_text())
    assert len(split["calibration"]) == 3
    assert not {*split["calibration"]} & {
        *split["training"],
        *split["validation"],
        *split["test"],
    }
    record = json.loads((folder / "calibration.json").read_text())
    assert record["subjects"] == sorted(split["calibration"]) and not record["selected_weights"]
    assert record["kind"] == "beta" and len(record["candidates"]["beta"]["nll_gains"]) == 3
    evaluate(f"--run_dir={folder}")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["calibration"]["map"] == [record["weights"], record["bias"]]
    volumes = record["volumes"]
    assert volumes["subjects"] == split["calibration"]
    assert volumes["chosen_on"] == split["training"] + split["validation"]
    assert volumes["part"] == "calibration"
    assert {row["level"] for row in volumes["classes"].values()} == {3 / 4}
    assert summary["volumes"]["classes"]["LV"]["subjects"] == len(split["test"])
    rows = list(csv.DictReader((folder / "scores_volumes.csv").read_text().splitlines()))
    assert len(rows) == 4 * 3  # volumes, classes
    model = json.loads((folder / "saved_model/model.json").read_text())
    assert model["volumes"] == volumes
    before, after = (summary[k]["all"]["nll"]["mean"] for k in ("scores", "scores_calibrated"))
    assert before != after
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"Calibration subjects: {', '.join(split['calibration'])}." in card
    assert "promise 75.0 % of subjects" in " ".join(card.split())
    assert split["settings"]["size"] == [32, 48] and "32 x 48 pixels" in card


def test_several_annotators_are_learnt_and_scored(annotated, tmp_path):
    flags = [f"--data_dir={annotated}", "--dataset=annotators", *SMALL, "--steps=2"]
    flags += [f"--runs_dir={tmp_path}", f"--cache_dir={tmp_path}/cache"]
    train(*flags, "--method=bwcr", "--labels=sample")
    folder = tmp_path / "annotators/ntr4/bwcr/run1"
    assert "against all annotators" in evaluate(f"--run_dir={folder}").stdout
    text = (folder / "scores_annotators.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == [*scores.COLUMNS, *scores.VOLUME_METRICS]
    assert {row["subject"] for row in rows} == {"case10"}  # case09 has one annotator
    found = json.loads((folder / "summary.json").read_text())
    mean = found["annotators"]["scores"]["all"]["ece"]["mean"]
    assert float(rows[-1]["ece"]) == pytest.approx(mean, abs=1e-6)
    assert found["annotators"]["human"]["all"]["dice"]["volumes"] == 2
    assert found["truth"]["levels"]["fraction"] == [0, 0.5, 1]
    last = evaluate(f"--run_dir={folder}", "--weights=last")  # the only ones validated
    assert "against all annotators" in last.stdout
    assert (folder / "scores_annotators_last.csv").read_text() == text


def validations_of(folder):
    """validation.csv of 12 steps, as bytes."""
    content = (folder / "validation.csv").read_bytes()
    header, *rows = content.decode().splitlines()
    assert header == "step,dice_RV,dice_MYO,dice_LV,dice,ece,loss,supervised,consistency"
    assert [row.split(",")[0] for row in rows] == ["4", "8", "12"]
    return content


def weights(folder):
    return unet.load(folder / "best.keras").get_weights()


# Ctrl-C comes in the middle of the second step
CTRL_C = (
    "import os, signal; from bwcr_tf.training import selection as s; "
    "s.Selection.on_train_batch_begin = lambda self, batch, logs=None: "
    "os.kill(os.getpid(), signal.SIGINT) if batch == 1 else None"
)


def test_a_run_that_ctrl_c_and_a_kill_stopped_ends_with_the_same_weights(
    acdc, trained, tmp_path
):
    (tmp_path / "cache").symlink_to(trained[0].parents[4] / "cache")
    flags = train_flags(acdc, tmp_path, "--method=bwcr", "--steps=12")
    found = train(*flags, first=CTRL_C, check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert found.stderr.endswith("stopped; the same command resumes\n")
    process = processes.start("bwcr_tf.training", *flags, printed=tmp_path)
    folder = tmp_path / "runs/acdc/ntr4/bwcr/run1"
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/step-[48].index")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert ", 2 done before" in (tmp_path / "stdout").read_text()
    assert re.search(", (4|8|12) done before", train(*flags).stdout)
    for first, second in zip(weights(folder), weights(trained[0]), strict=True):
        np.testing.assert_array_equal(first, second)
    assert (folder / "validation.csv").read_bytes() == validations_of(trained[0])
    known = training_data.read(folder)
    assert known == training_data.read(trained[0])
    assert known["preprocessed_by"] == preprocess.VERSION


TOGETHER = "from bwcr_tf.training import build; build.steps_per_call = lambda *_: 4"


def test_steps_of_one_call_train_as_single_steps_do(acdc, trained, tmp_path):
    """Two a call, with Ctrl-C in the second call, and then four."""
    (tmp_path / "cache").symlink_to(trained[0].parents[4] / "cache")
    flags = train_flags(acdc, tmp_path, "--method=bwcr", "--steps=12")
    stopped = f"{TOGETHER[:-1]}2; {CTRL_C}".replace("batch == 1", "batch == 2")
    assert train(*flags, first=stopped, check=False).returncode == 1
    assert ", 4 done before" in train(*flags, first=TOGETHER).stdout
    folder = tmp_path / "runs/acdc/ntr4/bwcr/run1"
    for together, single in zip(weights(folder), weights(trained[0]), strict=True):
        np.testing.assert_array_equal(together, single)
    assert (folder / "validation.csv").read_bytes() == validations_of(trained[0])


@pytest.mark.parametrize(
    "first, whose", [("", "its batch is"), (TOGETHER, "the last 4 batches are")]
)
def test_a_loss_that_is_not_finite_names_step_scans_and_checkpoint(
    acdc, trained, tmp_path, first, whose
):
    (tmp_path / "cache").symlink_to(trained[0].parents[4] / "cache")
    flags = train_flags(acdc, tmp_path, "--method=bwcr", "--steps=12", "--learning_rate=1e30")
    found = train(*flags, first=first, check=False)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert re.search(
        rf"error: step \d+: the loss is (nan|inf); {whose} of patient\d+_E[DS].*; the last "
        r"good checkpoint is (none|\S+/step-4)\.",
        found.stderr.splitlines()[-1],
    )


def test_averages_that_are_not_finite_are_neither_kept_nor_saved(acdc, tmp_path):
    settings = preprocess.Settings(4, size=32, pixel_mm=2.0, n4_shrink=0)
    case = cache.prepare(datasets.find("acdc", acdc).pool[:1], settings, tmp_path / "cache", 1)[
        0
    ]
    trainer = Trainer(unet.build_unet((32, 32), 4, 4), METHODS["da"], 2.0)
    trainer.compile(keras.optimizers.Adam(1e-3))
    network, folder = unet.build_unet((32, 32), 4, 4), tmp_path / "run"
    selection = Selection(trainer, network, [case], folder, 1, 9, lambda *_: None)
    trainer.averages[-1].assign(trainer.averages[-1] * np.nan)
    with pytest.raises(NotFinite, match="step 1: the averages' predictions are not finite"):
        selection.on_train_batch_end(0, {"loss": 0.5})
    assert not folder.exists()


def test_mixed_precision_trains_to_a_network_in_float32(acdc, trained, tmp_path):
    (tmp_path / "cache").symlink_to(trained[0].parents[4] / "cache")
    flags = train_flags(acdc, tmp_path, "--method=bwcr", "--steps=12", "--mixed_precision")
    train(*flags)
    network = unet.load(tmp_path / "runs/acdc/ntr4/bwcr/run1/best.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    plain = np.concatenate([w.ravel() for w in weights(trained[0])])
    fast = np.concatenate([w.ravel() for w in network.get_weights()])
    assert 0 < np.linalg.norm(fast - plain) < 0.05 * np.linalg.norm(plain)


def test_jit_compiles(acdc, tmp_path):
    flags = train_flags(acdc, tmp_path, "--method=da", "--ntr=2", "--steps=2", "--jit")
    flags.append("--mixed_precision")  # XLA has fewer kernels in bfloat16
    dump = f"import os; os.environ['XLA_FLAGS'] = '--xla_dump_to={tmp_path}/xla'"
    train(*flags, first=dump)
    assert any((tmp_path / "xla").glob("*one_step*"))


def test_last_weights_are_the_best_ones_where_there_was_one_validation(acdc, trained, tmp_path):
    (tmp_path / "cache").symlink_to(trained[0].parents[4] / "cache")
    train(*train_flags(acdc, tmp_path, "--method=da", "--steps=2"))
    folder = tmp_path / "runs/acdc/ntr4/da/run1"
    for weights in ("best", "last"):
        evaluate(f"--run_dir={folder}", f"--weights={weights}")
    scores = (folder / "scores.csv").read_text()
    assert (folder / "scores_last.csv").read_text() == scores


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--data_dir=nowhere"], "nowhere: no acdc data here"),
        (["--method=dropout"], "flag --method=dropout"),
        (["--steps=many"], "flag --steps=many"),
        (["--coverage=nan"], "flag --coverage=nan: expected a number"),
        (["--ntr=7"], "ntr=7: expected 1 to 5"),
    ],
)
def test_bad_flags_end_in_one_clear_line(acdc, tmp_path, flags, message):
    found = script("train.py", *train_flags(acdc, tmp_path), *flags, check=False)
    (line,) = found.stderr.splitlines()  # and nothing of TensorFlow's
    assert found.returncode == 1 and line.startswith(f"error: {message}")
    assert found.stdout == "" and not (tmp_path / "runs").exists()


def test_a_finished_run_without_its_checkpoints_is_not_trained_anew(tmp_path):
    run.refuse_without_checkpoints(tmp_path)
    (tmp_path / "calibration.json").write_text("{}")
    with pytest.raises(DataError, match="trained to its end, but its checkpoints are gone"):
        run.train(tmp_path, None, None, types.SimpleNamespace(), {})
    assert {path.name for path in tmp_path.iterdir()} == {"calibration.json"}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/step-8.index").touch()
    run.refuse_without_checkpoints(tmp_path)


def test_scores_of_an_earlier_evaluation_are_told_of(tmp_path, capsys):
    for name in ("scores.csv", "scores_last.csv", "shifts/noise-5/scores.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a")
    for before in (None, b"a"):
        evaluation.warn_of_earlier(tmp_path, before)
    assert not capsys.readouterr().err
    evaluation.warn_of_earlier(tmp_path, b"b")
    assert "delete them: scores_last.csv, shifts/noise-5/scores.csv" in capsys.readouterr().err
    (tmp_path / "scores_last.csv").unlink()
    (tmp_path / "shifts/noise-5/scores.csv").unlink()
    evaluation.warn_of_earlier(tmp_path, b"b")
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    "asked, exported, again", [(0, True, False), (0, False, True), (1, True, True)]
)
def test_training_again_keeps_an_export_unless_flags_ask_for_another(
    asked, exported, again, tmp_path, monkeypatch
):
    record, calls = {"choice": "none", "kind": "none"}, []
    (tmp_path / "calibration.json").write_text(json.dumps(record))
    if exported:
        (tmp_path / "saved_model").mkdir()
    flags = dict.fromkeys(("calibration", "coverage"), types.SimpleNamespace(present=asked))
    monkeypatch.setattr(training, "FLAGS", flags)
    monkeypatch.setattr(calibration_cases, "load", lambda *_: {})
    monkeypatch.setattr(
        saved_model, "export_run", lambda *found: (calls.append(found), ("new", None))[1]
    )
    spec = types.SimpleNamespace(settings=types.SimpleNamespace(num_classes=4))
    options = types.SimpleNamespace(calibration="auto", coverage=0.9, cache_dir="cache")
    found = training.export(tmp_path, spec, "data", options)
    assert found == ("new" if again else record)
    assert calls == [(tmp_path, "auto", 0.9, {}, "data")] * again


def test_a_run_folder_made_with_other_flags_is_refused(acdc, trained):
    folder = trained[0].parents[4]
    found = train(*train_flags(acdc, folder, "--method=bwcr", "--steps=13"), check=False)
    assert found.returncode != 0 and "made with --steps=12, not 13" in found.stderr


def test_a_run_is_claimed_and_trained_by_one_process_at_a_time(acdc, tmp_path):
    flags = train_flags(acdc, tmp_path, "--method=bwcr", "--steps=12")
    folder = tmp_path / "runs/acdc/ntr4/bwcr/run1"
    with run_folder.lock(folder):
        found = train(*flags, check=False)
    assert found.returncode == 1 and "another process is training this run" in found.stderr
    assert not (folder / "flags.txt").exists()  # which are for the other process to write
    with run_folder.lock(folder):
        pass


def test_evaluate_and_export_refuse_a_run_that_is_not_trained_to_its_end(
    trained, tmp_path, monkeypatch
):
    for file in ("best.keras", "split.json", "flags.txt"):
        (tmp_path / file).write_bytes((trained[0] / file).read_bytes())
    before = set(tmp_path.iterdir())
    found = evaluate(f"--run_dir={tmp_path}", check=False)
    assert found.returncode != 0 and "not trained to the end" in found.stderr
    given = {"calibration": "beta", "coverage": 0.0, "format": "saved_model"}
    given = types.SimpleNamespace(run_dir=str(tmp_path), **given)
    monkeypatch.setattr(export, "FLAGS", given)
    monkeypatch.setattr(export.quiet, "import_tensorflow", lambda: None)
    with pytest.raises(DataError, match="not trained to the end"):
        export.main([])
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["best.keras", "split.json", "flags.txt"])
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_evaluate_refuses_a_broken_run(trained, tmp_path, monkeypatch, name, damage):
    for file in ("best.keras", "split.json", "flags.txt", "calibration.json"):
        (tmp_path / file).write_bytes((trained[0] / file).read_bytes())
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if damage == "missing":
        path.unlink()
    given = {"data_dir": None, "cache_dir": None, "weights": "best", "shift": []}
    given = types.SimpleNamespace(run_dir=str(tmp_path), **given)
    monkeypatch.setattr(evaluation, "FLAGS", given)
    monkeypatch.setattr(evaluation.quiet, "import_tensorflow", lambda: None)
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    with pytest.raises(DataError, match=name):
        evaluation.main([])
    assert not (tmp_path / "scores.csv").exists()


def test_real_hippocampus_trains_as_an_nnunet_folder(tmp_path):
    flags = [
        "--dataset=nnunet",
        f"--data_dir={shared('hippocampus')}",
        f"--runs_dir={tmp_path}",
    ]
    flags += [
        f"--cache_dir={tmp_path}/cache",
        "--ntr=2",
        "--steps=2",
        "--width=4",
        "--method=mls",
        "--calibration=none",
    ]
    printed = train(*flags, "--n4_shrink=0").stdout
    assert "classes anterior, posterior" in printed and "64 x 48 at 1 mm" in printed
    assert (pathlib.Path(tmp_path) / "nnunet/ntr2/mls/run1/saved_model/saved_model.pb").exists()
