import gc
import pathlib
import resource

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from bwcr_tf import affine, intensity, pipeline
from bwcr_tf.methods import METHODS


def slices(count=10, shape=(32, 32)):
    rng = np.random.default_rng(0)
    return {
        "images": rng.random((count, *shape, 1), np.float32),
        "label_maps": rng.integers(0, 3, (count, *shape)).astype(np.uint8),
        "distance": np.arange(count, dtype=np.float32)[:, None, None]
        + np.zeros(shape, np.float32),
    }


def batches(method="bwcr", start=0, steps=4, seed=0, batch_size=4, shape=(32, 32)):
    data = slices(shape=shape)
    dataset = pipeline.batches(data, 3, METHODS[method], batch_size, start, steps, seed)
    return list(dataset.as_numpy_iterator())


@pytest.mark.parametrize("name", ["baseline", "da", "bwcr"])
def test_batch_has_the_views_that_the_method_compares(name):
    views = METHODS[name].num_views
    (batch,) = batches(name, steps=1, shape=(32, 48))
    assert {key: array.shape for key, array in batch.items()} == {
        "views": (views, 4, 32, 48, 1),
        "view_to_image": (views, 4, 3, 3),
        "labels": (4, 32, 48, 3),
        "distance": (4, 32, 48),
    }


def test_baseline_sees_the_images_themselves():
    (batch,) = batches("baseline", steps=1)
    index = batch["distance"][:, 0, 0].astype(int)
    np.testing.assert_array_equal(batch["views"][0], slices()["images"][index])
    np.testing.assert_array_equal(batch["labels"].argmax(-1), slices()["label_maps"][index])


def test_batch_is_a_function_of_seed_and_step():
    whole, rest = batches(steps=4), batches(start=2, steps=4)
    for first, second in zip(whole[2:], rest, strict=True):
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])
    assert np.abs(whole[0]["views"] - batches(seed=1)[0]["views"]).max() > 0.01
    assert np.abs(whole[0]["views"] - whole[1]["views"]).max() > 0.01
    assert np.abs(whole[0]["view_to_image"] - whole[1]["view_to_image"]).max() > 0.01


def test_two_views_of_an_image_differ():
    views = np.concatenate([batch["views"] for batch in batches(steps=20)], axis=1)
    same = np.abs(views[0] - views[1]).max(axis=(1, 2, 3)) == 0
    assert same.mean() < 0.05


@pytest.mark.parametrize("name", ["da", "bwcr"])
def test_each_view_is_its_labels_image_under_its_own_matrix(name, monkeypatch):
    monkeypatch.setattr(pipeline.intensity, "randomize", lambda images, seed: images)
    (batch,) = batches(name, steps=1)
    images = slices()["images"][batch["distance"][:, 0, 0].astype(int)]
    for view, matrices in zip(batch["views"], batch["view_to_image"], strict=True):
        expected = affine.warp(tf.constant(images), tf.constant(matrices))
        np.testing.assert_allclose(view, expected, atol=1e-4)


def test_each_seed_has_its_own_order_and_its_own_maps():
    first, second = (batches(steps=1, seed=seed)[0] for seed in (0, 1))
    assert np.any(first["distance"] != second["distance"])  # the slices' numbers
    assert np.abs(first["view_to_image"] - second["view_to_image"]).max() > 0.01


def test_each_view_has_its_own_map_and_its_own_intensities(monkeypatch):
    maps = np.concatenate([batch["view_to_image"] for batch in batches(steps=20)], axis=1)
    same = np.abs(maps[0] - maps[1]).max(axis=(1, 2)) < 1e-6
    assert same.mean() < 0.05
    monkeypatch.setattr(pipeline.affine, "sample", lambda n, *_: tf.eye(3, batch_shape=[n]))
    views = np.concatenate([batch["views"] for batch in batches(steps=20)], axis=1)
    assert (np.abs(views[0] - views[1]).max(axis=(1, 2, 3)) > 0).mean() > 0.95


def test_maps_and_intensities_are_drawn_by_two_seeds(monkeypatch):
    """By one, whether an image is rotated and its gamma, say, would be one draw."""
    seeds = []
    sample, randomize = affine.sample, intensity.randomize
    monkeypatch.setattr(
        pipeline.affine, "sample", lambda *a: (seeds.append(a[-1]), sample(*a))[1]
    )
    monkeypatch.setattr(
        pipeline.intensity, "randomize", lambda *a: (seeds.append(a[-1]), randomize(*a))[1]
    )
    pipeline.make_batch(slices(), 3, METHODS["da"], 4, tf.constant(0, tf.int64), 0)
    assert not np.array_equal(*map(np.array, seeds))


