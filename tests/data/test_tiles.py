import numpy as np
import pytest

from bwcr_tf.data import tiles


@pytest.mark.parametrize(
    "extent, size, starts",
    [
        (47.9, 48, [0]),
        (48.0, 50, [0, 2]),
        (95.0, 96, [0, 24, 48]),  # at most 36 apart, three quarters of a tile
        (84.0, 86, [0, 19, 38]),
        (83.9, 84, [0, 36]),
    ],
)
def test_tiles_cover_a_plane_and_overlap_by_a_quarter(extent, size, starts):
    assert tiles.plan((extent, 10), (48, 64)) == ((size, 64), True)
    assert tiles.starts(size, 48) == starts


def test_a_limit_leaves_the_border_of_the_longer_side_out():
    assert tiles.plan((95.0, 200.0), (48, 48), 9) == ((96, 120), False)
    assert tiles.starts(120, 48) == [0, 36, 72]
    assert tiles.starts(128, 48) == [0, 27, 53, 80]
    assert tiles.plan((95.0, 200.0), (48, 48), 1) == ((48, 48), False)
    assert tiles.plan((300.0, 10.0), (60, 60), 2) == ((60 + 44, 60), False)  # 45 is odd


def test_a_pixel_counts_by_a_gaussian_around_the_centre_of_its_tile():
    first, second = tiles.weights(84, 48)
    places = np.arange(36, 48)  # in both
    densities = [np.exp(-(((places - center) / 6) ** 2) / 2) for center in (23.5, 59.5)]
    np.testing.assert_allclose(first[36:], densities[0] / sum(densities), rtol=1e-5)
    np.testing.assert_allclose(first[36:] + second[:12], 1, rtol=1e-6)
    np.testing.assert_array_equal(first[:36], 1)


def test_blended_tiles_of_what_is_the_same_in_all_are_that():
    slices = np.random.default_rng(0).random((2, 86, 120, 1)).astype(np.float32)
    found = tiles.blend(
        lambda part: np.concatenate([part, 1 - part], axis=-1), slices, (48, 64)
    )
    np.testing.assert_allclose(found, np.concatenate([slices, 1 - slices], axis=-1), atol=1e-6)


@pytest.mark.parametrize("size", [(86, 120), (96, 64)])  # tiles 3 x 3, of which one, and 3 x 1
def test_the_centre_is_that_of_one_tile_and_the_border_that_of_others(size):
    """A network whose output depends on where in a tile a pixel is."""
    ramp = np.linspace(0, 1, 48)[:, None] * np.linspace(0.5, 1, 64)
    slices = np.zeros((2, *size, 1), np.float32)
    found = tiles.blend(lambda part: part + ramp[None, ..., None], slices, (48, 64))[..., 0]
    top, left = (size[0] - 48) // 2, (size[1] - 64) // 2
    np.testing.assert_array_equal(
        found[:, top : top + 48, left : left + 64], np.float32([ramp, ramp])
    )
    np.testing.assert_allclose(found[:, :8, 0], np.float32([ramp[:8, 0]] * 2), atol=1e-6)
