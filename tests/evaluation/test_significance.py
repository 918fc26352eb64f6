import itertools
import math

import numpy as np
import pytest

from bwcr_tf.evaluation import significance


def differences(seed, count, shift):
    return np.random.default_rng(seed).normal(shift, 0.05, count)


def p_of_all_flips(values):
    """The share of all 2^N flips of signs whose mean is no smaller in size, one by one."""
    observed = abs(math.fsum(values)) - 1e-12
    flips = itertools.product((1, -1), repeat=len(values))
    sums = [
        abs(math.fsum(s * v for s, v in zip(signs, values, strict=True))) for signs in flips
    ]
    return np.mean(np.array(sums) >= observed)


@pytest.mark.parametrize(("count", "shift"), [(2, 0.05), (5, 0.05), (9, 0.0), (12, -0.03)])
def test_few_differences_are_tested_exactly(count, shift):
    values = differences(count, count, shift)
    expected = p_of_all_flips(values)
    assert significance.permutation_test(values) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.01, -0.02])
def test_drawn_flips_agree_with_all_of_them(shift):
    values = differences(1, 16, shift)
    expected = p_of_all_flips(values)
    sd = np.sqrt(expected * (1 - expected) / 10_000)
    found = significance.permutation_test(values)
    assert found != pytest.approx(expected, abs=1e-9)  # 2^16 > 10,000: they were drawn
    assert found == pytest.approx(expected, abs=4 * sd + 1 / 10_001)


def test_smallest_p_counts_the_data_as_one_draw():
    assert significance.permutation_test(np.full(50, -0.1)) == pytest.approx(1 / 10_001)
    assert significance.permutation_test([0.1, 0.2, 0.3]) == pytest.approx(2 / 8)
    assert significance.permutation_test([0.1, 0.2, 0.1 + 0.2]) == pytest.approx(2 / 8)


def test_tests_made_together_are_those_made_alone():
    rows = [differences(seed, count, 0.01) for seed, count in enumerate((40, 6, 40, 1, 0, 6))]
    found = significance.permutation_tests(rows)
    np.testing.assert_array_equal(found, [significance.permutation_test(r) for r in rows])
    assert found[1] == pytest.approx(p_of_all_flips(rows[1]), abs=1e-12)


def test_one_difference_says_nothing_and_none_is_undefined():
    assert significance.permutation_test([0.3]) == 1
    assert np.isnan(significance.permutation_test([]))
    assert significance.bootstrap_interval([0.3]) == (0.3, 0.3)
    assert np.isnan(significance.bootstrap_interval([])).all()


def test_bootstrap_interval_is_the_central_part_of_the_resampled_means():
    values = np.random.default_rng(2).gamma(1.5, 0.1, 40)
    rng = np.random.default_rng(3)
    means = sorted(rng.choice(values, values.size).mean() for _ in range(10_000))
    found = significance.bootstrap_interval(values)
    expected = means[250], means[-251]
    np.testing.assert_allclose(found, expected, atol=0.03 * (expected[1] - expected[0]))
    assert significance.bootstrap_interval(values) == found  # the same draws each time


def test_holm_by_hand():
    # sorted 0.01 x 4, 0.02 x 3, 0.03 x 2 (raised to 0.06), 0.4 x 1
    found = significance.holm([0.4, 0.01, 0.03, 0.02])
    np.testing.assert_allclose(found, [0.4, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(significance.holm([0.6, 0.7]), [1.0, 1.0])
    np.testing.assert_allclose(significance.holm([0.03, np.nan, 0.01]), [0.03, np.nan, 0.02])


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


def test_scores_are_paired_by_name_and_subjects_come_in_the_order_of_theirs():
    scores = {(f"p{k:02}", "ED", "1"): k for k in range(20)}
    reference = {(f"p{k:02}", "ED", "1"): k**2 for k in reversed(range(20))}
    found = significance.subject_differences(scores, reference)
    np.testing.assert_array_equal(found, [k - k**2 for k in range(20)])


def test_mean_leaves_out_what_is_undefined():
    assert significance.mean([0.0, None, float("nan"), 3.0]) == 1.5
    assert np.isnan(significance.mean([None])) and np.isnan(significance.mean(iter(())))
