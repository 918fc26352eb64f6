import dataclasses
import types
from functools import cache, partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, special
from test_pipeline import slices

from bwcr_tf import pipeline, unet
from bwcr_tf.methods import METHODS, boundary_ramp
from bwcr_tf.trainer import Trainer


def make(
    name="bwcr", dtype="float32", method=None, shape=(32, 32), build=unet.build_unet, **kwargs
):
    keras.utils.set_random_seed(0)
    network = build(shape, 3, width=4, dtype=dtype)
    trainer = Trainer(network, method or METHODS[name], **kwargs)
    trainer.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    return trainer


def two_layers(shape, num_classes, width, dtype):
    layers = keras.layers
    hidden = layers.Conv2D(width, 3, padding="same"), layers.BatchNormalization(), layers.ReLU()
    return keras.Sequential([keras.Input((*shape, 1)), *hidden, layers.Conv2D(num_classes, 1)])


def batch(name="bwcr", shape=(32, 32)):
    return batch_of(METHODS[name].augment, METHODS[name].num_views, shape)


@cache
def batch_of(augment, num_views, shape):
    method = types.SimpleNamespace(augment=augment, num_views=num_views)
    return next(iter(pipeline.batches(slices(shape=shape), 3, method, 4, 0, 1, 0)))


@pytest.mark.parametrize("name", METHODS)
def test_a_step_trains_and_only_consistency_methods_have_its_term(name):
    trainer = make(name, build=unet.build_unet if name == "bwcr" else two_layers)
    before = [w.numpy() for w in trainer.network.trainable_variables]
    terms = {k: float(v) for k, v in trainer.train_step(batch(name)).items()}
    assert all(np.isfinite(list(terms.values())))
    assert (terms["consistency"] > 0) == ("cr" in name)
    assert terms["loss"] == pytest.approx(terms["supervised"] + terms["consistency"], rel=1e-5)
    after = trainer.network.trainable_variables
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))


def test_the_loss_is_the_sum_of_the_means_of_its_terms_to_the_bit():
    trainer = make(build=two_layers)
    for _ in range(9):
        terms = {name: mean.numpy() for name, mean in trainer.train_step(batch()).items()}
        assert terms["loss"] == terms["supervised"] + terms["consistency"]
    trainer.reset_metrics()
    assert [float(mean) for mean in trainer.means.values()] == [0, 0, 0]


def to_image(view_logits, view_to_image):
    """Logits [H, W, C] of a view in the image frame, and where the view saw it, by SciPy."""
    image_to_view = np.linalg.inv(np.float64(view_to_image))
    swap = np.eye(3)[[1, 0, 2]]  # SciPy's coordinates are (row, column)
    by_row = swap @ image_to_view @ swap
    padded = np.pad(np.float64(view_logits), [(2, 2), (2, 2), (0, 0)])  # zero outside
    offset = by_row[:2, 2] + 2 - by_row[:2, :2] @ [2, 2]
    warped = [
        ndimage.affine_transform(padded[..., c], by_row[:2, :2], offset, order=1)
        for c in range(padded.shape[-1])
    ]
    height, width, _ = np.shape(view_logits)
    rows, columns = np.indices((height, width))
    x, y, _ = np.tensordot(image_to_view, [columns, rows, np.ones((height, width))], 1)
    seen = (np.abs(x - (width - 1) / 2) <= (width - 1) / 2 + 1e-3) & (
        np.abs(y - (height - 1) / 2) <= (height - 1) / 2 + 1e-3
    )
    return np.stack(warped, -1)[2:-2, 2:-2], seen


@pytest.mark.parametrize("shape", [(32, 32), (16, 32)])
def test_objective_is_equation_2_recomputed_in_numpy(shape):
    """Warps, inverses and visibility are SciPy's and NumPy's here."""
    method = dataclasses.replace(
        METHODS["bwcr"],
        consistency_weight=partial(boundary_ramp, minimum=0.01, maximum=1.0, radius=24.0),
    )  # R is 4 pixels on this grid, by its longer side
    made = {"method": method, "consistency_scale": 0.5, "shape": shape}
    trainer, data = make(**made), batch(shape=shape)
    frames = []
    for view, matrices in zip(data["views"], data["view_to_image"], strict=True):
        pairs = trainer.network(view, training=True).numpy(), matrices.numpy()
        frames.append([np.stack(found) for found in zip(*map(to_image, *pairs), strict=True)])
    (z, seen), (other, other_seen) = frames
    log_p = z - np.log(np.exp(z).sum(-1, keepdims=True))
    supervised = np.mean(seen * -(np.float64(data["labels"]) * log_p).sum(-1))
    weight = np.maximum(4.0 - np.float64(data["distance"]), 0) / 4.0 + 0.01
    squares = ((z - other) ** 2).sum(-1)
    consistency = np.mean(0.5 * weight * seen * other_seen * squares)
    terms = make(**made).objective(data)
    assert float(terms["supervised"]) == pytest.approx(supervised, rel=1e-3)
    assert float(terms["consistency"]) == pytest.approx(consistency, rel=1e-3)


