import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special
from test_calibration import draw

from bwcr_tf.evaluation import calibration, calibration_choice, calibration_record
from bwcr_tf.system.errors import DataError


def cases(slope, subjects=6, seed=0):
    """Synthetic Cases, and a `predict` whose logits are `slope` times the true ones."""
    rng = np.random.default_rng(seed)
    logits = rng.normal([2, 0, 0], 2, (subjects, 2, 24, 24, 3))
    labels = draw(rng, special.softmax(logits, -1).reshape(-1, 3)).argmax(axis=-1)
    label_maps = labels.reshape(logits.shape[:-1])
    found = [
        SimpleNamespace(subject=f"p{i}", image=i, label_maps=label_maps[i][None])
        for i in range(subjects)
    ]
    p = special.softmax(slope * logits, axis=-1).astype(np.float32)
    return lambda image: p[image], found


@pytest.mark.parametrize("seed", range(3))
def test_auto_refuses_every_map_of_calibrated_probabilities(seed):
    record = calibration_choice.choose("auto", *cases(1.0, seed=seed), "calibration")
    assert record["kind"] == "none" and "weights" not in record
    assert record["candidates"].keys() == calibration.PARAMETERS.keys()
    assert not any(found["accepted"] for found in record["candidates"].values())


@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_auto_accepts_a_map_of_probabilities_that_are_too_sharp_or_too_flat(slope):
    predict, found = cases(slope)
    record = calibration_choice.choose("auto", predict, found, "calibration")
    assert record["candidates"]["temperature"]["accepted"] and record["kind"] != "none"
    after = calibration.apply(calibration_record.to_map(record, 3), predict(0))
    np.testing.assert_allclose(after, cases(1.0)[0](0), atol=0.15)
    assert record["subjects"] == [f"p{i}" for i in range(6)]
    assert record["part"] == "calibration" and not record["selected_weights"]


def test_auto_takes_no_map_by_the_subjects_that_selected_the_weights():
    record = calibration_choice.choose("auto", *cases(2.0), "validation")
    assert record["kind"] == "none" and "weights" not in record and record["selected_weights"]
    assert record["candidates"]["temperature"]["accepted"]  # what they say is kept
    assert (
        calibration_choice.choose("temperature", *cases(2.0), "validation")["kind"]
        == "temperature"
    )


def test_auto_accepts_nothing_of_two_subjects():
    two = cases(2.0, subjects=2)
    assert calibration_choice.choose("auto", *two, "calibration")["kind"] == "none"
    record = calibration_choice.choose("beta", *cases(2.0, subjects=1), "calibration")
    assert record["kind"] == "beta" and record["candidates"]["beta"]["nll_gain"] is None
    assert json.loads(json.dumps(record, allow_nan=False)) == record


@pytest.mark.parametrize(
    ("nll", "tace", "expected"),
    [
        ([1, 2, 3], [0, 1, -1], True),  # mean 2, standard error 0.577
        ([1, 2, 3], [0, 0, -1], False),  # harms TACE
        ([0, 1, 5], [1, 1, 1], True),  # mean 2, standard error 1.53, standard deviation 2.65
        ([-2, 1, 4], [1, 1, 1], False),  # mean 1, standard error 1.73
        ([1, 2, 3], [np.nan] * 3, True),
        ([1, 2, 3], [9, np.nan, -np.inf], False),  # erases a structure
        ([1, 1], [1, 1], False),
    ],
)
def test_a_map_helps_beyond_its_noise_or_not(nll, tace, expected):
    assert calibration_choice.helps(np.array(nll, float), np.array(tace, float)) is expected


def test_gain_in_tace_is_of_what_is_predicted_before_and_after_the_map():
    gain = calibration_choice.tace_gain
    nan = np.nan
    before = np.array([0.3, 0.5, nan])
    assert gain(before, np.array([0.2, 0.2, nan])) == pytest.approx(0.2)
    assert gain(before, np.array([0.2, 0.2, 0.1])) == pytest.approx(0.2)
    assert gain(before, np.array([0.2, nan, 0.1])) == -np.inf
    assert np.isnan(gain(before[2:], before[2:]))


