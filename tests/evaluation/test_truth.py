"""Errors against the fractions of annotators, or the true probabilities of a phantom."""

import json
import types
from fractions import Fraction

import numpy as np
import pytest

from bwcr_tf import boundary, metrics
from bwcr_tf.evaluation import analysis, truth


def case(label_maps, true_probabilities=None, num_classes=2):
    distance = np.stack([boundary.distance(m, num_classes) for m in label_maps[0]])
    return types.SimpleNamespace(
        label_map=label_maps[0],
        label_maps=label_maps,
        distance=distance,
        true_probabilities=true_probabilities,
    )


def drawn(seed=0, annotators=4, shape=(2, 12, 12)):
    rng = np.random.default_rng(seed)
    p = rng.uniform(size=shape).astype(np.float32)
    return np.stack([1 - p, p], -1), list(rng.integers(0, 2, (annotators, *shape)))


def test_error_by_hand():
    label_map = np.array([[[0, 1, 2]]])
    true = np.array([[[[1, 0, 0], [0.2, 0.5, 0.3], [0, 0, 1]]]])
    p = np.array([[[[1, 0, 0], [0.5, 0.1, 0.4], [0, 0, 1]]]])
    near = np.array([[[False, True, True]]])
    found = truth.error(p, label_map, true, near)
    assert found["count"] == 2
    assert found["variation"] == pytest.approx((0.3 + 0.4 + 0.1) / 2)
    assert found["square"] == pytest.approx(0.09 + 0.16 + 0.01)
    assert found["label_variation"] == pytest.approx((0.2 + 0.5 + 0.3) / 2)


@pytest.mark.parametrize("width, near", [(192, 11), (96, 6)])
def test_pixels_count_as_near_for_their_distance_or_their_truth(width, near):
    label_map = np.zeros((2, 1, width), int)
    label_map[0, 0, :1] = 1  # r = 0, 0, 1 .. 9 are under 10 pixels of the paper's grid
    true = np.zeros((*label_map.shape, 2), np.float32)
    true[..., 0] = 1
    true[1, 0, :5] = 0.9, 0.1  # drawn by others in a slice that this one left empty
    sums = truth.measure(np.full_like(true, 0.5), case([label_map], true))
    assert sums["near"]["count"] == near + 5


def test_a_single_annotator_is_not_the_truth_and_a_phantom_knows_it():
    p, label_maps = drawn()
    assert not truth.known(case(label_maps[:1])) and truth.known(case(label_maps[:2]))
    assert truth.known(case(label_maps[:1], p))
    np.testing.assert_array_equal(truth.fractions(case(label_maps[:1], p), 2), p)


def test_pooled_error_equals_a_loop_over_twenty_bins():
    p, _ = drawn()
    share = (p[..., 1] * 20).astype(int) % 2  # gaps of neighbouring bins differ in sign
    found = truth.summarize(truth.measure(p, case([share, share])))["pooled_error"]
    total = count = 0
    for b in range(1, 20):
        here = (p[..., 1] > b / 20) & (p[..., 1] <= (b + 1) / 20)
        total += abs((p[..., 1] - share)[here].sum())
        count += here.sum()
    assert found == pytest.approx(total / count, abs=1e-6)


def test_error_by_level_of_agreement_by_hand():
    label_maps = [np.array([[[0, 0, 1, 1]]]), np.array([[[0, 1, 0, 1]]])]
    p = np.array([[[0.1, 0.3, 0.4, 0.6]]], np.float32)
    found = truth.summarize(truth.measure(np.stack([1 - p, p], -1), case(label_maps)))
    levels = found["levels"]
    assert levels["fraction"] == [0, 0.5, 1] and levels["count"] == [1, 2, 1]
    np.testing.assert_allclose(levels["probability"], [0.1, 0.35, 0.6], rtol=1e-6)
    np.testing.assert_allclose(levels["error"], [0.1, 0.15, 0.4], rtol=1e-6)
    assert found["disagreed"] == pytest.approx(0.15)


def test_levels_of_two_to_six_annotators_are_kept_apart():
    sums = []
    for annotators in range(2, 7):
        p, label_maps = drawn(annotators=annotators)
        sums.append(truth.measure(p, case(label_maps)))
    levels = truth.summarize(analysis.pool(sums))["levels"]
    expected = {Fraction(k, n) for n in range(2, 7) for k in range(n + 1)}
    np.testing.assert_allclose(levels["fraction"], np.float64(sorted(expected)), atol=1e-6)


def test_the_probabilities_of_a_phantom_are_at_the_nearest_level():
    f = np.array([[[0.495, 0.505, 0.001, 0.999]]])
    p = np.full((*f.shape, 2), 0.5)
    found = truth.summarize(
        truth.measure(p, case([np.int64(f > 0.5)], np.stack([1 - f, f], -1)))
    )
    np.testing.assert_allclose(found["levels"]["fraction"], [0.001, 0.5, 0.999])
    assert found["levels"]["count"] == [1, 2, 1] and found["disagreed"] == pytest.approx(0.005)


def test_volumes_of_which_the_truth_is_not_known_are_left_out_of_it():
    p, label_maps = drawn()
    known, unknown = case(label_maps), case(label_maps[:1])
    pooled = analysis.pool([analysis.measure(p, c) for c in (unknown, known, unknown)])
    alone = analysis.pool([analysis.measure(p, known)])
    found, expected = (analysis.summarize(sums, ["A"]) for sums in (pooled, alone))
    assert found["truth"] == expected["truth"]
    assert sum(found["distance"]["count"]) == 3 * sum(expected["distance"]["count"])


def test_the_summary_is_json_and_its_reliability_is_of_the_fractions():
    p, label_maps = drawn()
    found = truth.summarize(truth.measure(p, case(label_maps)))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    table = found["reliability"]
    gaps = np.abs(np.subtract(table["confidence"], table["correct"])).sum()
    ece = metrics.ece(p, metrics.fractions(label_maps, 2))
    assert gaps / sum(table["count"]) == pytest.approx(ece)
