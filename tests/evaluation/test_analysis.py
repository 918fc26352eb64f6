import json
import types

import numpy as np
import pytest

from bwcr_tf import boundary
from bwcr_tf.evaluation import analysis


def case(label_map, true_probabilities=None):
    num_classes = int(label_map.max()) + 1
    distance = np.stack([boundary.distance(m, max(num_classes, 2)) for m in label_map])
    return types.SimpleNamespace(
        label_map=label_map,
        label_maps=[label_map],
        distance=distance,
        true_probabilities=true_probabilities,
    )


def stripes():
    """Classes 0, 1, 2, 0 side by side on 32 columns: boundaries after columns 3, 7 and 11."""
    row = np.repeat([0, 1, 2, 0], [4, 4, 4, 20])
    return np.tile(row, (1, 32, 1))


def constant(p, shape):
    return np.broadcast_to(np.float32(p), (*shape, len(p))).copy()


def test_bands_hold_confidence_minus_accuracy_by_hand():
    label_map = np.zeros((2, 1, 8), int)
    label_map[0, 0, :2] = 1  # r = 1 0 | 0 1 2 3 4 5, and the second slice has no boundary
    p = constant([0.6, 0.4], label_map.shape)
    p[0, 0, 1] = [0.1, 0.9]
    table = analysis.by_distance(p, label_map, case(label_map).distance)
    bands = analysis.summarize(
        {
            "reliability": {},
            "distance": table,
            "leakage": analysis.leakage(p, label_map, 1),
        },
        ["A"],
    )["distance"]
    assert bands["count"] == [2, 2, 1, 2, 1, 0, 0, 8]
    # r = 0: 0.9 and 0.6, both right, in two bins; r = 1: 0.6 wrong and 0.6 right
    np.testing.assert_allclose(bands["gap"][:3], [-0.25, 0.1, -0.4], atol=1e-6)
    np.testing.assert_allclose(bands["ece"][:3], [0.25, 0.1, 0.4], atol=1e-6)
    assert bands["accuracy"][:3] == [1.0, 0.5, 1.0]
    assert bands["gap"][5] is None and bands["ece"][7] == pytest.approx(0.4)


def test_ece_of_a_band_does_not_cancel_where_the_gap_does():
    p = np.array([[[[0.1, 0.9], [0.45, 0.55], [0.45, 0.55]]]])  # wrong, right, right
    label_map = np.array([[[0, 1, 1]]])
    bands = analysis._bands(analysis.by_distance(p, label_map, np.zeros(label_map.shape)))
    assert bands["gap"][0] == pytest.approx(0, abs=1e-9)
    assert bands["ece"][0] == pytest.approx((0.9 + 0.45 + 0.45) / 3)


def test_leakage_is_the_probability_on_the_other_class_boundary_by_hand():
    label_map = stripes()
    p = constant([1, 0, 0], label_map.shape)
    p[..., 11:13, 1] = 0.3  # class 1 on the far boundary of class 2, columns 11 and 12
    p[..., 20, 1] = 0.1  # off any boundary, at another distance
    p[..., 8, 1] = 0.9  # on class 2's boundary too, but on its own as well
    found = analysis._leakage(analysis.leakage(p, label_map, away=2), ["A", "B"])
    assert found["A"]["on"] == pytest.approx(0.3)
    assert found["A"]["off"] == 0.0
    assert found["B"] == {"on": 0.0, "off": 0.0}
    assert found["mean"]["on"] == pytest.approx(0.15)


def test_leakage_is_held_against_the_same_distance():
    label_map = stripes()
    label_map[:, 16:, 8:] = 0  # class 2 ends half way down: its boundary is gone there
    p = constant([1, 0, 0], label_map.shape)
    p[..., [0, 11, 12], 1] = 0.3  # all that is 3 and 4 pixels from class 1
    p[:, 17:, 12, 1] = 0.1  # less where class 2 is gone: its boundary matters at 4 pixels
    found = analysis._leakage(analysis.leakage(p, label_map, away=3), ["A", "B"])
    assert found["A"]["on"] == pytest.approx(0.3)
    assert found["A"]["off"] == pytest.approx((0.3 + 0.1) / 2)


