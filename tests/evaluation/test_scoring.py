import dataclasses
import math

import numpy as np
import pytest
from test_tile_choice import FREQUENCIES, case, predict

from bwcr_tf.evaluation import analysis, annotators, calibration, inference, scoring, volumes

NAMES = ("A",)
FLAT = calibration.scaled(2, 2.0)
SUM = volumes.Rule(0.01, 1.0, "nested", math.inf, 0.9)  # of p after the map


def test_scores_are_of_the_networks_own_probabilities_and_volumes_of_those_after_the_map():
    rng = np.random.default_rng(0)
    first, second = np.uint8(rng.integers(0, 2, (2, 8, 8)))
    known = dataclasses.replace(
        case("a", first, rng.random((8, 8))),
        other_label_maps=second[None, None, 2:6, 2:6],
        other_original_label_maps=second[None, None],
    )
    p = predict(known.image)
    after = calibration.apply(FLAT, p)
    arguments = predict, FLAT, [known], NAMES, [SUM]
    found = scoring.score_all(*arguments, beyond=FREQUENCIES)
    np.testing.assert_equal(found.rows, inference.score(p, known, NAMES))
    np.testing.assert_equal(found.calibrated, inference.score(after, known, NAMES))
    np.testing.assert_equal(found.annotators, annotators.score(p, known, NAMES))
    np.testing.assert_equal(found.human, annotators.score_annotators(known, NAMES))
    np.testing.assert_equal(found.pooled, analysis.measure(p, known))
    assert scoring.score_each(predict, [known], NAMES) == (found.rows, found.annotators)
    (row,) = found.volumes
    assert row["calibrated_ml"] == pytest.approx(after[..., 1].sum() / 1000)  # of what was seen
    assert row["true_ml"] == first.sum() / 1000
    (row,) = scoring.score_all(*arguments, first=False).volumes
    assert row["true_ml"] == pytest.approx((first.sum() + second.sum()) / 2000)
