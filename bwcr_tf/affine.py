"""Affine maps between pixel frames: sample, invert, and apply by bilinear resampling.

A matrix [3, 3] acts on (x, y, 1), x being the column and y the row of a pixel centre. Its name
says from where to where it carries: `out_to_in` is what resampling asks for.
"""

import math

import tensorflow as tf

from bwcr_tf.boundary import grid_scale

# T_psi of the paper (Sec. 4), "the same parameter ranges as in [31]" (Zhang et al., TMI 2020).
# All follow the authors' code, which is narrower than [31] in scale.
RANGES = {
    "rotation_deg": (-20.0, 20.0),
    "translation": (-10.0, 10.0),  # px of the paper's grid
    "scale": (0.75, 1.25),
    "shear_deg": (-5.0, 5.0),
}


def sample(count, shape, seed, probability=0.5):
    """Random view_to_image matrices [count, 3, 3] about the centre of a grid `shape` (H, W).

    Rotation, translation, scale and shear are each active with `probability`, independently
    for each matrix (Sec. 4). Translation scales with the grid.
    """
    gate_seed, value_seed = tf.unstack(tf.random.split(seed))
    gates = tf.random.stateless_uniform([4, count], gate_seed) < probability
    unit = tf.random.stateless_uniform([6, count], value_seed)

    def value(name, row, gate, identity):
        low, high = RANGES[name]
        return tf.where(gates[gate], low + (high - low) * unit[row], identity)

    pixels, radians = grid_scale(shape), math.pi / 180
    translation = shift(*(pixels * value("translation", row, 0, 0.0) for row in (0, 1)))
    linear = compose(
        rotation(radians * value("rotation_deg", 2, 1, 0.0)),
        zoom(value("scale", 3, 2, 1.0)),
        shear(*(radians * value("shear_deg", row, 3, 0.0) for row in (4, 5))),
    )
    return compose(translation, about_center(linear, shape))


def _matrices(rows):
    """[B, 3, 3] from two rows of [B] tensors or numbers; the third is (0, 0, 1)."""
    like = next(entry for row in rows for entry in row if tf.is_tensor(entry))
    rows = [*rows, (0.0, 0.0, 1.0)]
    rows = [tf.stack([tf.zeros_like(like) + entry for entry in row], -1) for row in rows]
    return tf.stack(rows, axis=-2)


def rotation(angle):
    """Rotations [B, 3, 3] by `angle` [B] in radians, counter-clockwise in (x, y)."""
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _matrices([(cos, -sin, 0.0), (sin, cos, 0.0)])


def zoom(factor):
    """Isotropic scalings [B, 3, 3] by `factor` [B]."""
    return _matrices([(factor, 0.0, 0.0), (0.0, factor, 0.0)])


def shear(angle_x, angle_y):
    """Shears [B, 3, 3] of x along y by `angle_x` and of y along x by `angle_y`, radians [B]."""
    return _matrices([(1.0, tf.tan(angle_x), 0.0), (tf.tan(angle_y), 1.0, 0.0)])


def shift(x, y):
    """Translations [B, 3, 3] by (x, y) pixels, each [B]."""
    return _matrices([(1.0, 0.0, x), (0.0, 1.0, y)])


def compose(*matrices):
    """The product [B, 3, 3] of maps: the last one acts first."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = product @ matrix
    return product


def about_center(matrix, shape):
    """`matrix` [B, 3, 3] acting about the centre of a grid (H, W) instead of pixel (0, 0)."""
    y, x = (tf.fill(tf.shape(matrix)[:1], (side - 1) / 2) for side in shape)
    return compose(shift(x, y), matrix, shift(-x, -y))


def invert(matrix):
    """The exact inverse [B, 3, 3] of affine maps, written out so that XLA compiles it."""
    a, b, x = tf.unstack(matrix[:, 0], axis=-1)
    c, d, y = tf.unstack(matrix[:, 1], axis=-1)
    det = a * d - b * c
    return _matrices(
        [
            (d / det, -b / det, (b * y - d * x) / det),
            (-c / det, a / det, (c * x - a * y) / det),
        ]
    )


def source_coordinates(out_to_in, height, width):
    """Where each output pixel comes from: (x, y), each [B, H, W], in input pixels."""
    x, y = tf.meshgrid(tf.range(width, dtype=tf.float32), tf.range(height, dtype=tf.float32))
    row = out_to_in[:, :2, :, None, None]  # [B, 2, 3, 1, 1]
    source = row[:, :, 0] * x + row[:, :, 1] * y + row[:, :, 2]
    return source[:, 0], source[:, 1]


def visible(image_to_view, height, width, tolerance=1e-3):
    """1 for image pixels that lie inside the view, else 0: [B, H, W] float32."""
    x, y = source_coordinates(image_to_view, height, width)
    inside_x = (x >= -tolerance) & (x <= width - 1 + tolerance)
    inside_y = (y >= -tolerance) & (y <= height - 1 + tolerance)
    return tf.cast(inside_x & inside_y, tf.float32)


def warp(images, out_to_in):
    """Bilinear resampling of images [B, H, W, C] at `out_to_in` [B, 3, 3], zero outside.

    Equal to `ImageProjectiveTransformV3`, except that its derivative is the exact adjoint: the
    gradient that TensorFlow 2.21 registers for that op resamples with the inverse matrix instead
    (tensorflow issue 127241), and the op has no XLA kernel. This one is made of gathers, which
    automatic differentiation turns into the matching scatters.
    """
    _, height, width, channels = images.shape
    x, y = source_coordinates(out_to_in, height, width)
    left, top = tf.floor(x), tf.floor(y)
    pixels = tf.reshape(images, [-1, channels])
    first = tf.range(tf.shape(images)[0])[:, None, None] * (height * width)
    total = 0.0
    for column in (left, left + 1):
        for row in (top, top + 1):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            weight = (1 - tf.abs(x - column)) * (1 - tf.abs(y - row))
            index = tf.where(inside, row * width + column, 0.0)
            corner = tf.gather(pixels, first + tf.cast(index, tf.int32))
            total += tf.where(inside, weight, 0.0)[..., None] * corner
    return total
