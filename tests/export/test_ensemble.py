"""Ensembles: the mean of networks, who may be in one, and through evaluation and prediction."""

import dataclasses
import json
import os
import pathlib

import keras
import numpy as np
import pytest

from bwcr_tf import unet
from bwcr_tf.data import cache, grids, preprocess, scans
from bwcr_tf.evaluation import __main__ as evaluation
from bwcr_tf.evaluation import calibration, calibration_record
from bwcr_tf.export import calibration_cases, ensemble, saved_model
from bwcr_tf.predict import segmentation
from bwcr_tf.report import scored_runs
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder, training_data

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras 3.15
SETTINGS = preprocess.Settings(4, 48, 2.0, "LPS", 0)
CLASSES = ("RV", "MYO", "LV")


@pytest.fixture(scope="module")
def networks():
    """Of the layers that U-Nets have, but few; with biases by which they disagree."""
    keras.utils.set_random_seed(3)
    found = []
    for i in range(3):
        image = keras.Input((48, 48, 1))
        x = keras.layers.Conv2D(4, 3, padding="same", name="conv")(image)
        x = keras.layers.ReLU()(unet.FusedBatchNormalization(name="norm")(x))
        found.append(keras.Model(image, keras.layers.Conv2D(4, 1, name="logits")(x)))
        kernel, bias = found[i].get_layer("logits").get_weights()
        found[i].get_layer("logits").set_weights([kernel, bias + np.roll([2, 0, 0, 1], i)])
    return found


def patients(*numbers):
    return tuple(f"patient{number:03}" for number in numbers)


def write_run(root, acdc, number, network, training, validation, more=None, **changes):
    """A run as it is after training, with `more` flags, and its folder."""
    spec = run_folder.RunSpec(
        "acdc", CLASSES, SETTINGS, patients(*training), patients(*validation), patients(11, 12)
    )
    spec = dataclasses.replace(spec, **changes)
    flags = {"method": "da", "dataset": "acdc", "ntr": 2, "run": number, "data_dir": acdc}
    flags |= {"steps": 2, "consistency_scale": 1.0, "cache_dir": root / "cache", "seed": number}
    folder = run_folder.path(root, "acdc", 2, "da", number)
    run_folder.claim(folder, flags | (more or {}), spec)
    unet.save(network, folder / "best.keras")
    calibration_record.save(folder, {"choice": "none", "kind": "none"})
    frequencies = [[0.8, 0.1, 0.1, 0], [0.6, 0.3, 0.1, 0]][number % 2]
    known = {"class_frequencies": frequencies, "directions_known": number == 1}
    known["preprocessed_by"] = preprocess.VERSION
    training_data.write(folder, known)
    return folder


@pytest.fixture
def runs(acdc, networks, tmp_path):
    people = ((1, 2), (3, 4)), ((3, 5), (4, 6))
    return [
        write_run(tmp_path, acdc, i, networks[i], *some)
        for i, some in enumerate(people, start=1)
    ]


def text(runs):
    return ",".join(map(str, runs))


def softmax(network, images):
    return keras.ops.convert_to_numpy(keras.ops.softmax(network(images))).astype(np.float64)


def test_probabilities_are_the_mean_of_the_members(networks, tmp_path):
    images = np.random.default_rng(0).random((2, 48, 48, 1), np.float32)
    expected = np.mean([softmax(network, images) for network in networks], axis=0)
    unet.save(ensemble.average(networks), tmp_path / "best.keras")
    found = unet.load(tmp_path / "best.keras")
    logits = keras.ops.convert_to_numpy(found(images))
    np.testing.assert_allclose(softmax(found, images), expected, atol=1e-6)
    np.testing.assert_allclose(logits, np.log(expected), atol=1e-5)
    assert np.abs(softmax(networks[0], images) - expected).max() > 0.1


def test_logits_of_vanishing_probabilities_are_finite():
    image = keras.Input((1, 1, 2))
    logits = np.array([[[[300.0, -300]]]], np.float32)
    found = ensemble.average([keras.Model(image, keras.layers.ReLU()(image))] * 2)
    assert np.isfinite(found(logits)).all()


