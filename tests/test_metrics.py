import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_hd95_of_one_slice_is_that_of_its_contours():
    prediction, label_map = np.zeros((2, 1, 40, 40), int)
    prediction[0, 4:34, 10:40], label_map[0, 4:34, 4:34] = 1, 1  # shifted by six columns
    assert metrics.hd95(prediction, label_map, 2, (5.0, 1.0, 1.0))[0] == pytest.approx(6.0)


def brute_force_hd95(prediction, label_map, spacing_mm):
    """Surfaces by the six neighbours of each voxel, and all distances between them."""
    surfaces = []
    for mask in (prediction, label_map):
        padded = np.pad(mask, 1)
        rolled = [np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)]
        inner = np.logical_and.reduce(rolled)[1:-1, 1:-1, 1:-1]
        surfaces.append(np.argwhere(mask & ~inner) * spacing_mm)
    gaps = np.linalg.norm(surfaces[0][:, None] - surfaces[1][None], axis=-1)
    return max(np.percentile(gaps.min(axis=axis), 95) for axis in (0, 1))


@pytest.mark.parametrize("seed", range(3))
def test_hd95_of_a_prediction_far_beyond_the_label_equals_all_distances(seed):
    rng = np.random.default_rng(seed)
    label_map, prediction = rng.random((2, 4, 12, 14)) < 0.8
    label_map[:, :, 5:], prediction[1:], prediction[:, :3] = False, False, False
    for pair in ((prediction, label_map), (label_map, prediction)):
        found = metrics.hd95(*(mask.astype(int) for mask in pair), 2, (5.0, 1.0, 2.0))
        assert found[0] == pytest.approx(brute_force_hd95(*pair, (5.0, 1.0, 2.0)))


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


def test_pixels_of_equal_probability_are_in_the_bin_of_the_last_of_them_by_hand():
    p = np.array([0.1, 0.2, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5, 0.8, 0.9])
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 1])
    # of the five in each bin 0.5 would be in both; bins of three and seven: 0.6 - 0, 4.2 - 7
    expected = (0.6 + 2.8) / 10  # in the bin of the first: (|3.1 - 5| + |1.7 - 2|) / 10 = 0.22
    found = metrics.tace(np.stack([1 - p, p], axis=-1), labels, bins=2)
    np.testing.assert_allclose(found, [expected])


def test_tace_by_hand_in_two_bins():
    probabilities, labels = two_class([0.2, 0.4, 0.6, 0.8, 0.005], [0, 1, 1, 1, 0])
    # bins {0.2, 0.4} and {0.6, 0.8}: |0.3 - 0.5| and |0.7 - 1|; 0.005 is under the threshold
    assert metrics.tace(probabilities, labels, bins=2)[0] == pytest.approx(0.25, abs=1e-6)


def test_a_probability_at_the_threshold_is_under_it():
    probabilities, labels = two_class([0.25, 0.75], [0, 1])
    assert metrics.tace(probabilities, labels, threshold=0.25)[0] == 0.25  # 1 - 0.75
    assert np.isnan(metrics.tace(probabilities[:1], labels[:1], threshold=0.25)[0])


def test_nll_of_a_tiny_probability_is_its_logarithm():
    p = np.float32([[1 - 1e-12, 1e-12]])
    assert metrics.nll(p, np.array([1])) == pytest.approx(12 * np.log(10))


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


def with_ignored(seed, classes=3, shape=(3, 8, 9)):
    """Probabilities, a label map in which a third is ignored, and where it is not."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(classes), shape).astype(np.float32)
    kept = rng.random(shape) > 1 / 3
    return p, np.where(kept, rng.integers(0, classes, shape), classes), kept


CALIBRATION = {
    "ece": metrics.ece,
    "ece_all": lambda p, label_map: metrics.ece(p, label_map, foreground=False),
    "tace": metrics.tace,
    "nll": metrics.nll,
    "brier": metrics.brier,
}


@pytest.mark.parametrize("name", CALIBRATION)
def test_a_metric_of_calibration_is_that_of_the_pixels_that_are_not_ignored(name):
    p, label_map, kept = with_ignored(0)
    expected = CALIBRATION[name](p[kept], label_map[kept])
    np.testing.assert_allclose(CALIBRATION[name](p, label_map), expected, rtol=1e-6)
    np.testing.assert_allclose(
        CALIBRATION[name](p, metrics.fractions([label_map], 3)), expected, rtol=1e-6
    )
    assert np.isnan(CALIBRATION[name](p, np.full_like(label_map, 3))).all()


@pytest.mark.parametrize("seed", range(3))
def test_what_is_predicted_at_ignored_pixels_changes_no_metric(seed):
    p, label_map, kept = with_ignored(seed)
    other = np.where(kept[..., None], p, with_ignored(seed + 10)[0])
    for metric in CALIBRATION.values():
        np.testing.assert_array_equal(metric(p, label_map), metric(other, label_map))
    first, second = p.argmax(-1), other.argmax(-1)
    assert (first != second).any()
    for metric in (metrics.dice, lambda *args: metrics.hd95(*args, (5.0, 1.0, 2.0))):
        np.testing.assert_array_equal(metric(first, label_map, 3), metric(second, label_map, 3))


def test_dice_counts_no_ignored_pixels():
    prediction, label_map = np.array([1, 1, 1, 0, 0]), np.array([2, 1, 0, 1, 2])
    assert metrics.dice(prediction, label_map, 2)[0] == 2 * 1 / (2 + 2)


def test_hd95_of_a_stack_of_which_one_slice_is_labelled_is_that_of_the_slice():
    """Voxels beside ignored slices are no surface: else the whole disc would be, at distance 0."""
    prediction, label_map = np.zeros((2, 3, 20, 20), int)
    prediction[:, 2:10, 2:10], label_map[1, 2:10, 2:14] = 1, 1
    label_map[[0, 2]] = 2
    y, x = np.mgrid[2:10, 2:14]  # the label's outline, and how far each pixel is off the other
    outline = (y == 2) | (y == 9) | (x == 2) | (x == 13)
    off = np.where(x > 9, x - 9, 0)[outline]
    found = metrics.hd95(prediction, label_map, 2, (5.0, 1.0, 1.0))[0]
    assert found == pytest.approx(np.percentile(off, 95)) and found == 4.0


def test_hd95_is_undefined_where_a_structure_touches_ignored_voxels_alone():
    prediction, label_map = np.zeros((2, 3, 9, 9), int)
    prediction[1, 3:6, 3:6] = 1
    label_map[:, 2:7, 2:7], label_map[1, 4, 4] = 2, 1
    assert np.isnan(metrics.hd95(prediction, label_map, 2, (1.0, 1.0, 1.0))[0])
