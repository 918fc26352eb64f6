"""What an exported network computes: the functions of its signatures, in TensorFlow alone."""

import tensorflow as tf

from bwcr_tf.data import normalization


def signatures(network, pixel_mm, windows, frequencies):
    """{name: (function, specification of its inputs)} of a SavedModel.

    Arguments are those of `raw_server`.
    """
    channels = [len(windows)] if len(windows) > 1 else []
    raw = [
        tf.TensorSpec([None, None, None, *channels], tf.float32, name="image"),
        tf.TensorSpec([2], tf.float32, name="spacing_mm"),
    ]
    return {
        "serving_default": (server(network), spec(network)),
        "slices": (raw_server(network, pixel_mm, windows, frequencies), raw),
    }


def spec(network):
    """Input signature of `server`: any number of images of the network's size."""
    return [tf.TensorSpec([None, *network.input_shape[1:]], tf.float32, name="image")]


def server(network):
    """The function image [N, H, W, K] -> dict of probabilities, logits and labels."""

    def serve(image):
        logits = network(image, training=False)
        return {
            "probabilities": tf.nn.softmax(logits),
            "logits": logits,
            "labels": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }

    return serve


def raw_server(network, pixel_mm, windows, frequencies):
    """The function (image [N, h, w], spacing_mm [2]) -> dict of probabilities and labels.

    Of several channels, image is [N, h, w, K]. `windows` are those of preprocess.Settings;
    `frequencies` [C] are the probabilities of pixels that lie outside of the network's grid.

    A whole volume of raw slices, rows and columns as in the model's orientation, at any spacing
    (between rows, between columns; as in DICOM). Intensities are rescaled, slices resampled and
    the result brought back to [N, h, w] in the graph: bwcr_tf.data.preprocess without N4, and
    without its care for padding and hot pixels. So a model that was trained with N4 gets images
    that differ from those of training: bwcr_tf.predict gives its full accuracy.
    """
    sides = network.input_shape[1:3]

    def serve(image, spacing_mm):
        shape = tf.shape(image)[1:3]  # rows and columns, as spacing_mm
        there = [interpolation(sides[i], shape[i], pixel_mm / spacing_mm[i]) for i in range(2)]
        back = [interpolation(shape[i], sides[i], spacing_mm[i] / pixel_mm) for i in range(2)]
        channels = tf.unstack(image, axis=-1) if len(windows) > 1 else [image]
        scaled = tf.stack(list(map(rescale, channels, windows)), axis=-1)
        resampled = tf.einsum("Hh,Ww,nhwk->nHWk", *there, scaled)
        probabilities = tf.nn.softmax(network(resampled, training=False))
        seen = tf.einsum("hH,wW->hw", *back)[..., None]  # 1 or 0: the sums of weights
        probabilities = tf.einsum("hH,wW,nHWc->nhwc", *back, probabilities)
        probabilities = tf.minimum(probabilities + (1 - seen) * frequencies, 1)
        labels = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return {"probabilities": probabilities, "labels": labels}

    return serve


def rescale(image, window=None):
    """The 2nd and 98th percentile of all pixels, or a window, to 0 and 1, clipped.

    It is normalization.normalize without N4, padding, borders and hot pixels.
    """
    low, high = window or _percentiles(image)
    return tf.clip_by_value(tf.math.divide_no_nan(image - low, high - low), 0.0, 1.0)


def _percentiles(image):
    """The values that become 0 and 1: the percentiles, or the extremes where these are alike."""
    ordered = tf.sort(tf.reshape(image, [-1]))
    last = tf.size(ordered) - 1

    def percentile(q):
        position = tf.cast(last, tf.float64) * (q / 100)
        below = tf.cast(position, tf.int32)
        part = tf.cast(position - tf.floor(position), tf.float32)
        return (1 - part) * ordered[below] + part * ordered[tf.minimum(below + 1, last)]

    low, high = (percentile(q) for q in normalization.PERCENTILES)
    return tf.cond(high > low, lambda: (low, high), lambda: (ordered[0], ordered[-1]))


def interpolation(count, source_count, step):
    """Matrix [count, source_count] of linear interpolation between two grids of one centre.

    `step` is the spacing in source pixels. Zero outside of the source, as grids.resample.
    """
    center, source_center = (tf.cast(n - 1, tf.float32) / 2 for n in (count, source_count))
    position = (tf.range(count, dtype=tf.float32) - center) * step + source_center
    inside = tf.abs(position - source_center) <= source_center + 0.5
    nearest = tf.clip_by_value(position, 0.0, 2 * source_center)[:, None]
    weights = tf.nn.relu(1 - tf.abs(nearest - tf.range(source_count, dtype=tf.float32)))
    return tf.where(inside[:, None], weights, 0.0)
