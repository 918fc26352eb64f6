import pathlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from bwcr_tf import affine, pipeline

GOLDEN = pathlib.Path(__file__).parent / "golden"


def random_matrices(count, shape, seed=0):
    return affine.sample(count, shape, tf.constant([seed, 1]), probability=1.0)


def random_images(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def adjoint_error(warp, shape):
    """|<warp(x), y> - <x, grad>| / |<warp(x), y>| with every affine parameter active."""
    images = tf.constant(random_images(8, *shape, 3, seed=1))
    cotangent = tf.constant(random_images(8, *shape, 3, seed=2))
    matrices = random_matrices(8, shape)
    with tf.GradientTape() as tape:
        tape.watch(images)
        product = tf.reduce_sum(warp(images, matrices) * cotangent)
    gradient = tape.gradient(product, images)
    transposed = np.vdot(np.float64(images), np.float64(gradient))
    return abs(float(product) - transposed) / abs(transposed)


@pytest.mark.parametrize("shape", [(40, 40), (24, 56), (64, 16)])
def test_gradient_of_warp_is_its_exact_adjoint(shape):
    assert adjoint_error(affine.warp, shape) < 1e-5


def test_gradient_of_tensorflows_own_op_is_not_the_adjoint():
    assert (
        adjoint_error(pipeline.project, (40, 40)) > 0.05
    )  # else `affine.warp` has lost its reason


def about_the_middle(shape, linear, shift_xy):
    """The matrix [3, 3] that turns, scales and shears a grid about its middle, then shifts it."""
    middle = (np.array(shape[::-1]) - 1) / 2  # x, y
    rows = np.column_stack([linear, middle + shift_xy - linear @ middle])
    return np.vstack([rows, [0, 0, 1]])


def test_sampled_maps_turn_about_the_middle_of_rows_and_of_columns_and_shift_by_the_longer_side():
    shape = 48, 96
    for matrix in np.float64(random_matrices(200, shape)):
        moved = matrix @ [95 / 2, 47 / 2, 1] - [95 / 2, 47 / 2, 1]
        assert np.abs(moved).max() <= 10 * 96 / 192 + 1e-3
    # the smallest square that holds the grid has the same maps, but for where the middle is
    square = np.float64(random_matrices(200, (96, 96)))
    np.testing.assert_allclose(random_matrices(200, shape)[:, :2, :2], square[:, :2, :2])
    to_square = np.float64([[1, 0, 0], [0, 1, 24], [0, 0, 1]])
    inside = np.linalg.inv(to_square) @ square @ to_square
    np.testing.assert_allclose(random_matrices(200, shape), inside, atol=1e-4)


def test_a_map_is_shear_zoom_rotation_about_the_middle_and_then_a_shift(monkeypatch):
    fixed = {"rotation_deg": 20.0, "translation": 10.0, "scale": 1.25, "shear_deg": 5.0}
    for name, value in fixed.items():
        monkeypatch.setitem(affine.RANGES, name, (value, value))
    angle, tangent = np.radians(20), np.tan(np.radians(5))
    cos, sin = np.cos(angle), np.sin(angle)
    linear = 1.25 * np.array([[cos, -sin], [sin, cos]]) @ [[1, tangent], [tangent, 1]]
    expected = about_the_middle((48, 96), linear, [5, 5])
    np.testing.assert_allclose(random_matrices(1, (48, 96))[0], expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(33, 47), (48, 16)])
@pytest.mark.parametrize("warp", [affine.warp, pipeline.project])
def test_warp_equals_scipy_everywhere_inside(warp, shape):
    images, matrices = random_images(5, *shape, 2), random_matrices(5, shape)
    warped = warp(tf.constant(images), matrices)
    for image, matrix, result in zip(images, np.float64(matrices), warped, strict=True):
        swap = [1, 0]  # SciPy's coordinates are (row, column)
        for channel in range(2):
            expected = ndimage.affine_transform(
                image[..., channel],
                matrix[:2, :2][np.ix_(swap, swap)],
                matrix[:2, 2][swap],
                order=1,
                mode="grid-constant",
            )
            np.testing.assert_allclose(result[..., channel], expected, atol=1e-4)


