import types

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from bwcr_tf import pipeline
from bwcr_tf.data import datasets, preprocess
from bwcr_tf.evaluation import inference
from bwcr_tf.methods import METHODS
from bwcr_tf.training import labels, run

SETTINGS = preprocess.Settings(num_classes=4, size=32, pixel_mm=2.1, n4_shrink=0)


@pytest.fixture(scope="module")
def cases(annotated):
    """Three cases of 1, 2 and 3 annotators, three slices each."""
    subjects = datasets.find("annotators", annotated).pool[:3]
    return [preprocess.preprocess(s.volumes[0], SETTINGS, s.name) for s in subjects]


def batches(slices, start=0, steps=60, seed=0, batch_size=4):
    method = METHODS["baseline"]  # views are the images themselves
    dataset = pipeline.batches(slices, 4, method, batch_size, start, steps, seed)
    return list(dataset.as_numpy_iterator())


def rows_of(batch, cases):
    """(case, slice) of each image in a batch."""
    index = {c.image[z].tobytes(): (c, z) for c in cases for z in range(len(c.image))}
    return [index[view[..., 0].tobytes()] for view in batch["views"][0]]


def test_first_is_what_a_single_annotator_gives_to_the_byte(cases):
    single = {
        "images": np.concatenate([case.image for case in cases]),
        "label_maps": np.concatenate([case.label_map for case in cases]),
        "distance": np.concatenate([case.distance for case in cases]),
    }
    found = labels.slices(cases, "first", 4)
    assert found.keys() == single.keys()
    for key, expected in single.items():
        np.testing.assert_array_equal(found[key], expected)


def test_a_sampled_label_is_that_of_one_annotator_with_its_own_distance(cases):
    seen = set()
    for batch in batches(labels.slices(cases, "sample", 4)):
        for i, (case, z) in enumerate(rows_of(batch, cases)):
            label_map = batch["labels"][i].argmax(axis=-1)
            (k,) = [k for k, m in enumerate(case.label_maps) if np.array_equal(m[z], label_map)]
            inside = [label_map == c for c in (1, 2, 3)]
            edt = ndimage.distance_transform_edt
            expected = np.min([edt(m) + edt(~m) - 1 for m in inside], axis=0)
            np.testing.assert_allclose(batch["distance"][i], expected, rtol=1e-6)
            seen.add((case.name, z, k))
    assert len(seen) == 3 * (1 + 2 + 3)  # each annotator of each slice


def test_annotators_are_drawn_equally_often_and_anew_for_each_image_and_step():
    rows = tf.tile(tf.constant([[7, 3]], tf.int64), [500, 1])
    first, second = (pipeline.annotation_indices(rows, step, 0).numpy() for step in (0, 1))
    assert set(first) == {7, 8, 9}
    np.testing.assert_allclose(np.bincount(first - 7) / 500, 1 / 3, atol=0.07)
    assert 0.5 < np.mean(first != second) < 0.8  # two of three times
    assert 0.5 < np.mean(first != pipeline.annotation_indices(rows, 0, 1).numpy()) < 0.8


def test_sampling_is_a_function_of_seed_and_step_and_leaves_the_images_alone(cases):
    sample = labels.slices(cases, "sample", 4)
    whole, rest = batches(sample, steps=6), batches(sample, start=3, steps=6)
    alone = batches(labels.slices(cases, "first", 4), steps=6)
    for step in range(6):
        np.testing.assert_array_equal(whole[step]["views"], alone[step]["views"])
        if step >= 3:
            for key, value in whole[step].items():
                np.testing.assert_array_equal(value, rest[step - 3][key])


def test_mean_gives_fractions_and_the_distance_of_the_majority(cases):
    for batch in batches(labels.slices(cases, "mean", 4), steps=9):
        for i, (case, z) in enumerate(rows_of(batch, cases)):
            votes = np.stack([(np.stack(case.label_maps)[:, z] == c).sum(0) for c in range(4)])
            shares = votes / len(case.label_maps)
            np.testing.assert_allclose(
                batch["labels"][i], np.moveaxis(shares, 0, -1), rtol=1e-6
            )
            inside = [votes.argmax(axis=0) == c for c in (1, 2, 3)]
            edt = ndimage.distance_transform_edt
            expected = np.min([edt(m) + edt(~m) - 1 for m in inside], axis=0)
            np.testing.assert_allclose(batch["distance"][i], expected, rtol=1e-6)


def test_mean_of_one_annotator_is_its_one_hot_label(cases):
    first, mean = (batches(labels.slices(cases[:1], name, 4)) for name in ("first", "mean"))
    for one, other in zip(first, mean, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("name, annotators", [("first", 1), ("sample", 3), ("mean", 3)])
def test_validation_counts_the_annotators_that_are_learnt(cases, name, annotators):
    (case,) = labels.select_annotators(cases[2:], name)
    assert len(case.original_label_maps) == len(case.label_maps) == annotators
    np.testing.assert_array_equal(case.label_map, cases[2].label_map)


@pytest.mark.parametrize("name, annotators", [(None, 1), ("sample", 3)])
def test_every_part_of_a_run_has_the_annotators_that_count(
    name, annotators, cases, monkeypatch
):
    monkeypatch.setattr(run.cache, "prepare", lambda subjects, *_: subjects)
    monkeypatch.setattr(run.coverage, "check", lambda *_: None)
    parts = dict.fromkeys(("training", "validation", "calibration"), cases[2:])
    options = types.SimpleNamespace(labels=name, cache_dir="")
    found = run.prepare(types.SimpleNamespace(settings=None), parts, options)
    assert [len(case.label_maps) for (case,) in found.values()] == [annotators] * 3


def test_dice_is_the_mean_over_annotators(monkeypatch):
    square = np.zeros((1, 8, 8), np.uint8)
    square[:, 2:6, 2:6] = 1
    half, empty = square * (np.arange(8) < 4), np.zeros_like(square)
    monkeypatch.setattr(inference, "segment", lambda p, case: square)
    case = types.SimpleNamespace(original_label_maps=[square, half, empty])
    found = inference.dice(np.zeros((1, 8, 8, 3)), case)
    assert found[0] == pytest.approx((1 + 2 / 3 + 0) / 3) and np.isnan(found[1])
