"""Metrics against the fraction of annotators who gave a pixel each class."""

import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from bwcr_tf import metrics

GOLDEN = dict(np.load(pathlib.Path(__file__).parent / "golden" / "crps.npz"))
SCORES = metrics.ece, metrics.tace, metrics.nll, metrics.brier


def drawn(seed, count=300, annotators=4, num_classes=3):
    """Probabilities [N, C] and label maps [K, N]; some pixels are background to everyone."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(num_classes), count).astype(np.float32)
    label_maps = rng.integers(0, num_classes, (annotators, count))
    label_maps[:, : count // 3] = 0
    return p, label_maps


def brute_force_ece(p, fractions, foreground, bins=15):
    """A loop over pixels, and one over bins."""
    sums = np.zeros((bins, 2))
    count = 0
    for row, f in zip(p.astype(float), fractions.astype(float), strict=True):
        if foreground and sum(f[1:]) == 0:
            continue
        best = max(range(len(row)), key=lambda c: row[c])
        sums[int(np.ceil(row[best] * bins)) - 1] += row[best], f[best]
        count += 1
    return sum(abs(confidence - share) for confidence, share in sums) / count


def brute_force_tace(p, f, threshold, bins=15):
    pairs = sorted((row, share) for row, share in zip(p, f, strict=True) if row > threshold)
    edges = [b * len(pairs) // bins for b in range(bins + 1)]
    gaps = [
        sum(row - share for row, share in pairs[edges[b] : edges[b + 1]]) for b in range(bins)
    ]
    return sum(map(abs, gaps)) / len(pairs)


def test_fractions_are_the_mean_of_the_one_hot_labels():
    found = metrics.fractions([np.array([0, 1]), np.array([0, 2]), np.array([0, 2])], 3)
    np.testing.assert_allclose(found, [[1, 0, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("score", SCORES)
def test_one_annotator_gives_the_number_of_its_label_map_to_the_last_digit(score):
    p, label_maps = drawn(0)
    fractions = metrics.fractions(label_maps[:1], 3)
    np.testing.assert_array_equal(score(p, fractions), score(p, label_maps[0]))


@pytest.mark.parametrize("foreground", [True, False])
def test_ece_against_fractions_equals_a_loop_over_pixels(foreground):
    p, label_maps = drawn(1)
    f = metrics.fractions(label_maps, 3)
    expected = brute_force_ece(p, f, foreground)
    assert metrics.ece(p, f, foreground=foreground) == pytest.approx(expected, abs=1e-6)


def test_foreground_is_what_any_annotator_marked():
    f = np.array([[1, 0], [0.75, 0.25], [0, 1]], np.float32)
    p = np.array([[0.5, 0.5], [0.6, 0.4], [0.1, 0.9]], np.float32)
    assert metrics.reliability(p, f)["count"].sum() == 2
    # background says 0.6 and three of four agree, the nodule 0.9 and all do
    assert metrics.ece(p, f) == pytest.approx((0.15 + 0.1) / 2, abs=1e-6)
    assert metrics.ece(p, f, foreground=False) == pytest.approx(
        (0.15 + 0.1 + 0.5) / 3, abs=1e-6
    )


def test_tace_against_fractions_equals_a_loop_over_bins():
    p, label_maps = drawn(2, count=463)  # which is no multiple of 15
    f = metrics.fractions(label_maps, 3)
    expected = [brute_force_tace(p[:, c], f[:, c], threshold=0) for c in (1, 2)]
    np.testing.assert_allclose(metrics.tace(p, f, threshold=0), expected, atol=1e-6)


def test_nll_and_brier_against_fractions_are_means_over_annotators():
    """- sum_c f_c log p_c is the annotators' mean NLL; Brier's lacks the variance of the labels."""
    p, label_maps = drawn(3)
    f = metrics.fractions(label_maps, 3)
    nll = np.mean([metrics.nll(p, label_map) for label_map in label_maps])
    assert metrics.nll(p, f) == pytest.approx(nll, rel=1e-6)
    assert metrics.nll(p, f) == pytest.approx(-np.sum(f * np.log(p)) / len(p), rel=1e-5)
    brier = np.mean([metrics.brier(p, label_map) for label_map in label_maps])
    variance = (f - f**2).sum(axis=-1).mean()
    assert metrics.brier(p, f) == pytest.approx(brier - variance, abs=1e-6)


@pytest.mark.parametrize("score", [metrics.ece, metrics.tace, metrics.brier])
def test_a_network_that_says_the_fractions_is_calibrated(score):
    p, label_maps = drawn(4)
    f = metrics.fractions(label_maps, 3)
    np.testing.assert_allclose(score(f, f), 0, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(2, 300), levels=st.integers(1, 20))
def test_tace_of_tied_probabilities_does_not_depend_on_pixel_order(seed, count, levels):
    rng = np.random.default_rng(seed)
    p = (rng.integers(0, levels + 1, count) / levels).astype(np.float32)
    p, label_map = np.stack([1 - p, p], -1), rng.integers(0, 2, count)
    order = rng.permutation(count)
    np.testing.assert_allclose(
        metrics.tace(p, label_map), metrics.tace(p[order], label_map[order]), atol=1e-9
    )


def test_pixels_of_one_probability_share_a_bin():
    """Each pixel says 0.3 and 30 % are of the class: calibrated, in whatever order."""
    label_map = np.arange(1000) < 300
    p = np.tile(np.float32([0.7, 0.3]), (1000, 1))
    assert metrics.tace(p, label_map.astype(int))[0] == pytest.approx(0, abs=1e-6)


def test_tied_pixels_go_to_the_bin_of_the_first_of_them_by_hand():
    p = np.float32(
        [0.1, 0.4, 0.4, 0.8]
    )  # two bins of two: the second 0.4 draws the first along
    p = np.stack([1 - p, p], -1)
    # bins {0.1} and {0.4, 0.4, 0.8}: |0.1 - 0| and |1.6 - 2|
    found = metrics.tace(p, np.array([0, 1, 0, 1]), bins=2)
    assert found[0] == pytest.approx((0.1 + 0.4) / 4, abs=1e-6)


def test_crps_equals_properscoring_and_scoringrules():
    pairs = zip(GOLDEN["value"], GOLDEN["mean"], GOLDEN["sd"], strict=True)
    found = [metrics.crps(*pair) for pair in pairs]
    np.testing.assert_allclose(found, GOLDEN["crps_properscoring"], rtol=1e-6)
    np.testing.assert_allclose(found, GOLDEN["crps_scoringrules"], rtol=1e-6)


@pytest.mark.parametrize(
    "value, mean, sd", [(3.0, 2.0, 0.5), (-1.0, 4.0, 2.0), (1.0, 1.0, 0.1)]
)
def test_crps_is_the_integral_of_its_definition(value, mean, sd):
    def square(x):
        return (stats.norm.cdf(x, mean, sd) - (x >= value)) ** 2

    ends = mean - 12 * sd, value, mean + 12 * sd
    expected = sum(integrate.quad(square, *part)[0] for part in (ends[:2], ends[1:]))
    assert metrics.crps(value, mean, sd) == pytest.approx(expected, rel=1e-6)


def test_crps_without_spread_is_the_absolute_error():
    assert metrics.crps(3.0, 5.0, 0.0) == 2.0
    assert metrics.crps(3.0, 5.0, 1e-9) == pytest.approx(2.0)


def test_a_pixel_is_foreground_if_more_than_one_per_cent_of_annotators_say_so():
    fractions = np.array([[0.98, 0.02], [0.995, 0.005]], np.float32)
    assert metrics.reliability(fractions, fractions)["count"].sum() == 1