@pytest.mark.parametrize("file, peer", [("tfa", "tfa"), ("transforms", "torch")])
def test_warp_equals_tensorflow_addons_and_torch(file, peer):
    golden = np.load(GOLDEN / f"{file}.npz")
    matrices = np.load(GOLDEN / "transforms.npz")["warp_out_to_in"]
    warped = affine.warp(tf.constant(golden["warp_images"]), tf.constant(matrices))
    np.testing.assert_allclose(warped, golden[f"warp_{peer}"], atol=1e-5)


def test_warp_equals_the_op_of_the_pipeline():
    images, matrices = tf.constant(random_images(6, 32, 32, 1)), random_matrices(6, (32, 32))
    difference = affine.warp(images, matrices) - pipeline.project(images, matrices)
    assert np.abs(difference).max() < 1e-4


def test_warp_compiles_under_xla_to_the_same_values():
    images, matrices = tf.constant(random_images(4, 32, 48, 3)), random_matrices(4, (32, 48))
    compiled = tf.function(affine.warp, jit_compile=True)(images, matrices)
    np.testing.assert_allclose(compiled, affine.warp(images, matrices), atol=1e-4)


def test_warp_by_a_whole_pixel_shift_moves_content_and_fills_zeros():
    images = tf.constant(random_images(1, 5, 6, 1))
    warped = affine.warp(images, affine.shift(tf.constant([2.0]), tf.constant([-1.0])))
    np.testing.assert_array_equal(warped[0, 1:, :4], images[0, :4, 2:])
    assert not np.any(warped[0, 0]) and not np.any(warped[0, :, 4:])


def test_warp_there_and_back_restores_the_interior():
    y, x = np.mgrid[:64, :64] / 64
    smooth = np.sin(5 * x + 3 * y)[None, :, :, None].repeat(16, 0).astype(np.float32)
    view_to_image = random_matrices(16, (64, 64))
    image_to_view = affine.invert(view_to_image)
    back = affine.warp(affine.warp(tf.constant(smooth), view_to_image), image_to_view)
    # a margin, since next to the image's border a view interpolates with zeros
    seen = affine.warp(tf.ones_like(smooth), view_to_image)
    seen = affine.warp(seen, image_to_view)[..., 0] > 0.999
    assert np.mean(seen) > 0.5
    assert np.abs(back - smooth)[seen].max() < 5e-3


def test_invert_is_the_matrix_inverse():
    matrices = random_matrices(32, (192, 192))
    np.testing.assert_allclose(affine.invert(matrices), np.linalg.inv(matrices), atol=1e-3)


def test_compose_and_rotation_equal_tensorflow_addons():
    golden = np.load(GOLDEN / "tfa.npz")

    def matrices(rows):
        return tf.constant(np.append(rows, np.ones_like(rows[..., :1]), -1)[..., :9]) * 1.0

    def square(rows):
        last = np.broadcast_to(np.float32([0, 0, 1]), (*rows.shape[:-1], 3))
        return np.concatenate([rows[..., :6], last], -1).reshape(*rows.shape[:-1], 3, 3)

    product = affine.compose(*map(tf.constant, square(golden["compose_transforms"])))
    np.testing.assert_allclose(product, square(golden["compose_tfa"]), atol=1e-4)
    angles = tf.constant(golden["angles_rad"])
    turned = affine.rotation(angles)[:, :2, :2]
    expected = square(golden["angles_transforms_tfa"])[:, :2, :2]
    np.testing.assert_allclose(turned, expected, atol=1e-6)


def test_rotation_about_the_center_keeps_the_center():
    matrix = affine.about_center(affine.rotation(tf.constant([0.7])), (9, 13))
    np.testing.assert_allclose(matrix[0] @ [[6.0], [4.0], [1.0]], [[6], [4], [1]], atol=1e-6)


