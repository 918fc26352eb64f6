import dataclasses

import numpy as np
import pytest

from bwcr_tf.data import grids, preprocess
from bwcr_tf.evaluation import calibration, tile_choice

AXES = (1, 0, 0, 0, 1, 0, 0, 0, 1)
SMALL, LARGE = (
    grids.Grid((n, n, 1), (1, 1, 1), (first, first, 0), AXES) for n, first in ((4, 2), (8, 0))
)
FREQUENCIES = (0.9, 0.1)
IDENTITY = calibration.identity(2)


def case(subject, label_map, seen):
    """A Case of 8 x 8 pixels of which the grid holds the 4 x 4 in the middle; `seen` is p_1."""
    plane, inner = np.float32(seen)[None, ..., None], np.s_[:, 2:6, 2:6]
    label_map = np.uint8(label_map)[None]
    return preprocess.Case(
        subject, subject, plane[inner], label_map[inner], label_map[inner], SMALL, label_map, LARGE,
        plane=plane, plane_grid=LARGE,
    )  # fmt: skip


def predict(slices):
    return np.concatenate([1 - slices, slices], axis=-1)


@pytest.mark.parametrize("around, max_tiles", [(0.4, 256), (0.6, 1)])
def test_tiles_are_left_out_where_they_find_what_is_not_there(around, max_tiles):
    label_map, seen = np.zeros((8, 8)), np.full((8, 8), 0.02)
    label_map[3:5, 3:5] = 1
    seen[2:6, 2:6] = np.where(label_map[2:6, 2:6], 0.8, 0.2)
    seen[0, :4] = around
    found = tile_choice.choose(predict, [case("a", label_map, seen)], IDENTITY, FREQUENCIES)
    inner = 16 * -np.log(0.8)
    nll = {
        "256": inner - 44 * np.log(0.98) - 4 * np.log(1 - around),
        "1": inner - 48 * np.log(0.9),
    }
    assert found["nll"] == pytest.approx({k: v / 64 for k, v in nll.items()}, rel=1e-5)
    assert found["dice"] == pytest.approx({"256": 1 if around < 0.5 else 2 * 4 / 12, "1": 1})
    assert found["max_tiles"] == max_tiles and found["subjects"] == ["a"]
    beyond = tile_choice.beyond({"tiles": found})
    assert beyond == (FREQUENCIES if max_tiles == 1 else None)


@pytest.mark.parametrize("foreground, max_tiles", [(0.01, 1), (0.3, 256)])
def test_where_dice_is_the_same_the_likelihood_decides(foreground, max_tiles):
    label_map, seen = np.zeros((8, 8)), np.full((8, 8), 0.1)
    label_map[3:5, 3:5], seen[3:5, 3:5] = 1, 0.8
    around = 1 - foreground, foreground
    found = tile_choice.choose(predict, [case("a", label_map, seen)], IDENTITY, around)
    assert found["dice"] == pytest.approx({"256": 1, "1": 1})
    assert found["max_tiles"] == max_tiles


@pytest.mark.parametrize("around, max_tiles, dice", [(0.4, 256, 1), (0.6, 1, 0)])
def test_to_find_nothing_where_nothing_is_has_a_dice_of_1(around, max_tiles, dice):
    seen = np.full((8, 8), 0.02)
    seen[0, :4] = around
    empty = case("a", np.zeros((8, 8)), seen)
    found = tile_choice.choose(predict, [empty], IDENTITY, FREQUENCIES)
    assert found["dice"] == {"256": dice, "1": 1} and found["max_tiles"] == max_tiles


def test_subjects_count_alike_and_scans_that_the_grid_holds_do_not():
    zeros, ones = np.zeros((8, 8)), np.ones((8, 8))
    cases = [case("a", zeros, 0.3 * ones)] * 3 + [case("b", zeros, 0.01 * ones)]
    found = tile_choice.choose(predict, cases, IDENTITY, FREQUENCIES)
    assert found["nll"]["256"] == pytest.approx(-(np.log(0.7) + np.log(0.99)) / 2, rel=1e-5)
    held = [dataclasses.replace(each, plane=None, plane_grid=None) for each in cases]
    assert tile_choice.choose(predict, held, IDENTITY, FREQUENCIES) is None
    assert tile_choice.beyond({"tiles": None}) is None and tile_choice.beyond({}) is None
