import functools
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from bwcr_tf import intensity

GOLDEN = pathlib.Path(__file__).parent / "golden"


def identity(count):
    return {
        name: tf.fill([count, 1, 1, 1], unchanged)
        for name, (_, _, unchanged) in intensity.RANGES.items()
    }


def images(count=4, size=192, seed=0):
    noise = np.random.default_rng(seed).random((count, size, size, 1))
    return tf.constant(noise, tf.float32)


def apply(seed=(0, 0), **changed):
    x = images()
    parameters = identity(4) | {
        name: tf.reshape(tf.constant(value), [4, 1, 1, 1]) for name, value in changed.items()
    }
    return x.numpy(), intensity.apply(x, parameters, tf.constant(seed)).numpy()


def test_blur_equals_tensorflow_addons_with_a_sigma_for_each_image():
    golden = np.load(GOLDEN / "tfa.npz")
    sigmas = tf.constant(golden["blur_sigmas"].reshape(-1, 1, 1, 1), tf.float32)
    blurred = intensity.blur(tf.constant(golden["blur_images"]), sigmas)
    np.testing.assert_allclose(blurred, golden["blur_reflect_tfa"], atol=2e-6)


def test_blur_equals_torchvision():
    golden = np.load(GOLDEN / "transforms.npz")
    sigmas = tf.constant(golden["blur_sigmas"].reshape(-1, 1, 1, 1), tf.float32)
    blurred = intensity.blur(tf.constant(golden["blur_images"][..., None]), sigmas)
    np.testing.assert_allclose(blurred[..., 0], golden["blur_torchvision"], atol=2e-6)


def test_identity_parameters_change_nothing():
    x, y = apply()
    np.testing.assert_allclose(y, x, atol=1e-6)


@pytest.mark.parametrize("name, value", [("blur_sigma", 1.5), ("sharpening", 2.0)])
def test_a_part_of_a_square_with_its_longer_side_is_blurred_and_sharpened_as_there(name, value):
    parameters = identity(2) | {name: tf.fill([2, 1, 1, 1], value)}
    square, seed = images(2, 96), tf.constant([0, 0])
    whole = intensity.apply(square, parameters, seed)[:, 40:56, 10:-10]
    for part in (square[:, 32:64], square[:, 24:72]):
        middle = part.shape[1] // 2
        found = intensity.apply(part, parameters, seed)[:, middle - 8 : middle + 8, 10:-10]
        np.testing.assert_allclose(found, whole, atol=1e-5)


def test_the_narrowest_grids_can_be_blurred():
    x = tf.random.stateless_uniform([2, 16, 768, 1], [0, 0])
    parameters = identity(2) | {"blur_sigma": tf.fill([2, 1, 1, 1], 1.5)}
    assert np.isfinite(intensity.apply(x, parameters, tf.constant([0, 0]))).all()


def test_gamma_equals_torchvision():
    golden = np.load(GOLDEN / "transforms.npz")
    x = tf.constant(np.tile(golden["gamma_image"][None, ..., None], (3, 1, 1, 1)))
    gamma = tf.constant(golden["gammas"].reshape(3, 1, 1, 1), tf.float32)
    y = intensity.apply(x, identity(3) | {"gamma": gamma}, tf.constant([0, 0]))
    np.testing.assert_allclose(y[..., 0], golden["gamma_torchvision"], atol=1e-5)


def test_scale_and_shift_are_linear():
    x, y = apply(scale=[0.9, 1.0, 1.1, 1.0], shift=[0.1, -0.1, 0.0, 0.05])
    np.testing.assert_allclose(y[0], 0.9 * x[0] + 0.1, atol=1e-5)
    np.testing.assert_allclose(y[1], x[1] - 0.1, atol=1e-5)


def test_sharpening_is_unsharp_masking_with_sigma_one():
    x, y = apply(sharpening=[1.0, 2.0, 3.0, 0.0])
    for i, amount in enumerate((1.0, 2.0, 3.0, 0.0)):
        smooth = ndimage.gaussian_filter(x[i, ..., 0], 1.0, mode="mirror", radius=6)
        expected = x[i, ..., 0] + amount * (x[i, ..., 0] - smooth)
        np.testing.assert_allclose(y[i, ..., 0], expected, atol=1e-4)


def test_blur_is_whole_on_a_large_grid():
    x = images(1, 512)
    sigma = tf.constant(1.5, shape=[1, 1, 1, 1])
    y = intensity.apply(x, identity(1) | {"blur_sigma": sigma}, tf.constant([0, 0]))
    expected = ndimage.gaussian_filter(x[0, ..., 0], 4.0, mode="mirror", truncate=4.0)
    np.testing.assert_allclose(y[0, ..., 0], expected, atol=1e-4)


def test_noise_has_the_drawn_standard_deviation():
    x, y = apply(noise_sd=[0.01, 0.05, 0.1, 0.0], seed=(3, 4))
    np.testing.assert_allclose(
        (y - x).std(axis=(1, 2, 3)), [0.01, 0.05, 0.1, 0.0], rtol=0.03, atol=1e-6
    )


