"""Random intensity transforms S_phi of a batch (Sec. 4): sample the parameters, then apply them."""

import math

import tensorflow as tf

from bwcr_tf.boundary import grid_scale

# (low, high) of each parameter and the value that changes nothing. Sources: Zhang et al., TMI
# 2020 (BigAug; scale, shift and blur as there); gamma and noise as in the authors' code, since
# BigAug's gamma reaches 4.5, and its noise of 0.1-1.0 and sharpening of 10-30 are meant for
# z-scored images. Our sharpening is what looks right on images in [0, 1].
RANGES = {
    #              low   high  identity
    "gamma": (0.5, 2.0, 1.0),
    "scale": (0.9, 1.1, 1.0),
    "shift": (-0.1, 0.1, 0.0),
    "blur_sigma": (0.25, 1.5, 0.0),  # px of the paper's grid
    "sharpening": (1.0, 3.0, 0.0),
    "noise_sd": (0.01, 0.1, 0.0),
}
_SHARPENING_SIGMA = 1.0  # px of the paper's grid: the blur in I + a (I - blur(I))


def sample(count, channels, seed, probability=0.5):
    """Parameters of `count` images: name -> [count, 1, 1, channels].

    Each is active with `probability`, independently for each channel of each image. Scale and
    shift share one gate: together they are one transform of the paper's list.
    """
    gate_seed, value_seed = tf.unstack(tf.random.split(seed))
    shape = [len(RANGES), count, 1, 1, channels]
    gates = tf.random.stateless_uniform(shape, gate_seed) < probability
    unit = tf.random.stateless_uniform(shape, value_seed)
    active = dict(zip(RANGES, tf.unstack(gates), strict=True))
    active["shift"] = active["scale"]
    return {
        name: tf.where(active[name], low + (high - low) * fraction, identity)
        for (name, (low, high, identity)), fraction in zip(
            RANGES.items(), tf.unstack(unit), strict=True
        )
    }


def apply(images, parameters, seed):
    """Images [B, H, W, K] in [0, 1] after gamma, scale and shift, blur, sharpening and noise."""
    pixels = grid_scale(images.shape[1:3])
    radius = max(6, math.ceil(4 * pixels * RANGES["blur_sigma"][1]))
    radius = min(radius, min(images.shape[1:3]) - 1)  # what can be reflected
    images = tf.exp(parameters["gamma"] * tf.math.log(tf.maximum(images, 1e-30)))  # fast tf.pow
    images = parameters["scale"] * images + parameters["shift"]
    images = blur(images, pixels * parameters["blur_sigma"], radius)
    unsharp = images - blur(images, tf.fill([1, 1, 1, 1], pixels * _SHARPENING_SIGMA), radius)
    images += parameters["sharpening"] * unsharp
    return images + parameters["noise_sd"] * tf.random.stateless_normal(tf.shape(images), seed)


def randomize(images, seed):
    """Images [B, H, W, K] under newly sampled intensity transforms, a pure function of `seed`."""
    draw_seed, noise_seed = tf.unstack(tf.random.split(seed))
    parameters = sample(tf.shape(images)[0], images.shape[-1], draw_seed)
    return apply(images, parameters, noise_seed)


def blur(images, sigma, radius=6):
    """Gaussian blur of images [B, H, W, K] by `sigma` pixels [B, 1, 1, K], borders reflected.

    The kernel is cut at `radius` pixels (`apply` gives 4 sigma of the largest drawn) and sums to
    one; sigma 0 changes nothing. tensorflow-addons' `gaussian_filter2d` takes no sigma per image.
    """
    _, height, width, channels = images.shape
    offsets = tf.reshape(tf.range(-radius, radius + 1, dtype=tf.float32), [-1, 1, 1, 1, 1])
    sigma = tf.broadcast_to(tf.maximum(sigma, 1e-3), [tf.shape(images)[0], 1, 1, channels])
    kernel = tf.nn.softmax(-0.5 * (offsets / sigma) ** 2, axis=0)  # [2 radius + 1, B, 1, 1, K]
    # Images become channels, as a depthwise convolution has a kernel of its own for each of them.
    planes = tf.reshape(tf.transpose(images, [1, 2, 0, 3]), [1, height, width, -1])
    margin = [radius, radius]
    planes = tf.pad(planes, [[0, 0], margin, margin, [0, 0]], "REFLECT")
    for shape in ([2 * radius + 1, 1, -1, 1], [1, 2 * radius + 1, -1, 1]):
        planes = tf.nn.depthwise_conv2d(planes, tf.reshape(kernel, shape), [1] * 4, "VALID")
    return tf.transpose(tf.reshape(planes, [height, width, -1, channels]), [2, 0, 1, 3])
