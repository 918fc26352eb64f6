"""Training batches: slices and a step number in, random views of images out (tf.data)."""

import tensorflow as tf

from bwcr_tf import affine, intensity


def batches(slices, num_classes, method, batch_size, start, steps, seed, parallel=True):
    """The batches of steps start..steps-1 as a tf.data.Dataset: `make_batch` of each step.

    The batch of step t is a pure function of (seed, t): a run that is stopped and resumed sees what
    it would have seen. Slices are shuffled anew in every epoch and drawn without replacement.

    Args:
      slices: dict of arrays, `images` [N, H, W, K], `label_maps` [N, H, W], `distance` [N, H, W].
        Fractions [N, H, W, C] may stand in place of label maps, as in `metrics`. With
        `annotations` [N, 2], the last two are of M rows, one for each annotator of a slice: it
        holds a slice's first row and how many follow, of which each step draws one.
      method: says whether to augment, and into how many views.
      parallel: whether several batches are made at once; op determinism takes that away again,
        and logs an error over it (TF 2.21).
    """
    # tf.data copies tensors that it captures, not variables; with op determinism, however, it would
    # prefetch no batch that reads variables.
    keep = tf.Variable if parallel else tf.constant
    with tf.device("CPU"):  # where tf.data works
        slices = {name: keep(array) for name, array in slices.items()}
    return (
        tf.data.Dataset.range(start, steps)
        .map(
            lambda step: make_batch(slices, num_classes, method, batch_size, step, seed),
            num_parallel_calls=tf.data.AUTOTUNE if parallel else None,
        )
        .prefetch(tf.data.AUTOTUNE)
    )


def make_batch(slices, num_classes, method, batch_size, step, seed):
    """The batch of `step`.

    Returns:
      Dict of `views` [V, B, H, W, K], `view_to_image` [V, B, 3, 3], `labels` [B, H, W, C], one-hot
      or fractions, and `distance` [B, H, W] in pixels.
    """
    count, *shape, channels = slices["images"].shape
    seeds = tf.random.experimental.stateless_fold_in(tf.constant([seed, 0], tf.int64), step)
    affine_seed, intensity_seed = tf.unstack(tf.random.split(seeds))
    rows = label_rows = slice_indices(step, batch_size, count, seed)
    if "annotations" in slices:
        label_rows = annotation_indices(tf.gather(slices["annotations"], rows), step, seed)
    labels = tf.gather(slices["label_maps"], label_rows)
    views = tf.tile(tf.gather(slices["images"], rows), [method.num_views, 1, 1, 1])
    view_to_image = tf.eye(3, batch_shape=[method.num_views * batch_size])
    if method.augment:
        view_to_image = affine.sample(method.num_views * batch_size, shape, affine_seed)
        views = intensity.randomize(project(views, view_to_image), intensity_seed)
    by_view = [method.num_views, batch_size]
    return {
        "views": tf.reshape(views, [*by_view, *shape, channels]),
        "view_to_image": tf.reshape(view_to_image, [*by_view, 3, 3]),
        "labels": labels if labels.shape.rank == 4 else tf.one_hot(labels, num_classes),
        "distance": tf.gather(slices["distance"], label_rows),
    }


def slice_indices(step, batch_size, count, seed):
    """Indices [B] of the slices in the batch of `step`: position t B + i of endless epochs."""
    position = step * batch_size + tf.range(batch_size, dtype=tf.int64)
    epoch = position // count
    seeds = tf.stack(
        [tf.zeros_like(epoch), tf.fill([batch_size], tf.cast(seed, tf.int64)), epoch], -1
    )
    # tf.random.experimental.index_shuffle pads several seeds along the wrong axis (TF 2.21); its
    # four rounds leave half of 95 slices in their place where the epoch is 0
    return tf.raw_ops.RandomIndexShuffle(
        index=position % count, seed=seeds, max_index=tf.constant(count - 1, tf.int64), rounds=8
    )


def annotation_indices(annotations, step, seed):
    """A row [B] of each slice's `annotations` [B, 2], (first row, count), all equally likely."""
    first, count = tf.unstack(annotations, axis=1)
    seeds = tf.random.experimental.stateless_fold_in(tf.constant([seed, 1], tf.int64), step)
    drawn = tf.random.stateless_uniform(tf.shape(first), seeds) * tf.cast(count, tf.float32)
    return first + tf.cast(drawn, first.dtype)


def project(images, out_to_in):
    """`affine.warp` by TensorFlow's own op: right forward, wrong backward, fit for tf.data."""
    rows = tf.reshape(out_to_in, [-1, 9])[:, :8]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=rows,
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
        fill_value=0.0,
    )
