import math

import numpy as np
import pytest

from bwcr_tf.evaluation import conformal, volumes


def of_two(p):
    """Probabilities [1, 1, N, 2] of those [N] of class 1."""
    p = np.array(p, np.float64).reshape(1, 1, -1)
    return np.stack([1 - p, p], axis=-1)


def rule(**changes):
    return volumes.Rule(None, 1.0, "nested", 1.0, 0.9)._replace(**changes)


def odds(p):
    return math.log(p / (1 - p))


P = of_two([0.97, 0.9, 0.6, 0.3, 0.2, 0.01])


def test_nested_score_is_the_log_odds_of_the_last_voxel_that_counts():
    score = lambda size: volumes.nested_score(P, 1, size)  # noqa: E731
    assert score(3) == 0  # p > 0.5
    assert score(4) == pytest.approx(-odds(0.3))  # which must be in
    assert score(6) == pytest.approx(-odds(0.01))
    assert score(1) == pytest.approx(odds(0.9))  # which must not
    assert score(0) == pytest.approx(odds(0.97))
    assert score(3.5) == pytest.approx(-odds(0.3))  # of three annotators, say
    assert score(1.5) == pytest.approx(odds(0.9))
    assert score(7) == math.inf


def test_nested_interval_is_counted_by_hand():
    between = odds(0.8)  # 0.2 is as far on the other side
    assert volumes.nested_interval(P, 1, between) == (2, 5)
    assert volumes.nested_interval(P, 1, 0) == (3, 3)
    assert volumes.nested_interval(P, 1, math.inf) == (0, 6)


def test_of_several_classes_the_smallest_set_is_that_of_the_label():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], (3, 4, 5))
    for c in (1, 2):
        size = np.count_nonzero(p.argmax(axis=-1) == c)
        assert (
            volumes.nested_interval(p, c, 0) == (size, size) == (volumes.label_size(p, c),) * 2
        )
        assert volumes.nested_score(p, c, size) == 0


def test_label_is_the_first_of_the_largest_probabilities():
    p = np.random.default_rng(0).integers(0, 3, (4, 5, 6, 3)) / 2.0  # with many ties
    for c in range(3):
        assert volumes.label_size(p, c) == np.count_nonzero(p.argmax(axis=-1) == c)


def test_sure_voxels_and_an_absent_class_are_measured():
    sure = of_two([1.0, 1.0, 0.0])
    assert volumes.nested_score(sure, 1, 2) == 0
    assert volumes.nested_score(sure, 1, 1) == volumes.nested_score(sure, 1, 3) == math.inf
    empty = of_two([0.1, 0.1, 0.0])
    assert all(kind.score(empty, 1, 0) == 0 for kind in volumes.KINDS.values())
    for kind in ("relative", "uncertain"):
        assert volumes.KINDS[kind].score(empty, 1, 5) == 0.5  # of at least ten voxels
        assert volumes.KINDS[kind].interval(empty, 1, 0.5) == (0, pytest.approx(5))


def test_uncertain_voxels_are_the_unit_of_their_score():
    p = of_two([*[0.99] * 30, *[0.8] * 15, *[0.3] * 5, 0.1])  # odds of 0.88 and 0.12 are e^2
    assert volumes.uncertain_size(p, 1) == 20
    assert volumes.KINDS["uncertain"].score(p, 1, 50) == (50 - 45) / 20
    assert volumes.KINDS["relative"].score(p, 1, 50) == (50 - 45) / 45


@pytest.mark.parametrize("kind", volumes.KINDS)
def test_interval_holds_the_sizes_whose_score_is_at_most_the_quantile(kind):
    rng = np.random.default_rng(1)
    for p in rng.dirichlet([0.2, 0.3, 0.2], (20, 2, 5, 5)):
        sizes = np.arange(51)
        scores = np.array([volumes.KINDS[kind].score(p, 1, size) for size in sizes])
        for quantile in (*rng.choice(scores, 5), 0.5, math.inf):
            low, high = volumes.KINDS[kind].interval(p, 1, quantile)
            np.testing.assert_array_equal((low <= sizes) & (sizes <= high), scores <= quantile)


@pytest.mark.parametrize("count", [5, 19])
@pytest.mark.parametrize("kind", volumes.KINDS)
def test_new_volumes_are_in_their_intervals_as_often_as_promised(kind, count):
    """Scans of 12 voxels, whose true sizes depend on their probabilities in a way that is wrong."""
    rng = np.random.default_rng(2)
    scans = 400  # of which all sets of calibration subjects and new ones are drawn
    p = rng.beta(0.5, 0.5, (scans, 12)).round(3)
    sizes = rng.binomial(12, p.mean(axis=1) ** 2)
    score, interval = volumes.KINDS[kind]
    scores = np.array([score(of_two(row), 1, n) for row, n in zip(p, sizes, strict=True)])
    drawn = rng.integers(scans, size=(count + 1, 10_000))  # exchangeable
    quantiles = conformal.quantile(scores[drawn[:-1]], 0.9)
    held = np.zeros(drawn.shape[1], bool)
    for i in range(scans):  # the intervals of one scan at the few quantiles that there are
        mine = drawn[-1] == i
        for q in np.unique(quantiles[mine]):
            low, high = interval(of_two(p[i]), 1, q)
            held[mine & (quantiles == q)] = low <= sizes[i] <= high
    level = conformal.level(count, 0.9)
    assert held.mean() >= level - 3 * np.sqrt(level * (1 - level) / held.size)
    assert held.mean() <= level + 0.1  # and is not so by being wide


def test_calibrated_volume_is_that_of_the_rule_and_inside_its_interval():
    found = volumes.measure(P, 1, rule(region=0.25, quantile=odds(0.8)))
    assert found == (3, pytest.approx(0.97 + 0.9 + 0.6 + 0.3), 2, 5)
    assert volumes.measure(P, 1, rule(factor=1.2, kind="relative")).calibrated == pytest.approx(
        3.6
    )
    assert volumes.measure(P, 1, rule(factor=1.2, quantile=0.0)).calibrated == 3
