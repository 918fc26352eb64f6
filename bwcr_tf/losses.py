"""Pixelwise losses, unreduced: (labels, logits) [B, H, W, C] -> [B, H, W].

Labels are one-hot or soft; those of an ignored pixel are all zero. Logits are all zero where they
count in no loss: where the view did not see, and at ignored pixels.
"""

import numpy as np
import tensorflow as tf


def labelled(labels):
    """1 for pixels that have a label, 0 for those that are ignored: [B, H, W]."""
    return tf.cast(tf.reduce_any(labels > 0, axis=-1), labels.dtype)


def cross_entropy(labels, logits):
    """L_S of Eq. (1): - sum_c y_c log softmax(z)_c, for one-hot or soft labels."""
    return tf.nn.softmax_cross_entropy_with_logits(labels, logits)


def svls_cross_entropy(labels, logits, sigma=1.0):
    """Cross-entropy with spatially varying label smoothing (Islam & Glocker, IPMI 2021).

    One-hot labels are averaged over 3 x 3 pixels with Gaussian weights whose centre is replaced
    by the sum of its neighbours, so a pixel keeps at least half of its mass; borders replicated,
    ignored neighbours taken for the pixel itself.
    """
    line = np.exp(-0.5 * (np.arange(-1, 2) / sigma) ** 2)
    kernel = np.outer(line, line)
    kernel[1, 1] = kernel.sum() - kernel[1, 1]
    kernel = tf.constant(kernel / kernel.sum(), labels.dtype)[:, :, None, None]

    def smooth(padded):
        by_class = tf.tile(kernel, [1, 1, padded.shape[-1], 1])
        return tf.nn.depthwise_conv2d(padded, by_class, [1, 1, 1, 1], "VALID")

    return cross_entropy(_around(labels, smooth), logits)