def test_visible_marks_what_a_shifted_view_shows():
    # the view's pixel (0, 0) shows the image's (2, 0): image columns 0 and 1 are not seen
    view_to_image = affine.shift(tf.constant([2.0]), tf.constant([0.0]))
    seen = affine.visible(affine.invert(view_to_image), 4, 6)
    np.testing.assert_array_equal(seen[0], np.tile([0, 0, 1, 1, 1, 1], (4, 1)))
    assert np.all(affine.visible(tf.eye(3, batch_shape=[1]), 4, 6))


def test_draw_without_gates_is_the_identity_and_with_them_is_often():
    none = affine.sample(4, (96, 96), tf.constant([1, 2]), probability=0.0)
    np.testing.assert_allclose(none, np.tile(np.eye(3), (4, 1, 1)), atol=1e-5)
    drawn = affine.sample(4000, (96, 96), tf.constant([1, 2]))
    identity = np.abs(drawn - np.eye(3)).max(axis=(1, 2)) < 1e-4
    assert np.mean(identity) == pytest.approx(1 / 16, abs=0.015)  # four gates of one half


def drawn(name, shape=(48, 96)):
    """Parameters of matrices [N, 3, 3] in the paper's units: shears only where nothing turns."""
    matrices = np.float64(affine.sample(4000, shape, tf.constant([1, 2])))
    middle = np.append((np.array(shape[::-1]) - 1) / 2, 1)
    first, second = matrices[:, :2, 0].T, matrices[:, :2, 1].T
    angles = np.degrees([np.arctan2(*first[::-1]), np.arctan2(-second[0], second[1])])
    x, y = (matrices @ middle - middle)[:, :2].T * 192 / 96
    return {"translation": (x, y), "scale": [np.hypot(*first)], "rotation_deg": angles[:1]}.get(
        name, (angles[0], -angles[1])
    )


def test_parameters_are_uniform_each_with_a_gate_of_its_own(monkeypatch):
    gates = []
    for name, low, high, unchanged in (
        ("translation", -10, 10, 0),
        ("scale", 0.75, 1.25, 1),
        ("rotation_deg", -20, 20, 0),
        ("shear_deg", -5, 5, 0),
    ):
        with monkeypatch.context() as patch:
            for other in {"rotation_deg", "shear_deg"} - {name}:
                patch.setitem(affine.RANGES, other, (0.0, 0.0))
            found = drawn(name)
        active = [np.abs(values - unchanged) > 1e-3 * (high - low) for values in found]
        gates.append(active[0])
        for values in found:
            p = stats.kstest(values[active[0]], stats.uniform(low, high - low).cdf).pvalue
            assert p > 0.001
        if len(found) == 2:  # of x and of y
            assert (active[0] == active[-1]).mean() > 0.99
            assert abs(np.corrcoef(np.array(found)[:, active[0]])[0, 1]) < 0.08
    np.testing.assert_allclose(np.mean(gates, axis=1), 0.5, atol=0.04)
    np.testing.assert_allclose(np.corrcoef(gates), np.eye(4), atol=0.06)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), size=st.sampled_from([64, 96, 192]))
def test_draw_stays_within_the_ranges(seed, size):
    matrices = np.float64(random_matrices(64, (size, size), seed))
    linear = matrices[:, :2, :2]
    det = np.linalg.det(linear)
    low, high = affine.RANGES["scale"]
    bend = np.tan(np.radians(5)) ** 2
    assert np.all(det >= low**2 * (1 - bend) - 1e-3) and np.all(det <= high**2 * (1 + bend))
    center = np.array([(size - 1) / 2, (size - 1) / 2, 1])
    moved = (matrices @ center)[:, :2] - center[:2]
    assert np.abs(moved).max() <= 10 * size / 192 + 1e-2
    turned = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    assert np.abs(turned).max() <= 20 + 5 + 1e-3
