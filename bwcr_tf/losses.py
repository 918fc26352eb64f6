"""Pixelwise losses, unreduced: (labels, logits) [B, H, W, C] -> [B, H, W]."""

import numpy as np
import tensorflow as tf


def cross_entropy(labels, logits):
    """L_S of Eq. (1): - sum_c y_c log softmax(z)_c, for one-hot or soft labels."""
    return tf.nn.softmax_cross_entropy_with_logits(labels, logits)


def svls_cross_entropy(labels, logits, sigma=1.0):
    """Cross-entropy with spatially varying label smoothing (Islam & Glocker, IPMI 2021).

    One-hot labels are averaged over 3 x 3 pixels with Gaussian weights whose centre is replaced
    by the sum of its neighbours, so a pixel keeps at least half of its mass; borders replicated.
    """
    line = np.exp(-0.5 * (np.arange(-1, 2) / sigma) ** 2)
    kernel = np.outer(line, line)
    kernel[1, 1] = kernel.sum() - kernel[1, 1]
    kernel = tf.constant(kernel / kernel.sum(), labels.dtype)
    kernel = tf.tile(kernel[:, :, None, None], [1, 1, labels.shape[-1], 1])
    padded = tf.pad(labels, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
    smooth = tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")
    return cross_entropy(smooth, logits)


def margin_cross_entropy(labels, logits, margin=10.0, weight=0.1):
    """Cross-entropy plus the mean excess of logit gaps over `margin` (Liu et al., CVPR 2022).

    The mean over classes is the published definition; the authors of the paper sum (README).
    """
    gaps = tf.reduce_max(logits, axis=-1, keepdims=True) - logits
    excess = tf.reduce_mean(tf.nn.relu(gaps - margin), axis=-1)
    return cross_entropy(labels, logits) + weight * excess


def squared_difference(logits, other_logits):
    """L_C of Eq. (1): sum_c (z_c - z'_c)^2, [B, H, W]."""
    return tf.reduce_sum(tf.math.squared_difference(logits, other_logits), axis=-1)