CHANGES = {
    "classes": ({"classes": ("RV", "MYO", "LA")}, "classes .*LA.*expected .*LV"),
    "preprocessing": (
        {"settings": preprocess.Settings(4, 48, 2.5, "LPS", 0)},
        "run3: preprocessing pixel_mm 2.5; expected 2.0",
    ),
    "windows": (
        {"settings": preprocess.Settings(4, 48, 2.0, "LPS", 0, ((0.0, 9.0),))},
        r"run3: preprocessing windows \(of CT, by the training subjects.*expected \(None,\)",
    ),
    "test subjects": ({"test": patients(11)}, "test subjects"),
    "steps": ({"more": {"steps": 3}}, "run3: made with --steps=3; expected 2, of .*run1"),
    "precision": ({"more": {"mixed_precision": True}}, "=True; expected False, of .*run1"),
    "labels": ({"more": {"labels": "mean"}}, "--labels=mean; expected first, of .*run1"),
    "width": ({"more": {"width": 8}}, "--width=8; expected None"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_runs_that_differ_are_refused_in_one_line(what, acdc, networks, runs, tmp_path):
    changes, message = CHANGES[what]
    other = write_run(tmp_path, acdc, 3, networks[2], (1, 2), (3, 4), **changes)
    with pytest.raises(DataError, match=message) as error:
        ensemble.find(text([*runs, other]))
    assert "\n" not in str(error.value) and not (tmp_path / "acdc/ntr2/dax3").exists()


def test_runs_of_an_earlier_version_and_of_another_radius_are_members(acdc, networks, runs):
    more = {
        "labels": "first",
        "mixed_precision": False,
        "jit": True,
        "radius": 5.0,
        "size": "48",
    }
    root = runs[0].parents[3]
    other = write_run(root, acdc, 3, networks[2], (1, 2), (3, 4), more)
    assert ensemble.find(text([*runs, other])) == root / "acdc/ntr2/dax3/run1"


def test_one_run_whose_path_has_commas_is_no_ensemble(tmp_path):
    folder = tmp_path / "Smith, J/run1"
    folder.mkdir(parents=True)
    assert ensemble.find(str(folder)) == folder


def test_runs_that_are_there_twice_or_not_trained_are_refused(runs):
    with pytest.raises(DataError, match="there twice"):
        ensemble.find(text([runs[0], runs[0] / "../run1"]))
    (runs[1] / "calibration.json").unlink()
    with pytest.raises(DataError, match="not trained to the end"):
        ensemble.find(text(runs))


@pytest.mark.parametrize("place, up", [(".", ".."), ("run1", "../..")])
def test_an_ensemble_lies_beside_its_first_member_wherever_one_stands(
    place, up, runs, tmp_path, monkeypatch
):
    monkeypatch.chdir(runs[0].parent / place)
    names = [os.path.relpath(run) for run in runs]
    folder = ensemble.find(text(names))
    assert folder == pathlib.Path(up, "dax2/run1")
    assert folder.resolve() == tmp_path / "acdc/ntr2/dax2/run1"


def test_folder_of_an_ensemble_is_of_its_members_alone(runs, networks, tmp_path):
    folder = ensemble.find(text(runs))
    assert folder == tmp_path / "acdc/ntr2/dax2/run1" == ensemble.find(text(runs))
    spec = run_folder.load_spec(folder)
    assert spec.training == patients(1, 2, 3, 5) and spec.validation == patients(4, 6)
    assert ensemble.find(str(runs[0])) == runs[0] and not ensemble.is_new(runs[0])
    with pytest.raises(DataError, match="members=da/run1,da/run2, not da/run2,da/run1"):
        ensemble.find(text(runs[::-1]))
    unet.save(networks[0], runs[0] / "best.keras")
    with pytest.raises(DataError, match="of other networks"):
        ensemble.find(text(runs))


def test_ensemble_is_calibrated_exported_scored_reported_and_predicts(
    acdc, runs, networks, tmp_path
):
    folder = ensemble.find(text(runs))
    spec = run_folder.load_spec(folder)
    assert ensemble.is_new(folder)
    record, _ = saved_model.export_run(
        folder, "dirichlet", cases=calibration_cases.load(folder, spec)
    )
    assert record["subjects"] == list(patients(4, 6)) and not ensemble.is_new(folder)
    found = calibration_record.load(folder, 4)
    flags = run_folder.read_flags(folder)
    cases = cache.prepare(spec.subjects("test", acdc), SETTINGS, flags["cache_dir"])
    stale = [folder / f"scores_{name}.csv" for name in ("volumes", "annotators")]
    for path in stale:
        path.write_text("of an earlier evaluation, with intervals and annotators")
    del found[0]["volumes"]  # as after --coverage=0
    evaluation.evaluate_best(folder, cases, CLASSES, *found, flags)
    assert not any(path.exists() for path in stale)
    (run,) = scored_runs.load(tmp_path)
    assert run.label == "DA × 2" and len(run.rows) == 4 * 4 and run.number == "1"
    card = (folder / "MODEL_CARD.md").read_text()
    assert "The mean probability of 2 2D U-Nets (da/run1, da/run2) labels" in card
    model = json.loads((folder / "saved_model/model.json").read_text())
    assert model["members"] == ["da/run1", "da/run2"] and str(tmp_path) not in json.dumps(model)
    image = scans.read_image(acdc / "testing/patient011/patient011_frame01.nii.gz")
    model = segmentation.load(folder)
    assert model.class_frequencies == (0.7, 0.2, 0.1, 0.0) and model.directions_known
    p = segmentation.predict([image], model)
    case = cases[0]
    mean = np.mean([softmax(network, case.image) for network in networks[1:]], axis=0)
    mapped = calibration.apply(found[1], mean)
    expected = grids.restore(mapped, case.grid, case.original_grid)
    np.testing.assert_allclose(p, expected, atol=1e-5)


def test_an_ensemble_without_anyone_to_calibrate_on_says_so(acdc, networks, tmp_path):
    people = ((1, 2), (3, 4)), ((3, 4), (1, 2))
    runs = [
        write_run(tmp_path, acdc, i, networks[i], *some)
        for i, some in enumerate(people, start=1)
    ]
    folder = ensemble.find(text(runs))
    with pytest.raises(DataError, match="no subjects to calibrate on"):
        saved_model.export_run(folder, "auto", cases={"validation": [], "calibration": []})
