import dataclasses
import json
import re

import numpy as np
import pytest

from bwcr_tf.data import preprocess
from bwcr_tf.evaluation import volume_scores
from bwcr_tf.export import calibration_words, model_card, score_words
from bwcr_tf.training import run_folder, validations

HEADER = "subject,volume,class,dice,hd95_mm,ece,ece_all,tace,tace_paper,nll,brier\n"


@pytest.fixture
def folder(tmp_path):
    settings = preprocess.Settings(3, 64, 2.5, n4_shrink=4)
    spec = run_folder.RunSpec(
        "acdc", ("RV", "LV"), settings, ("p1", "p2"), ("p3",), ("p4", "p5")
    )
    flags = {"method": "bwcr", "dataset": "acdc", "ntr": 2, "run": 3, "radius": 10.0}
    flags |= {"data_dir": "/home/me/data", "cache_dir": "/home/me/cache", "runs_dir": "/home/r"}
    run_folder.claim(tmp_path, flags, spec)
    (tmp_path / "temperature.json").write_text('{"temperature": 1.25, "choice": "fit"}')
    return tmp_path


def write_scores(folder, ece):
    rows = [
        "p4,p4_ED,LV,0.900000,3.0,,,0.010000,0.001000,,",
        "p4,p4_ED,all,0.900000,,{0},0.02,0.010000,0.001000,0.300000,0.100000",
        "p4,p4_ES,LV,0.700000,3.0,,,0.010000,0.001000,,",
        "p4,p4_ES,all,0.700000,,{0},0.02,0.010000,0.001000,0.300000,0.100000",
        "p5,p5_ED,LV,0.600000,3.0,,,nan,nan,,",
        "p5,p5_ED,all,0.600000,,{0},0.02,nan,nan,0.100000,0.100000",
    ]
    for name, factor in (("scores.csv", 1), ("scores_calibrated.csv", 0.5)):
        text = "\n".join(rows).format(factor * ece) + "\n"
        (folder / name).write_text(HEADER + text)
    (folder / "summary.json").write_text('{"temperature": 1.25}')


def cells(card):
    """Dict of (metric, class) to the other cells of the table."""
    rows = re.findall(r"^\| (\w+) \| (\w+) \| (.*) \|$", card, re.MULTILINE)
    return {(metric, name): rest.split(" | ") for metric, name, rest in rows}


def test_card_names_the_data_the_flags_and_the_limits(folder):
    model_card.write(folder)
    card = (folder / "MODEL_CARD.md").read_text()
    digest = json.loads((folder / "split.json").read_text())["hash"]
    for text in (
        "# bwcr on acdc, 2 training subjects, run 3",
        "background, RV, LV",
        "p1, p2",
        digest,
        "--radius=10.0",
        "Calibration temperature: probabilities are softmax(logits / T) with T = 1.250.",
        "N4 (shrink 4)",
        "64 x 64 pixels",
        "160 x 160 mm",
        "Not measured yet",
        "one slice at a time",
        "bwcr_tf.predict",
    ):
        assert text in card, text
    assert "/home" not in card and not {"{", "}"} & set(card)


def test_card_says_which_step_was_selected_and_that_it_is_early(folder):
    assert "for the choice of weights and of" in " ".join(
        model_card.to_markdown(folder).split()
    )
    dice = {100: 0.5, 200: 0.7, 2000: 0.6}
    validations.write(
        folder / "validation.csv", [{"step": k, "dice": v} for k, v in dice.items()]
    )
    card = " ".join(model_card.to_markdown(folder).split())
    assert "for the choice of weights (step 200 of 2000: hardly trained) and of" in card


def test_scores_are_means_over_subjects_with_intervals(folder):
    write_scores(folder, 0.2)
    model_card.write(folder)
    found = cells((folder / "MODEL_CARD.md").read_text())
    count, before, after = found["dice", "LV"]
    assert count == "2" and before == after
    assert before == "70.0 [60.0, 80.0]"  # p4: 0.8, p5: 0.6; the interval spans both
    assert found["ece", "all"][1:] == ["20.0 [20.0, 20.0]", "10.0 [10.0, 10.0]"]
    assert found["nll", "all"][1] == "0.200 [0.100, 0.300]"
    assert found["tace", "LV"][:2] == ["1", "1.0 [1.0, 1.0]"]  # nan is left out


