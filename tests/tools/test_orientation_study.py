import dataclasses
import types

import numpy as np
import orientation_study
import pytest
import SimpleITK as sitk

from bwcr_tf.data import grids, preprocess, scans

SETTINGS = preprocess.Settings(num_classes=2, size=32, pixel_mm=1.5, n4_shrink=0)


def corner(turns):
    """A volume [3, 32, 32] of a bright square, and of its label, in one of four corners."""
    image = np.zeros((3, 32, 32), np.float32)
    image[:, 2:12, 4:10] = 1.0
    image = np.rot90(image, turns, (1, 2))
    return image[..., None], image.astype(np.uint8)


def sure_of_upper_left(slices):
    """Sure of a square in the upper left that is higher than wide, and else unsure of all."""
    slices, (y, x) = np.asarray(slices), np.mgrid[:32, :32]
    place = (y >= 2) & (y < 12) & (x >= 4) & (x < 10)
    there = (slices[:, place, 0].mean(axis=-1) > 0.9)[:, None, None]
    p = np.where(there, np.where(slices[..., 0] > 0.5, 0.99, 0.01), 0.3)
    return np.stack([1 - p, p], axis=-1).astype(np.float32)


def trial(turns):
    image, label_map = corner(turns)
    settings = dataclasses.replace(SETTINGS, orientation="LPS")
    blank = sitk.Image([32, 32, 3], sitk.sitkUInt8)
    blank.SetSpacing((1.5, 1.5, 8.0))
    case = types.SimpleNamespace(image=image, label_map=label_map, grid=grids.Grid.of(blank))
    return orientation_study.Trial(case, sure_of_upper_left, settings)


@pytest.mark.parametrize("turns", range(4))
def test_a_network_that_knows_the_right_orientation_finds_it_however_it_is_held(turns):
    found = orientation_study.results(trial(turns))
    assert found["search"] and found["warned right"] == 0 and found["warned others"] == 7
    assert found["slices"] == 8  # one in each orientation
    assert found["dice auto"] == found["dice search"] == pytest.approx(1)
    assert found["dice header"] == pytest.approx(1 / 8)  # else, nothing is over a half


def test_two_turns_are_composed_to_the_one_that_does_both():
    one, marks = trial(0), np.random.default_rng(0).random((2, 5, 5))
    for first in one.codes:
        for second in one.codes:
            both = scans.turned(scans.turned(marks, "LPS", first), "LPS", second)
            once = scans.turned(marks, "LPS", one.composed(first, second))
            np.testing.assert_array_equal(once, both)