def test_same_transforms_make_consistency_vanish():
    data = dict(batch())
    data["views"] = tf.stack([data["views"][0]] * 2)
    data["view_to_image"] = tf.stack([data["view_to_image"][0]] * 2)
    assert float(make().objective(data)["consistency"]) == pytest.approx(0, abs=1e-9)


def test_averages_follow_weights_and_statistics_with_decay():
    trainer = make("da")
    before = [w.numpy() for w in trainer.network.weights]
    trainer.train_step(batch("da"))
    for old, new, average in zip(
        before, trainer.network.weights, trainer.averages, strict=True
    ):
        np.testing.assert_allclose(average, 0.99 * old + 0.01 * new.numpy(), atol=1e-6)
    assert any("moving" in w.path for w in trainer.network.weights)


def test_gradient_of_the_loss_equals_finite_differences():
    trainer, data = make(), batch()
    weight = trainer.network.get_layer("logits").kernel
    with tf.GradientTape() as tape:
        loss = trainer.objective(data)["loss"]
    gradient = tape.gradient(loss, [weight])[0].numpy()
    direction = gradient / np.linalg.norm(gradient)
    start, step, values = weight.numpy(), 3e-3, []
    for sign in (1, -1):
        weight.assign(start + sign * step * direction)
        values.append(float(trainer.objective(data)["loss"]))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(
        np.linalg.norm(gradient), rel=2e-2
    )


def test_bfloat16_keeps_logits_weights_and_losses_in_float32_and_near_the_same_values():
    plain, mixed = make(), make(dtype="mixed_bfloat16")
    expected, found = plain.objective(batch()), mixed.objective(batch())
    for key in expected:
        assert found[key].dtype == tf.float32
        assert float(found[key]) == pytest.approx(float(expected[key]), rel=0.05)
    assert all(w.value.dtype == tf.float32 for w in mixed.network.weights)
    assert mixed.network.get_layer("up0_conv2").compute_dtype == "bfloat16"
    assert mixed.network(batch()["views"][0]).dtype == tf.float32


@pytest.mark.parametrize("name", METHODS)
def test_what_is_at_ignored_pixels_changes_no_term_and_gets_no_gradient(name):
    """The network is the identity and each view the image: a view is the image's logits."""
    network = keras.Sequential([keras.Input((16, 32, 3)), keras.layers.Conv2D(3, 1)])
    network.set_weights([np.eye(3)[None, None], np.zeros(3)])
    trainer, views = Trainer(network, METHODS[name]), METHODS[name].num_views
    rng = np.random.default_rng(0)
    ignored = rng.random((4, 16, 32)) < 0.3
    label_map = np.where(ignored, 3, rng.integers(0, 3, ignored.shape))
    data = {
        "views": tf.constant(rng.normal(0, 2, (views, 4, 16, 32, 3)), tf.float32),
        "view_to_image": tf.eye(3, batch_shape=[views, 4]),
        "labels": tf.one_hot(label_map, 3),
        "distance": tf.constant(rng.uniform(0, 3, ignored.shape), tf.float32),
    }
    other = data | {
        "views": data["views"] + 5 * ignored[..., None] * rng.normal(size=(4, 16, 32, 3)),
        "distance": tf.where(ignored, 0.5, data["distance"]),
    }
    with tf.GradientTape() as tape:
        tape.watch(data["views"])
        terms = trainer.objective(data)
    gradient = tape.gradient(terms["loss"], data["views"]).numpy()
    for key, value in trainer.objective(other).items():
        assert float(value) == pytest.approx(float(terms[key]), rel=1e-6)
    assert not gradient[:, ignored].any() and (gradient[:, ~ignored] != 0).mean() > 0.9
    if name == "da":
        log_p = np.log(special.softmax(np.float64(data["views"][0]), axis=-1))
        expected = -(np.float64(data["labels"]) * log_p).sum() / ignored.size
        assert float(terms["loss"]) == pytest.approx(expected, rel=1e-5)