def _around(labels, mean):
    """Labels [B, H, W, C] averaged over 3 x 3 pixels by `mean`, which takes padded ones.

    Borders are replicated, and ignored pixels count as the one in the middle.
    """
    ignored = 1 - labelled(labels)[..., None]
    found, share_ignored = (
        mean(tf.pad(values, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC"))
        for values in (labels, ignored)
    )
    return found + share_ignored * labels


def margin_cross_entropy(labels, logits, margin=10.0, weight=0.1):
    """Cross-entropy plus the mean excess of logit gaps over `margin` (Liu et al., CVPR 2022).

    The mean over classes is the published definition; the authors of the paper sum.
    """
    gaps = tf.reduce_max(logits, axis=-1, keepdims=True) - logits
    excess = tf.reduce_mean(tf.nn.relu(gaps - margin), axis=-1)
    return cross_entropy(labels, logits) + weight * excess


def focal_cross_entropy(labels, logits, gamma=3.0):
    """Focal loss - sum_c y_c (1 - p_c)^gamma log p_c (Lin et al., ICCV 2017).

    As a calibration method: Mukhoti et al., NeurIPS 2020.
    """
    log_p = tf.nn.log_softmax(logits)
    return -tf.reduce_sum(labels * (1 - tf.exp(log_p)) ** gamma * log_p, axis=-1)


def smoothed_cross_entropy(labels, logits, smoothing=0.1):
    """Label smoothing: (1 - a) CE + a mean_c(- log p_c) (Szegedy et al., CVPR 2016)."""
    uniform = -tf.reduce_mean(tf.nn.log_softmax(logits), axis=-1)
    return (1 - smoothing) * cross_entropy(labels, logits) + smoothing * uniform


def confidence_penalty_cross_entropy(labels, logits, weight=0.1):
    """Cross-entropy minus (weight / C) times the entropy of p (Pereyra et al., ICLR-W 2017).

    The mean over classes, in place of the sum, is the convention of Murugesan et al. (2022).
    """
    log_p = tf.nn.log_softmax(logits)
    return cross_entropy(labels, logits) + weight * tf.reduce_mean(tf.exp(log_p) * log_p, -1)


def neighbor_cross_entropy(labels, logits, weight=0.1):
    """Cross-entropy plus weight times mean_c |z_c - n_c| (NACL: Murugesan et al., MICCAI 2023).

    n_c is the share of class c among the labels of the 3 x 3 pixels around; borders replicated,
    ignored neighbours taken for the pixel itself.
    """
    shares = _around(labels, lambda padded: tf.nn.avg_pool2d(padded, 3, 1, "VALID"))
    return cross_entropy(labels, logits) + weight * tf.reduce_mean(tf.abs(logits - shares), -1)


def dice_cross_entropy(labels, logits, epsilon=1e-5):
    """Cross-entropy plus the soft Dice loss of the batch, at every pixel the same.

    The default of nnU-Net (Isensee et al., Nature Methods 2021): 1 - mean over foreground classes
    of (2 sum p y + epsilon) / (sum p + sum y + epsilon), over the pixels that count.
    """
    counted = _counted(logits)[..., None]
    p, y = ((counted * values)[..., 1:] for values in (tf.nn.softmax(logits), labels))
    axes = (0, 1, 2)
    overlap, size = tf.reduce_sum(p * y, axes), tf.reduce_sum(p + y, axes)
    dice = tf.reduce_mean((2 * overlap + epsilon) / (size + epsilon))
    return cross_entropy(labels, logits) + 1 - dice


def calibration_cross_entropy(labels, logits, bins=20):
    """Cross-entropy plus the soft-binned average calibration error, the same all over an image.

    mL1-ACE (Barfoot et al., MICCAI 2024): per image and class, the mean over bins that hold
    anything of |mean p - mean y|, then the mean over classes. p is shared linearly between the
    two bins whose centres are nearest. Pixels that do not count are in no bin.
    """
    batch, classes = tf.shape(logits)[0], logits.shape[-1]
    p = tf.nn.softmax(logits)
    place = tf.clip_by_value(p * bins - 0.5, 0.0, bins - 1.0)  # in units of bins, from a centre
    lower = tf.minimum(tf.floor(place), bins - 2.0)
    upper_share = (place - lower) * _counted(logits)[..., None]
    lower_share = _counted(logits)[..., None] - upper_share
    of_image = tf.reshape(tf.range(batch), [-1, 1, 1, 1]) * classes + tf.range(classes)
    first = of_image * bins + tf.cast(lower, tf.int32)  # [B, H, W, C]: which bin of all

    def total(values):
        sums = [
            tf.math.unsorted_segment_sum(share * values, first + k, batch * classes * bins)
            for k, share in enumerate((lower_share, upper_share))
        ]
        return tf.reshape(tf.add_n(sums), [batch, classes, bins])

    mass = total(tf.ones_like(p))
    gaps = tf.abs(tf.math.divide_no_nan(total(p - labels), mass))
    filled = tf.reduce_sum(tf.cast(mass > 0, tf.float32), axis=-1)
    error = tf.math.divide_no_nan(tf.reduce_sum(gaps, axis=-1), filled)
    return cross_entropy(labels, logits) + tf.reduce_mean(error, axis=-1)[:, None, None]


def _counted(logits):
    """1 for pixels that count, else 0, [B, H, W]: there all logits are zero."""
    return tf.cast(tf.reduce_any(logits != 0, axis=-1), logits.dtype)


def squared_difference(logits, other_logits):
    """L_C of Eq. (1): sum_c (z_c - z'_c)^2, [B, H, W]."""
    return tf.reduce_sum(tf.math.squared_difference(logits, other_logits), axis=-1)


def jensen_shannon(logits, other_logits):
    """Jensen-Shannon divergence of the two softmaxes, in nats: from 0 to log 2, [B, H, W]."""
    log_p, log_q = tf.nn.log_softmax(logits), tf.nn.log_softmax(other_logits)
    log_mean = tf.reduce_logsumexp(tf.stack([log_p, log_q]), axis=0) - np.log(2.0)
    terms = (tf.exp(log) * (log - log_mean) for log in (log_p, log_q))
    return 0.5 * tf.reduce_sum(tf.add_n(list(terms)), axis=-1)


def cosine_distance(logits, other_logits):
    """1 - cos of the angle between the logit vectors: from 0 to 2, [B, H, W]."""
    unit, other_unit = (tf.math.l2_normalize(z, axis=-1) for z in (logits, other_logits))
    return 1 - tf.reduce_sum(unit * other_unit, axis=-1)