def test_intensities_are_those_of_the_resampled_image(monkeypatch):
    """S_phi comes after T_psi: what lies outside of the image is transformed too."""
    maps = affine.shift(tf.fill([4], 5.0), tf.zeros(4))
    monkeypatch.setattr(pipeline.affine, "sample", lambda *_: maps)
    monkeypatch.setattr(pipeline.intensity, "randomize", lambda images, seed: images + 3)
    (batch,) = batches("da", steps=1)
    index = batch["distance"][:, 0, 0].astype(int)
    expected = np.pad(slices()["images"][index, :, 5:], [(0, 0), (0, 0), (0, 5), (0, 0)]) + 3
    np.testing.assert_allclose(batch["views"][0], expected, rtol=1e-6)


@pytest.mark.skipif(not pathlib.Path("/proc/self/statm").exists(), reason="no /proc")
def test_slices_are_in_memory_once():
    def resident():
        pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    data = slices(count=20, shape=(1024, 1024))
    gc.collect()  # else what earlier tests left may be freed meanwhile
    before, bytes_ = resident(), sum(array.nbytes for array in data.values())
    dataset = iter(pipeline.batches(data, 3, METHODS["baseline"], 1, 0, 9, 0))
    next(dataset)
    assert 0.5 * bytes_ < resident() - before < 1.5 * bytes_


@pytest.mark.parametrize("parallel", [True, False])
def test_only_batches_that_are_made_at_once_are_of_variables(parallel, monkeypatch):
    """With op determinism, as without --jit, tf.data would make none of them ahead."""
    seen, make_batch = [], pipeline.make_batch
    monkeypatch.setattr(
        pipeline,
        "make_batch",
        lambda data, *how: seen.append(data["images"]) or make_batch(data, *how),
    )
    pipeline.batches(slices(), 3, METHODS["da"], 4, 0, 4, 0, parallel=parallel)
    assert [isinstance(images, tf.Variable) for images in seen] == [parallel]


def test_every_epoch_shows_each_slice_once_in_another_order():
    index = np.concatenate([b["distance"][:, 0, 0] for b in batches("da", steps=5)])  # 20 of 10
    for epoch in (index[:10], index[10:]):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(10))
    assert np.any(index[:10] != index[10:])


@pytest.mark.parametrize("seed", [0, 1000, 2000, 3000])  # of run 0, 1, ... of `train.py`
@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_no_epoch_has_the_slices_in_their_order(epoch, seed):
    count = 95
    order = pipeline.slice_indices(tf.constant(epoch, tf.int64), count, count, seed).numpy()
    assert np.sum(order == np.arange(count)) <= 6  # of a random order, one is expected to be
    assert abs(stats.spearmanr(order, np.arange(count)).statistic) < 0.4  # its sd is 0.1


def test_stored_matrix_inverts_the_view(monkeypatch):
    """Without intensity transforms, warping a view back gives the image where it is visible."""
    monkeypatch.setattr(pipeline.intensity, "randomize", lambda images, seed: images)
    data = slices(shape=(32, 48))
    y, x = np.mgrid[:32, :48] / 32
    data["images"][:] = np.sin(4 * x + 3 * y).astype(np.float32)[..., None]
    dataset = pipeline.batches(data, 3, METHODS["da"], 16, 0, 1, 0)
    batch = next(dataset.as_numpy_iterator())
    image_to_view = affine.invert(tf.constant(batch["view_to_image"][0]))
    back = affine.warp(tf.constant(batch["views"][0]), image_to_view).numpy()
    inner = affine.warp(
        affine.warp(tf.ones_like(back), batch["view_to_image"][0]), image_to_view
    )
    kept = inner.numpy() > 0.999
    assert kept.mean() > 0.5
    assert np.abs(back - data["images"][:1])[kept].max() < 0.01


def test_channels_share_the_geometric_transform_and_not_those_of_intensity(monkeypatch):
    data = slices() | {"images": np.repeat(slices()["images"], 2, axis=-1)}
    batch = next(pipeline.batches(data, 3, METHODS["da"], 16, 0, 1, 0).as_numpy_iterator())
    assert batch["views"].shape == (1, 16, 32, 32, 2)
    differ = np.abs(np.diff(batch["views"], axis=-1)).max(axis=(2, 3, 4)) > 1e-3
    assert differ.mean() > 0.9
    monkeypatch.setattr(pipeline.intensity, "randomize", lambda images, seed: images)
    batch = next(pipeline.batches(data, 3, METHODS["da"], 16, 0, 1, 0).as_numpy_iterator())
    np.testing.assert_array_equal(batch["views"][..., 0], batch["views"][..., 1])
