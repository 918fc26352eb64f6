"""Scores against all annotators of a case, and of the annotators themselves."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from bwcr_tf import metrics
from bwcr_tf.data import datasets, preprocess
from bwcr_tf.evaluation import __main__ as evaluation
from bwcr_tf.evaluation import annotators, inference, scores

CLASSES = ("RV", "MYO", "LV")
SETTINGS = preprocess.Settings(num_classes=4, size=48, pixel_mm=1.5, n4_shrink=0)


@pytest.fixture(scope="module")
def case(annotated):
    """Of three annotators, on a grid that holds all of the image."""
    subject = datasets.find("annotators", annotated).pool[2]
    return preprocess.preprocess(subject.volumes[0], SETTINGS, subject.name)


@pytest.fixture(scope="module")
def probabilities(case):
    noise = np.random.default_rng(0).normal(0, 0.3, (*case.label_map.shape, 4))
    scores = 4 * np.eye(4)[case.label_map] + noise
    return (np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)).astype(np.float32)


def alone(case, k):
    """The case with annotator k as its only one."""
    return dataclasses.replace(
        case,
        label_map=case.label_maps[k],
        original_label_map=case.original_label_maps[k],
        other_label_maps=(),
        other_original_label_maps=(),
    )


def test_scores_against_annotators_are_not_left_by_an_evaluation_without(
    case, probabilities, tmp_path
):
    path = tmp_path / "scores_annotators_last.csv"
    for found, written in ((case, True), (alone(case, 0), False)):
        evaluation.evaluate_last(tmp_path, lambda _: probabilities, [found], CLASSES)
        assert path.exists() == written


def test_scores_csv_does_not_know_the_others(case, probabilities):
    both = (inference.score(probabilities, c, CLASSES) for c in (case, alone(case, 0)))
    np.testing.assert_equal(next(both), next(both))


def test_one_annotator_gives_the_scores_of_scores_csv(case, probabilities):
    rows = annotators.score(probabilities, alone(case, 0), CLASSES)
    for row in rows:
        for name in scores.VOLUME_METRICS:
            del row[name]
    expected = inference.score(probabilities, alone(case, 0), CLASSES)
    np.testing.assert_equal(rows, expected)


def test_overlap_is_the_mean_over_annotators_and_calibration_against_fractions(
    case, probabilities
):
    single = [inference.score(probabilities, alone(case, k), CLASSES) for k in range(3)]
    found = annotators.score(probabilities, case, CLASSES)
    for i, row in enumerate(found[:-1]):
        for name in ("dice", "hd95_mm"):
            assert row[name] == pytest.approx(np.mean([rows[i][name] for rows in single]))
    assert found[-1]["nll"] == pytest.approx(np.mean([rows[-1]["nll"] for rows in single]))
    fractions = np.mean([np.eye(4)[m] for m in case.label_maps], axis=0).astype(np.float32)
    assert found[-1]["ece"] == metrics.ece(probabilities, fractions)


def test_volume_columns_by_hand(case, probabilities):
    others = case.other_original_label_maps.copy()
    others[0, 0] = 0  # annotator 2 has left a slice out
    case = dataclasses.replace(case, other_original_label_maps=others)
    rows = annotators.score(probabilities, case, CLASSES)
    ml = 1.5 * 1.5 * 8 / 1000
    drawn = [ml * np.count_nonzero(m == 3) for m in case.original_label_maps]
    mean, sd = np.mean(drawn), np.std(drawn)
    volume = ml * inference.restore(probabilities, case)[..., 3].sum()
    assert rows[2]["volume_error"] == pytest.approx(abs(volume - mean) / mean)
    x = np.linspace(mean - 12 * sd, max(mean + 12 * sd, volume + 1), 400_001)
    square = (stats.norm.cdf(x, mean, sd) - (x >= volume)) ** 2
    assert rows[2]["volume_crps_ml"] == pytest.approx(square.sum() * (x[1] - x[0]), rel=1e-3)
    for name in scores.VOLUME_METRICS:
        assert rows[3][name] == pytest.approx(np.mean([row[name] for row in rows[:3]]))


def test_the_volume_of_a_class_that_nobody_drew_has_no_relative_error(case, probabilities):
    maps = [np.where(m == 3, 2, m) for m in case.original_label_maps]
    changed = dataclasses.replace(
        case, original_label_map=maps[0], other_original_label_maps=np.array(maps[1:])
    )
    row = annotators.score(probabilities, changed, CLASSES)[2]
    assert np.isnan(row["volume_error"]) and row["volume_crps_ml"] > 0


def test_a_phantom_is_scored_against_its_own_probabilities(case, probabilities):
    true = np.random.default_rng(1).dirichlet(np.ones(4), case.label_map.shape)
    phantom = dataclasses.replace(alone(case, 0), true_probabilities=true.astype(np.float32))
    rows = annotators.score(probabilities, phantom, CLASSES)
    assert rows[-1]["brier"] == pytest.approx(
        np.square(probabilities - true).sum(-1).mean(), rel=1e-5
    )
    perfect = annotators.score(phantom.true_probabilities, phantom, CLASSES)
    for name in ("ece", "tace", "brier", "volume_crps_ml", "volume_error"):
        assert perfect[-1][name] == pytest.approx(0, abs=1e-6)
    assert annotators.score_annotators(phantom, CLASSES) == []


def test_an_annotator_is_scored_against_the_others_alone(case):
    rows = annotators.score_annotators(case, CLASSES)
    assert len(rows) == 3 * 4 and "nll" not in rows[-1]
    first, second, third = case.original_label_maps
    expected = (metrics.dice(second, first, 4) + metrics.dice(second, third, 4)) / 2
    np.testing.assert_allclose([row["dice"] for row in rows[4:7]], expected)
    others = np.mean([np.eye(4)[case.label_maps[k]] for k in (0, 2)], axis=0)
    label = np.eye(4)[case.label_maps[1]]
    assert rows[7]["brier"] == pytest.approx(np.square(label - others).sum(-1).mean())


def test_two_who_agree_have_perfect_scores(case):
    twins = dataclasses.replace(
        alone(case, 0),
        other_label_maps=case.label_map[None],
        other_original_label_maps=case.original_label_map[None],
    )
    for row in annotators.score_annotators(twins, CLASSES)[3::4]:
        assert row["dice"] == 1 and row["ece"] == row["tace"] == row["volume_error"] == 0
