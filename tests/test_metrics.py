import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bwcr_tf import metrics

GOLDEN = dict(np.load(pathlib.Path(__file__).parent / "golden" / "metrics.npz"))
P, SURE, LABELS = GOLDEN["probabilities"], GOLDEN["probabilities_sure"], GOLDEN["label_map"]


def test_dice_equals_monai():
    found = metrics.dice(GOLDEN["overlap_prediction"], GOLDEN["overlap_label_map"], 7)
    expected = GOLDEN["dice_keep_empty_monai"][1:]
    expected[3] = np.nan  # class 4 is nowhere: MONAI says 1, we say undefined
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_hd95_equals_monai_with_anisotropic_spacing():
    found = metrics.hd95(
        GOLDEN["overlap_prediction"],
        GOLDEN["overlap_label_map"],
        7,
        GOLDEN["overlap_spacing_mm"],
    )
    np.testing.assert_allclose(found, GOLDEN["hd95_mm_monai"], rtol=1e-5)


def test_hd95_by_hand_of_two_shifted_squares():
    prediction, label_map = np.zeros((2, 1, 12, 12), int)
    prediction[0, 2:6, 2:6], label_map[0, 2:6, 5:9] = 1, 1
    assert metrics.hd95(prediction, label_map, 2, (5.0, 1.0, 2.0))[0] == pytest.approx(6.0)


def test_ece_equals_torchmetrics_and_netcal():
    assert metrics.ece(P, LABELS, foreground=False) == pytest.approx(
        GOLDEN["ece_netcal"], abs=1e-7
    )
    assert metrics.ece(P, LABELS) == pytest.approx(
        GOLDEN["ece_foreground_torchmetrics"], abs=1e-6
    )


def test_ece_of_sure_predictions_puts_confidence_one_in_the_last_bin_as_netcal_does():
    found = metrics.ece(SURE, LABELS, foreground=False)
    assert found == pytest.approx(GOLDEN["sure_ece_netcal"], abs=1e-6)
    assert found < GOLDEN["sure_ece_torchmetrics"]  # which gives it a bin of its own


def test_tace_equals_netcal():
    found = metrics.tace(P, LABELS)
    np.testing.assert_allclose(found, GOLDEN["tace_per_class_netcal"][1:], atol=1e-6)


def test_nll_and_brier_equal_torch_and_sklearn():
    assert metrics.nll(P, LABELS) == pytest.approx(GOLDEN["nll_torch"], rel=1e-5)
    assert metrics.brier(P, LABELS) == pytest.approx(GOLDEN["brier_sklearn"], rel=1e-5)


def two_class(p, label_map):
    p = np.asarray(p, np.float32)
    return np.stack([1 - p, p], -1), np.asarray(label_map)


def test_ece_of_a_perfect_and_of_a_sure_but_wrong_predictor():
    labels = np.array([1, 1, 0, 1])
    assert metrics.ece(*two_class(labels, labels), foreground=False) == 0
    assert metrics.ece(*two_class(1 - labels, labels), foreground=False) == 1


def test_bins_are_open_below_and_closed_above():
    table = metrics.reliability(*two_class([0.6, 0.6000001, 0.8], [1, 1, 1]), bins=5)
    np.testing.assert_array_equal(table["count"], [0, 0, 1, 2, 0])


def test_ece_by_hand():
    # bin (0.6, 0.8]: confidence 0.7, 0.8, both right; bin (0.8, 1]: 0.9, wrong
    probabilities, labels = two_class([0.7, 0.8, 0.1], [1, 1, 1])
    assert metrics.ece(probabilities, labels, bins=5) == pytest.approx((0.5 + 0.9) / 3)


def test_metrics_without_foreground_or_predictions_are_nan():
    probabilities, labels = two_class([0.001, 0.002], [0, 0])
    assert np.isnan(metrics.ece(probabilities, labels))
    assert np.isnan(metrics.tace(probabilities, labels)).all()
    assert np.isnan(metrics.dice(labels, labels, 2)).all()
    assert np.isnan(metrics.hd95(labels[None, None], labels[None, None], 2, (1, 1, 1))).all()


def test_tace_by_hand_in_two_bins():
    probabilities, labels = two_class([0.2, 0.4, 0.6, 0.8, 0.005], [0, 1, 1, 1, 0])
    # bins {0.2, 0.4} and {0.6, 0.8}: |0.3 - 0.5| and |0.7 - 1|; 0.005 is under the threshold
    assert metrics.tace(probabilities, labels, bins=2)[0] == pytest.approx(0.25, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 400), bins=st.integers(1, 20))
def test_scores_are_fractions_and_do_not_depend_on_pixel_order(seed, count, bins):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), count).astype(np.float32)
    labels = rng.integers(0, 3, count)
    order = rng.permutation(count)
    for score in (metrics.ece, metrics.tace):
        value, shuffled = score(p, labels, bins), score(p[order], labels[order], bins)
        np.testing.assert_allclose(value, shuffled, atol=1e-9)
        assert np.all(np.isnan(value) | ((value >= 0) & (value <= 1)))
    assert 0 <= metrics.brier(p, labels) <= 2 and metrics.nll(p, labels) >= 0


@given(hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(0, 1, width=32)))
def test_ranks_are_those_of_a_stable_sort(values):
    np.testing.assert_array_equal(metrics._rank(values), np.argsort(values, kind="stable"))