def test_distances_that_are_not_measured_off_boundaries_do_not_count_as_zero():
    sums = {
        "on": [[1.0, 1.0]],
        "on_count": [[10, 10]],
        "off": [[2.0, 0.0]],
        "off_count": [[10, 0]],
    }
    found = analysis._leakage({name: np.array(rows) for name, rows in sums.items()}, ["A"])
    assert found["A"] == {"on": 0.1, "off": 0.2}
    sums["off_count"] = [[0, 0]]
    found = analysis._leakage({name: np.array(rows) for name, rows in sums.items()}, ["A"])
    assert found["A"] == {"on": 0.1, "off": None}


@pytest.mark.parametrize("width, nearest", [(192, 4), (96, 2)])
def test_leakage_is_that_from_four_pixels_of_the_papers_grid_on(width, nearest):
    label_map = np.zeros((1, 8, width), int)
    label_map[..., :10] = 1
    sums = analysis.measure(constant([0.9, 0.1], label_map.shape), case(label_map))["leakage"]
    assert np.flatnonzero(sums["off_count"][0])[0] == nearest


def test_what_a_class_says_inside_itself_is_not_leakage():
    label_map = np.tile(np.repeat([1, 2], [20, 12]), (1, 32, 1))
    found = analysis.leakage(np.eye(3)[label_map], label_map, away=2)
    assert found["off_count"].sum() > 0 and found["off"].sum() == 0


def test_leakage_of_a_single_class_is_not_measured():
    label_map = (stripes() > 0).astype(int)
    found = analysis._leakage(
        analysis.leakage(constant([0.5, 0.5], label_map.shape), label_map, 2), ["A"]
    )
    assert found == {"A": {"on": None, "off": None}, "mean": {"on": None, "off": None}}


def test_volumes_pool_as_their_pixels_together_and_the_summary_is_json():
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, 3, (4, 24, 24))
    p = rng.dirichlet(np.ones(3), label_map.shape).astype(np.float32)
    true_probabilities = rng.dirichlet(np.ones(3), label_map.shape)
    whole = analysis.measure(p, case(label_map, true_probabilities))
    halves = [
        analysis.measure(p[s], case(label_map[s], true_probabilities[s]))
        for s in (np.s_[:1], np.s_[1:])
    ]
    names = ["A", "B"]
    expected, found = (analysis.summarize(s, names) for s in (whole, analysis.pool(halves)))
    assert json.loads(json.dumps(found, allow_nan=False)).keys() == expected.keys()
    for key in ("variation", "rms", "label_variation"):
        assert found["truth"][key] == pytest.approx(expected["truth"][key])
    assert found["truth"]["rms"] == pytest.approx(
        np.sqrt(np.square(p - true_probabilities).sum(-1).mean()), rel=1e-5
    )
    np.testing.assert_allclose(found["distance"]["ece"][0], expected["distance"]["ece"][0])
    assert sum(found["reliability"]["count"]) == np.count_nonzero(label_map)


def test_truth_is_left_out_where_a_case_has_none():
    label_map = stripes()
    sums = analysis.measure(constant([0.8, 0.1, 0.1], label_map.shape), case(label_map))
    assert "truth" not in analysis.summarize(sums, ["A", "B"])


def test_what_is_predicted_at_ignored_pixels_is_in_no_sum():
    rng = np.random.default_rng(0)
    label_map = rng.integers(0, 4, (2, 24, 24))  # 3 is ignored
    distance = np.stack([boundary.distance(m, 3) for m in label_map])
    known = case(label_map)
    known.distance = distance
    p, other = rng.dirichlet(np.ones(3), (2, *label_map.shape)).astype(np.float32)
    other = np.where(label_map[..., None] == 3, other, p)
    first, second = (analysis.measure(values, known) for values in (p, other))
    for part in ("reliability", "distance", "leakage"):
        for key, values in first[part].items():
            np.testing.assert_array_equal(values, second[part][key])
    assert first["distance"]["count"].sum() == np.count_nonzero(label_map < 3)


def test_leakage_beside_ignored_pixels_is_not_on_a_boundary():
    label_map = stripes()
    label_map[..., 12:14] = 3  # class 2 ends somewhere there
    p = constant([1, 0, 0], label_map.shape)
    p[..., 11, 1] = 0.3  # in class 2, 11 - 7 - 1 = 3 pixels from class 1
    p[..., 12:14, 1] = 0.9
    sums = analysis.leakage(p, label_map, away=2)
    assert sums["on"].sum() == 0
    np.testing.assert_allclose(sums["off"][0][:8], [0, 0, 0, 32 * 0.3, 0, 0, 0, 0], rtol=1e-6)
