"""Volume in, probabilities and scores out: the same functions in training and in evaluation."""

import numpy as np
import tensorflow as tf

from bwcr_tf import metrics
from bwcr_tf.data import preprocess
from bwcr_tf.evaluation import significance


def predictor(network):
    """A function: preprocessed slices [Z, H, W] -> probabilities [Z, H, W, C] float32, as arrays.

    It is traced once for any number of slices and sees later changes of the network's weights.
    """
    height, width = network.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 1])])
    def softmax(images):
        return tf.nn.softmax(network(images, training=False))

    return lambda image: in_batches(softmax, image)


def in_batches(function, slices, batch_size=32):
    """What `function` makes of images [N, H, W, 1], as one array, from slices [Z, H, W]."""
    starts = range(0, len(slices), batch_size)
    return np.concatenate([function(slices[i : i + batch_size, ..., None]) for i in starts])


def segment(probabilities, case):
    """Label map [Z, Y, X] uint8 on the case's original grid.

    It is the argmax of the resampled probabilities [Z, H, W, C], which are on `case.grid`.
    """
    restored = preprocess.restore(probabilities, case.grid, case.original_grid)
    return restored.argmax(axis=-1).astype(np.uint8)


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

    Dice and HD95 are of the original grid, all else is of the network's, as the authors do.
    """
    num_classes = len(classes) + 1
    prediction = segment(probabilities, case)
    tace = metrics.tace(probabilities, case.label_map)
    per_class = {
        "dice": metrics.dice(prediction, case.original_label_map, num_classes),
        "hd95_mm": metrics.hd95(
            prediction,
            case.original_label_map,
            num_classes,
            case.original_grid.spacing_mm[::-1],
        ),
        "tace": tace,
        "tace_paper": tace / metrics.BINS,  # the authors divide by the number of bins once more
    }
    whole = {
        "dice": significance.mean(per_class["dice"]),
        "tace": significance.mean(tace),
        "tace_paper": significance.mean(tace) / metrics.BINS,
        "ece": metrics.ece(probabilities, case.label_map, foreground=True),
        "ece_all": metrics.ece(probabilities, case.label_map, foreground=False),
        "nll": metrics.nll(probabilities, case.label_map),
        "brier": metrics.brier(probabilities, case.label_map),
    }
    rows = [
        {"class": name, **{metric: float(values[i]) for metric, values in per_class.items()}}
        for i, name in enumerate(classes)
    ]
    volume = {"subject": case.subject, "volume": case.name}
    return [volume | row for row in [*rows, {"class": "all", **whole}]]
