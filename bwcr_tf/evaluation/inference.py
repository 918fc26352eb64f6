"""Volume in, probabilities and scores out: the same functions in training and in evaluation."""

import numpy as np
import tensorflow as tf

from bwcr_tf import metrics
from bwcr_tf.data import grids
from bwcr_tf.evaluation import significance

_PIXELS = 2**18  # of a batch, at most


def predictor(network):
    """A function: preprocessed slices [Z, H, W, K] -> probabilities [Z, H, W, C], float32 arrays.

    It is traced once for any number of slices and sees later changes of the network's weights.
    """

    @tf.function(input_signature=[tf.TensorSpec(network.input_shape)])
    def softmax(images):
        return tf.nn.softmax(network(images, training=False))

    return lambda image: in_batches(softmax, image)


def in_batches(function, slices):
    """What `function` makes of slices [Z, H, W, K], a batch at a time, as one array.

    Batches are of 32 slices, but of fewer if these are large: 7 of 192 x 192, 1 of 512 x 512.
    """
    size = min(32, max(1, _PIXELS // slices[0, ..., 0].size))
    return np.concatenate([function(slices[i : i + size]) for i in range(0, len(slices), size)])


def restore(probabilities, case):
    """Probabilities [Z, Y, X, C] on the case's original grid, from those on `case.grid`."""
    return grids.restore(probabilities, case.grid, case.original_grid)


def segment(probabilities, case):
    """Label map [Z, Y, X] on the case's original grid, of the type of the case's own.

    It is the argmax of the resampled probabilities [Z, H, W, C], which are on `case.grid`.
    """
    restored = restore(probabilities, case)
    return restored.argmax(axis=-1).astype(case.original_label_map.dtype)


def dice(probabilities, case):
    """Dice [C-1] of probabilities [Z, H, W, C] on the original grid, for selection.

    It is the mean over the case's annotators of what is not NaN.
    """
    num_classes = probabilities.shape[-1]
    prediction = segment(probabilities, case)
    return over_annotators(
        metrics.dice(prediction, label_map, num_classes)
        for label_map in case.original_label_maps
    )


def over_annotators(scores):
    """Mean [C-1] of scores [K, C-1] of which some may be NaN."""
    return np.array([significance.mean(column) for column in zip(*scores, strict=True)])


def score(probabilities, case, classes):
    """Rows of `scores` for the probabilities [Z, H, W, C] of a volume: each class, and `all`.

    They are against annotator 1. Dice and HD95 are of the original grid, all else is of the
    network's, as the authors do.
    """
    prediction, label_maps = segment(probabilities, case), [case.original_label_map]
    return rows(probabilities, prediction, case.label_map, label_maps, case, classes)


def rows(probabilities, prediction, true, label_maps, case, classes):
    """Rows of a table of scores: of each class, and `all`.

    Args:
      prediction: [Z, Y, X] on the original grid.
      true: the label map [Z, H, W], or fractions [Z, H, W, C], to score probabilities against.
      label_maps: those [Z, Y, X] to score the prediction against; Dice and HD95 are their means.
    """
    num_classes, spacing_mm = len(classes) + 1, case.original_grid.spacing_mm[::-1]
    tace = metrics.tace(probabilities, true)
    per_class = {
        "dice": over_annotators(metrics.dice(prediction, m, num_classes) for m in label_maps),
        "hd95_mm": over_annotators(
            metrics.hd95(prediction, m, num_classes, spacing_mm) for m in label_maps
        ),
        "tace": tace,
        "tace_paper": tace / metrics.BINS,  # the authors divide by the number of bins once more
    }
    whole = {
        "dice": significance.mean(per_class["dice"]),
        "tace": significance.mean(tace),
        "tace_paper": significance.mean(tace) / metrics.BINS,
        "ece": metrics.ece(probabilities, true, foreground=True),
        "ece_all": metrics.ece(probabilities, true, foreground=False),
        "nll": metrics.nll(probabilities, true),
        "brier": metrics.brier(probabilities, true),
    }
    of_classes = [
        {"class": name, **{metric: float(values[i]) for metric, values in per_class.items()}}
        for i, name in enumerate(classes)
    ]
    volume = {"subject": case.subject, "volume": case.name}
    return [volume | row for row in [*of_classes, {"class": "all", **whole}]]