def test_what_is_undefined_after_the_map_is_called_so(folder):
    write_scores(folder, 0.2)
    path = folder / "scores_calibrated.csv"
    path.write_text(path.read_text().replace("0.010000,0.001000", "nan,nan"))
    found = cells(model_card.to_markdown(folder))
    assert found["tace", "LV"] == ["1", "1.0 [1.0, 1.0]", "undefined"]


def test_card_goes_into_the_saved_model_too(folder):
    (folder / "saved_model").mkdir()
    model_card.write(folder)
    assert (folder / "saved_model" / "MODEL_CARD.md").read_text() == (
        folder / "MODEL_CARD.md"
    ).read_text()


@pytest.mark.parametrize(
    ("choice", "how", "calibrated"),
    [
        ("fit", "It minimises", "were calibrated on 1 subjects of acdc"),
        ("1.5", "It was given", "were not calibrated"),
    ],
)
def test_card_says_where_the_temperature_is_from(choice, how, calibrated, folder):
    (folder / "temperature.json").write_text(
        json.dumps({"temperature": 1.5, "choice": choice, "validation_subjects": ["p3"]})
    )
    card = model_card.to_markdown(folder)
    assert how in card and calibrated in card
    assert ("weights and of the calibration" in card) == (choice == "fit")


def test_scores_of_another_temperature_are_not_shown(folder):
    write_scores(folder, 0.2)
    assert cells(model_card.to_markdown(folder))
    (folder / "temperature.json").write_text('{"temperature": 3.0}')
    card = model_card.to_markdown(folder)
    assert "T = 3.000" in card and "Not measured yet" in card and not cells(card)


def test_run_without_temperature_is_described_as_such(folder):
    (folder / "temperature.json").write_text('{"temperature": 1.0, "choice": "none"}')
    assert "None was fitted." in model_card.to_markdown(folder)
    assert "probabilities are the network's own." in model_card.to_markdown(folder)


@pytest.mark.parametrize(
    ("model", "outside"),
    [
        (None, "the class frequencies of training"),
        ({"classes": ["background", "RV", "LV"]}, "background for certain"),  # earlier version
        ({"slices_outside": [1 / 3] * 3}, "alike for all classes"),
        ({"slices_outside": [0.5, 0.5], "class_frequencies": [0.5, 0.5]}, "the class frequenc"),
    ],
)
def test_card_says_what_the_exported_slices_give_beyond_the_grid(model, outside, folder):
    if model:
        (folder / "saved_model").mkdir()
        (folder / "saved_model" / "model.json").write_text(json.dumps(model))
    assert f"where its probabilities are {outside}" in model_card.to_markdown(folder)


@pytest.mark.parametrize("aside", [(), ("p6", "p7")])
@pytest.mark.parametrize("kind", ["none", "beta"])
def test_card_says_what_auto_chose_on_whom(kind, aside, folder):
    spec = run_folder.load_spec(folder)
    (folder / "split.json").unlink()
    run_folder.claim(
        folder, run_folder.read_flags(folder), dataclasses.replace(spec, calibration=aside)
    )
    record = {
        "choice": "auto",
        "kind": kind,
        "subjects": aside or ["p3"],
        "candidates": {"beta": {"accepted": kind == "beta"}},
        "selected_weights": not aside,
    }
    record |= {"weights": np.eye(6, 3).tolist(), "bias": [0, 0, 0]} if kind == "beta" else {}
    (folder / "calibration.json").write_text(json.dumps(record))
    card = model_card.to_markdown(folder)
    assert f"Calibration {kind}: " in card
    verb = "checked" if kind == "none" else "calibrated"
    assert f"were {verb} on {len(aside) or 1} subjects of acdc" in card
    assert ("Calibration subjects: p6, p7." in card) == bool(aside)
    assert ("which selected the weights, were used" in card) == (not aside)