@pytest.mark.parametrize("name", intensity.RANGES)
def test_draw_is_within_range_for_half_of_the_images(name):
    low, high, unchanged = intensity.RANGES[name]
    values = intensity.sample(4000, 1, tf.constant([5, 6]))[name].numpy().ravel()
    active = values[values != unchanged]
    assert active.min() >= low and active.max() <= high
    assert active.size == pytest.approx(2000, abs=150)
    assert active.mean() == pytest.approx((low + high) / 2, abs=0.05 * (high - low))


def test_parameters_are_uniform_and_scale_and_shift_alone_share_a_gate():
    papers = {  # Sec. 4, of the authors' code
        "gamma": (0.5, 2.0, 1.0),
        "scale": (0.9, 1.1, 1.0),
        "shift": (-0.1, 0.1, 0.0),
        "blur_sigma": (0.25, 1.5, 0.0),
        "sharpening": (1.0, 3.0, 0.0),
        "noise_sd": (0.01, 0.1, 0.0),
    }
    drawn, active = intensity.sample(4000, 1, tf.constant([5, 6])), {}
    assert drawn.keys() == papers.keys()
    for name, (low, high, unchanged) in papers.items():
        values = drawn[name].numpy().ravel()
        active[name] = values != np.float32(unchanged)
        uniform = stats.uniform(low, high - low)
        assert stats.kstest(values[active[name]], uniform.cdf).pvalue > 1e-3, name
    assert (active["scale"] == active.pop("shift")).all()
    np.testing.assert_allclose(np.corrcoef(list(active.values())), np.eye(5), atol=0.06)


def test_gamma_is_first_noise_is_last_and_sigmas_are_of_the_papers_grid():
    x = images(1, 96)  # half of the paper's grid
    values = {"gamma": 1.5, "scale": 1.1, "shift": -0.1, "blur_sigma": 1.2}
    values |= {"sharpening": 2.0, "noise_sd": 0.1}
    parameters = {name: tf.fill([1, 1, 1, 1], value) for name, value in values.items()}
    seed = tf.constant([0, 0])
    found = intensity.apply(x, parameters, seed)[0, ..., 0]
    smooth = functools.partial(ndimage.gaussian_filter, mode="mirror", radius=6)
    y = smooth(1.1 * x[0, ..., 0].numpy() ** 1.5 - 0.1, 0.6)
    y = y + 2 * (y - smooth(y, 0.5))
    zeros = identity(1) | {"noise_sd": tf.fill([1, 1, 1, 1], 0.1)}
    noise = intensity.apply(tf.zeros_like(x), zeros, seed)[0, ..., 0]
    np.testing.assert_allclose(found, y + noise, atol=1e-4)


def test_randomize_is_a_function_of_its_seed_also_in_a_dataset():
    x = images(3, 32)
    eager = intensity.randomize(x, tf.constant([7, 8]))
    mapped = tf.data.Dataset.from_tensors(x).map(
        lambda y: intensity.randomize(y, tf.constant([7, 8]))
    )
    np.testing.assert_allclose(next(iter(mapped)), eager, atol=1e-6)
    other = intensity.randomize(x, tf.constant([7, 9]))
    assert np.abs(other - eager).max() > 0.01


@pytest.mark.parametrize("name", intensity.RANGES)
def test_each_channel_of_each_image_has_its_own_gate_and_value(name):
    unchanged = intensity.RANGES[name][2]
    first, second = intensity.sample(4000, 2, tf.constant([5, 6]))[name].numpy()[:, 0, 0].T
    both = (first != unchanged) & (second != unchanged)
    assert both.sum() == pytest.approx(1000, abs=100)
    assert np.abs(np.corrcoef(first[both], second[both])[0, 1]) < 0.1


def test_channels_are_transformed_as_images_of_their_own():
    parameters = intensity.sample(3, 2, tf.constant([1, 9])) | {"noise_sd": 0.0}
    x = tf.reshape(images(6, 32), [3, 2, 32, 32])
    together = intensity.apply(tf.transpose(x, [0, 2, 3, 1]), parameters, tf.constant([0, 0]))
    for k in range(2):
        alone = {
            name: value if name == "noise_sd" else value[..., k : k + 1]
            for name, value in parameters.items()
        }
        expected = intensity.apply(x[:, k, ..., None], alone, tf.constant([0, 0]))
        np.testing.assert_allclose(together[..., k : k + 1], expected, atol=1e-6)
        assert np.abs(expected - x[:, k, ..., None]).max() > 0.01


def test_noise_of_the_channels_of_an_image_differs():
    parameters = identity(4) | {"noise_sd": tf.fill([4, 1, 1, 1], 0.1)}
    x = tf.zeros([4, 32, 32, 2])
    noise = intensity.apply(x, parameters, tf.constant([0, 0])).numpy().reshape(-1, 2)
    assert np.abs(np.corrcoef(noise.T)[0, 1]) < 0.1
