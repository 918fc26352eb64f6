import numpy as np
import pytest

from bwcr_tf.evaluation import conformal

DRAWS = 10_000


@pytest.mark.parametrize("count", [1, 5, 9, 20, 39])
def test_a_new_score_is_at_most_the_quantile_as_often_as_promised(count):
    rng = np.random.default_rng(count)
    scores = rng.standard_cauchy((count + 1, DRAWS)) ** 2
    level = conformal.level(count, 0.9)
    covered = np.mean(scores[-1] <= conformal.quantile(scores[:-1], 0.9))
    noise = 3 * np.sqrt(level * (1 - level) / DRAWS)
    assert level - noise <= covered <= level + 1 / (count + 1) + noise
    if count < 9:  # all that so few subjects allow
        assert level == count / (count + 1) and abs(covered - level) <= noise


def test_quantile_is_the_rank_of_the_definition():
    scores = np.arange(1, 20)[:, None] * [1.0, 10.0]  # k of 20 is at most the k-th
    np.testing.assert_array_equal(conformal.quantile(scores[::-1], 0.9), [18, 180])
    assert conformal.quantile([3.0, 1.0, 2.0], 0.5) == 2
    assert conformal.quantile([1.0, np.inf], 0.9) == np.inf


@pytest.mark.parametrize(
    ("count", "shown"), [(1, 0.5), (2, 0.666), (5, 0.833), (8, 0.888), (9, 0.9)]
)
def test_level_never_looks_like_more_than_the_subjects_allow(count, shown):
    assert conformal.rounded_down(conformal.level(count, 0.9)) == shown
    assert shown <= count / (count + 1)


def test_without_subjects_nothing_is_promised():
    assert conformal.level(0, 0.9) == 0 and np.isnan(conformal.quantile([], 0.9))