@pytest.mark.parametrize("intervals", [True, False])
def test_card_names_validation_subjects_that_gave_the_intervals_alone(intervals, folder):
    volumes = {"coverage": 0.9, "part": "validation", "subjects": ["p3"], "classes": {}}
    record = {"choice": "none", "kind": "none", "volumes": volumes if intervals else None}
    (folder / "calibration.json").write_text(json.dumps(record))
    card = " ".join(model_card.to_markdown(folder).split())
    assert ("which selected the weights, were used" in card) == intervals
    assert ("weights and of the calibration" in card) == intervals


def test_words_name_the_maps_that_helped_only_the_validation_subjects():
    candidates = {"temperature": {"accepted": False}, "beta": {"accepted": True}}
    record = {"choice": "auto", "kind": "none", "candidates": candidates, "subjects": ["p3"]}
    record["selected_weights"] = True
    told = calibration_words.how(record)
    assert "beta helped, but none was taken" in told and "--num_calibration" in told
    taken = calibration_words.how(record | {"kind": "beta"})  # by an earlier version
    assert taken.startswith("Of temperature, beta, it gained most on calibration subjects")
    candidates["beta"]["accepted"] = False
    assert "beta, none was accepted" in calibration_words.how(record)


def test_interval_is_the_bootstraps():
    values = np.random.default_rng(0).random(30)
    mean, low, high = map(float, re.findall(r"[\d.]+", score_words.to_cell("dice", values)))
    half = 196 * values.std() / np.sqrt(30)
    assert mean == pytest.approx(100 * values.mean(), abs=0.05)
    assert (mean - low, high - mean) == pytest.approx((half, half), rel=0.15)


def test_card_has_what_the_intervals_promise_and_held(folder):
    card = model_card.to_markdown(folder)
    assert "It gives no intervals of volumes." in card and "| held |" not in card
    rule = {"region": 0.05, "factor": 1.0, "kind": "nested", "quantile": 2.5, "level": 2 / 3}
    record = {"choice": "none", "kind": "none"}
    record["volumes"] = {
        "coverage": 0.9, "subjects": ["p3", "p6"], "part": "validation",
        "classes": {"RV": rule, "LV": rule},
    }  # fmt: skip
    (folder / "calibration.json").write_text(json.dumps(record))
    rows = [
        {"subject": "p4", "class": name, "true_ml": 2.0, "ml": 1.0, "calibrated_ml": 1.5}
        | {"low_ml": 1.0, "high_ml": 3.0}
        for name in ("RV", "LV")
    ]
    found = volume_scores.summarize(rows, record["volumes"], ("RV", "LV"))
    (folder / "summary.json").write_text(json.dumps({"volumes": found}))
    card = model_card.to_markdown(folder)
    promise = "promise 66.6 % of subjects (90 % asked for, 2 calibration subjects)"
    assert promise in " ".join(card.split()) and "also selected the weights" in card
    row = "| LV | sum of p > 0.05 | 50.0 | 25.0 | nested | 66.6 | 1 of 1 | 2 |"
    assert row in card
    rule["quantile"] = 3.0  # the intervals are others now
    (folder / "calibration.json").write_text(json.dumps(record))
    assert row not in model_card.to_markdown(folder)


def test_card_says_what_becomes_of_what_the_grid_does_not_hold():
    found = {"max_tiles": 1, "dice": {"1": 0.7, "256": 0.651}, "subjects": ["a", "b"]}
    text = calibration_words.beyond({"tiles": found})
    assert "class frequencies" in text and "Dice 70.0, in tiles 65.1 % of 2 subjects" in text
    found |= {"max_tiles": 256}
    assert "class frequencies" not in calibration_words.beyond({"tiles": found})
    assert calibration_words.beyond({"tiles": None}) == calibration_words.beyond({})
