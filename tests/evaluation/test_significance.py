import numpy as np
import pytest
from scipy import stats

from bwcr_tf.evaluation import significance


def mean_difference(x, y, axis):
    return np.mean(x - y, axis=axis)


def paired(seed, count, shift):
    rng = np.random.default_rng(seed)
    reference = rng.gamma(2.0, 0.1, count)
    return reference + rng.normal(shift, 0.05, count), reference


@pytest.mark.parametrize(("count", "shift"), [(5, 0.05), (9, 0.0), (12, -0.03)])
def test_exact_permutation_test_equals_scipy(count, shift):
    x, y = paired(count, count, shift)
    expected = stats.permutation_test(
        (x, y), mean_difference, permutation_type="samples", n_resamples=10_000
    ).pvalue
    assert significance.permutation_test(x - y) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.02])
def test_drawn_permutation_test_agrees_with_scipy(shift):
    x, y = paired(1, 50, shift)
    expected = stats.permutation_test(
        (x, y), mean_difference, permutation_type="samples", n_resamples=10_000, rng=1
    ).pvalue
    sd = np.sqrt(2 * expected * (1 - expected) / 10_000) + 1e-3
    assert significance.permutation_test(x - y) == pytest.approx(expected, abs=4 * sd)


def test_smallest_p_counts_the_data_as_one_draw():
    assert significance.permutation_test(np.full(50, -0.1)) == pytest.approx(1 / 10_001)
    assert significance.permutation_test([0.1, 0.2, 0.3]) == pytest.approx(2 / 8)
    assert significance.permutation_test([0.1, 0.2, 0.1 + 0.2]) == pytest.approx(2 / 8)
    assert np.isnan(significance.permutation_test([]))


def test_bootstrap_interval_equals_scipys_percentile_interval():
    values = np.random.default_rng(2).gamma(1.5, 0.1, 40)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=10_000, rng=3
    ).confidence_interval
    found = significance.bootstrap_interval(values)
    np.testing.assert_allclose(found, expected, atol=0.03 * (expected.high - expected.low))


def test_holm_by_hand():
    # sorted 0.01 x 4, 0.02 x 3, 0.03 x 2 (raised to 0.06), 0.4 x 1
    found = significance.holm([0.4, 0.01, 0.03, 0.02])
    np.testing.assert_allclose(found, [0.4, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(significance.holm([0.6, 0.7]), [1.0, 1.0])


def test_subjects_are_the_unit_and_only_shared_scores_count():
    scores = {
        ("b", "b_ED", "1"): 0.4,
        ("b", "b_ES", "1"): 0.2,
        ("b", "b_ED", "2"): 0.9,
        ("a", "a_ED", "1"): 0.5,
        ("a", "a_ES", "1"): np.nan,
        ("c", "c_ED", "1"): np.nan,
        ("d", "d_ED", "3"): 0.7,
    }
    reference = dict.fromkeys(scores, 0.1)
    del reference["d", "d_ED", "3"]
    found = significance.subject_differences(scores, reference)
    np.testing.assert_allclose(found, [0.4, (0.3 + 0.1 + 0.8) / 3])


def test_mean_leaves_out_what_is_undefined():
    assert significance.mean([1.0, None, float("nan"), 2.0]) == 1.5
    assert np.isnan(significance.mean([None])) and np.isnan(significance.mean(iter(())))
