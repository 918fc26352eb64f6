import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bwcr_tf import boundary


def brute_force(label_map, num_classes):
    """min over classes of (distance to the other side) - 1, pixel by pixel."""
    points = np.argwhere(np.ones_like(label_map, bool))
    nearest = np.full(label_map.shape, np.inf)
    for c in range(1, num_classes):
        inside = label_map == c
        for y, x in points:
            other = np.argwhere(inside != inside[y, x])
            if len(other) and inside.any():
                gap = np.sqrt(((other - [y, x]) ** 2).sum(1)).min() - 1
                nearest[y, x] = min(nearest[y, x], gap)
    return nearest


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 4), dense=st.floats(0.02, 0.98))
def test_distance_equals_brute_force(seed, classes, dense):
    rng = np.random.default_rng(seed)
    label_map = rng.integers(1, classes, (7, 9)) * (rng.random((7, 9)) < dense)
    found = boundary.distance(label_map, classes)
    np.testing.assert_allclose(found, brute_force(label_map, classes), atol=1e-5)


def test_both_pixels_at_a_boundary_have_distance_zero():
    label_map = np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0)
    np.testing.assert_array_equal(boundary.distance(label_map, 2)[0], [2, 1, 0, 0, 1, 2])


@pytest.mark.parametrize("value", [0, 1])
def test_no_boundary_is_infinitely_far(value):
    distance = boundary.distance(np.full((4, 5), value), 2)
    assert distance.dtype == np.float32 and np.isposinf(distance).all()


def test_a_single_pixel_counts():
    label_map = np.zeros((5, 5), int)
    label_map[2, 2] = 1
    assert (
        boundary.distance(label_map, 2)[2, 2] == 0
        and boundary.distance(label_map, 2)[2, 4] == 1
    )


def test_ignored_pixels_are_on_neither_side_of_a_boundary():
    row = [0, 0, 2, 2, 1, 1, 2]  # 2 is ignored: the boundary is somewhere in columns 2 and 3
    found = boundary.distance(np.tile(row, (3, 1)), 2)[1]
    np.testing.assert_array_equal(found[[0, 1, 4, 5]], [3, 2, 2, 3])
    assert np.isposinf(boundary.distance(np.tile([1, 1, 2], (3, 1)), 2)).all()


def test_distance_of_what_is_not_ignored_equals_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(20):
        label_map = rng.integers(0, 4, (7, 9))  # 3 is ignored
        expected = np.full(label_map.shape, np.inf)
        for c in (1, 2):
            inside, outside = (np.argwhere(m) for m in (label_map == c, label_map < 3))
            outside = outside[label_map[tuple(outside.T)] != c]
            for y, x in np.argwhere(label_map < 3):
                other = outside if label_map[y, x] == c else inside
                gap = np.sqrt(((other - [y, x]) ** 2).sum(1)).min() - 1
                expected[y, x] = min(expected[y, x], gap)
        found = boundary.distance(label_map, 3)
        np.testing.assert_allclose(found[label_map < 3], expected[label_map < 3], atol=1e-5)