def test_a_map_that_erases_a_structure_is_not_accepted():
    """Class 2 has 2 % or less everywhere and is nowhere, so that sharper maps lower its TACE."""
    rng = np.random.default_rng(0)
    p = np.empty((6, 500, 3))
    p[..., 1] = np.where(rng.random((6, 500)) < 0.5, 0.2, 0.78)
    p[..., 2] = rng.uniform(0.012, 0.02, (6, 500))
    p[..., 0] = 1 - p[..., 1:].sum(axis=-1)
    found = [
        SimpleNamespace(subject=f"p{i}", image=i, label_maps=p[i, :, :2].argmax(-1)[None])
        for i in range(6)
    ]
    record = calibration_choice.choose("auto", lambda image: p[image], found, "calibration")
    candidate = record["candidates"]["temperature"]
    assert candidate["nll_gain"] > 3 * candidate["nll_gain_standard_error"] > 0
    assert candidate["tace_gain"] is None and candidate["tace_gains"] == [None] * 6
    assert not candidate["accepted"] and record["kind"] == "none"
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_largest_accepted_gain_is_taken():
    gain = np.array([3.0, 4, 5])
    gains = {
        "temperature": (gain, gain),
        "beta": (gain + 1, gain),
        "dirichlet": (2 * gain, -gain),
    }
    assert calibration_choice.best_kind(gains) == "beta"
    assert calibration_choice.best_kind({"beta": (gain, -gain)}) == "none"


def test_gains_are_of_subjects_that_the_map_was_not_fitted_on(monkeypatch):
    predict, found = cases(2.0, subjects=3)
    seen = []
    fit = calibration.fit
    monkeypatch.setattr(
        calibration,
        "fit",
        lambda kind, samples: seen.append(len(samples)) or fit(kind, samples),
    )
    record = calibration_choice.choose("temperature", predict, found, "calibration")
    assert seen == [2, 2, 2, 3]
    others = [(predict(i).reshape(-1, 3), found[i].label_maps.ravel()) for i in (1, 2)]
    slopes = np.linspace(0.3, 0.8, 501)
    p, labels = (np.concatenate(parts) for parts in zip(*others, strict=True))

    def loss(slope, p, labels):
        return -special.log_softmax(slope * np.log(p.astype(float)), -1)[
            np.arange(len(p)), labels
        ].mean()

    best = slopes[np.argmin([loss(slope, p, labels) for slope in slopes])]
    left = predict(0).reshape(-1, 3), found[0].label_maps.ravel()
    expected = loss(1, *left) - loss(best, *left)
    gain = record["candidates"]["temperature"]["nll_gains"][0]
    assert gain == pytest.approx(expected, rel=0.01)


def test_all_annotators_of_a_case_and_all_volumes_of_a_subject_count():
    predict, found = cases(1.0, subjects=2)
    first, second = found[0].label_maps[0], found[1].label_maps[0]
    found[0].label_maps, found[1].subject = np.stack([first, second]), "p0"
    ((p, targets),) = calibration_choice.join(predict, found).values()
    np.testing.assert_array_equal(p, np.reshape([predict(0), predict(1)], (-1, 3)))
    first, second = np.eye(3)[first], np.eye(3)[second]
    np.testing.assert_array_equal(targets, np.reshape([(first + second) / 2, second], (-1, 3)))


def test_ignored_pixels_and_subjects_without_a_label_are_not_fitted_to():
    predict, found = cases(2.0, subjects=5)
    ignored = np.random.default_rng(0).random((2, 24, 24)) < 0.5
    for case in found[:4]:
        case.label_maps = np.where(ignored, 3, case.label_maps)
    found[4].label_maps = np.full_like(found[4].label_maps, 3)
    record = calibration_choice.choose("auto", predict, found, "calibration")

    def other(image):
        return np.where(ignored[..., None], np.float32([0.1, 0.2, 0.7]), predict(image))

    assert record == calibration_choice.choose("auto", other, found, "calibration")
    assert record["pixels"] == 4 * np.count_nonzero(~ignored)
    assert record["subjects"] == ["p0", "p1", "p2", "p3"]
    assert (
        calibration_choice.choose("auto", predict, found[4:], "calibration")["kind"] == "none"
    )
    with pytest.raises(DataError, match="no labelled pixel to fit beta to"):
        calibration_choice.choose("beta", predict, found[4:], "calibration")
