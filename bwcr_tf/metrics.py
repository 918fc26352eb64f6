"""Segmentation and calibration metrics of one volume (NumPy): arrays in, plain numbers out.

Shapes: probabilities [..., C] sum to one, label_map and prediction [...] hold 0..C-1 and class 0
is the background. Everything is a fraction, not per cent.
"""

import numpy as np
from scipy import ndimage, spatial

BINS = 15  # Sec. 4


def dice(prediction, label_map, num_classes):
    """Dice coefficient of each foreground class [C-1]; NaN where both masks are empty."""
    scores = np.full(num_classes - 1, np.nan)
    for c in range(1, num_classes):
        predicted, true = prediction == c, label_map == c
        size = np.count_nonzero(predicted) + np.count_nonzero(true)
        if size:
            scores[c - 1] = 2 * np.count_nonzero(predicted & true) / size
    return scores


def hd95(prediction, label_map, num_classes, spacing_mm):
    """95th percentile Hausdorff distance [C-1] in mm, the larger of the two directions.

    Surfaces are the mask's voxels with a face neighbour outside it, volume borders counting as
    outside. NaN where either mask is empty. `spacing_mm` is in the order of the array's axes.
    """
    scores = np.full(num_classes - 1, np.nan)
    for c in range(1, num_classes):
        masks = prediction == c, label_map == c
        if all(mask.any() for mask in masks):
            box = _bounding_box(masks[0] | masks[1])
            surfaces = [_surface_mm(mask[box], spacing_mm) for mask in masks]
            scores[c - 1] = max(
                np.percentile(spatial.cKDTree(surfaces[1 - i]).query(surfaces[i])[0], 95)
                for i in (0, 1)
            )
    return scores


def _bounding_box(mask):
    return ndimage.find_objects(mask.astype(np.uint8))[0]


def _surface_mm(mask, spacing_mm):
    """Coordinates [N, 3] of the surface voxels."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.array(spacing_mm)


def reliability(probabilities, label_map, bins=BINS, foreground=True):
    """What a reliability diagram shows of the most likely class: dict of arrays [bins].

    `count` pixels, the sum of their `confidence` and the sum that are `correct`, in bins of
    equal width, (low, high], over the pixels whose true class is foreground or over all.
    """
    if foreground:
        probabilities, label_map = probabilities[label_map > 0], label_map[label_map > 0]
    prediction = probabilities.argmax(axis=-1)
    confidence = _of_class(probabilities, prediction).ravel()
    correct = (prediction == label_map).ravel()
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(confidence.dtype)  # 0.6 is in (0.4, 0.6]
    index = np.searchsorted(edges, confidence, side="left")
    return {
        "count": np.bincount(index, minlength=bins),
        "confidence": np.bincount(index, confidence, minlength=bins),
        "correct": np.bincount(index, correct, minlength=bins),
    }


def ece(probabilities, label_map, bins=BINS, foreground=True):
    """Expected calibration error (Guo et al., ICML 2017) of the most likely class.

    sum_b n_b / n |accuracy_b - confidence_b| over bins of equal width. With `foreground`, over
    the pixels whose true class is not background, as the authors report it; NaN if there are none.
    """
    table = reliability(probabilities, label_map, bins, foreground)
    gaps = np.abs(table["correct"] - table["confidence"])
    return gaps.sum() / table["count"].sum() if table["count"].any() else np.nan


def tace(probabilities, label_map, bins=BINS, threshold=0.01):
    """Thresholded adaptive calibration error [C-1] of each foreground class (Nixon et al., 2019).

    Over the pixels with p_c > threshold, in bins of equal mass: the mean gap between the mean of
    p_c and the frequency of class c. NaN if no pixel exceeds the threshold.
    """
    return np.array(
        [
            _adaptive_error(probabilities[..., c], label_map == c, bins, threshold)
            for c in range(1, probabilities.shape[-1])
        ]
    )


def _adaptive_error(probability, true, bins, threshold):
    """Mean over equal-mass bins of |confidence - frequency|, bins weighed by their pixels."""
    kept = probability > threshold
    gaps = (probability - true.astype(np.float64))[kept]
    if not gaps.size:
        return np.nan
    edges = np.arange(bins) * gaps.size // bins
    edges = np.unique(edges)  # fewer pixels than bins: one pixel each
    return np.abs(np.add.reduceat(gaps[_rank(probability[kept])], edges)).sum() / gaps.size


def _rank(values):
    """Indices [N] that sort non-negative float32 values [N], equal ones in their order.

    Their bits sort as they do, so one integer sort of (bits, index) replaces a stable argsort,
    in a fifteenth of the time.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    keys = np.sort(bits << np.uint64(32) | np.arange(values.size, dtype=np.uint64))
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.intp)


def _of_class(probabilities, label_map):
    """Probability [...] of the class that the label map names at each pixel."""
    return np.take_along_axis(probabilities, label_map[..., None].astype(np.intp), -1)[..., 0]


def nll(probabilities, label_map):
    """Mean negative log-likelihood of the true class over all pixels, in nats."""
    true = np.maximum(_of_class(probabilities, label_map), np.finfo(np.float32).tiny)
    return float(-np.log(true, dtype=np.float64).mean())


def brier(probabilities, label_map):
    """Mean over all pixels of sum_c (p_c - y_c)^2 (Brier, 1950): 0 at best, 2 at worst."""
    labels = np.eye(probabilities.shape[-1], dtype=np.float32)[label_map]
    return float(np.square(probabilities - labels).sum(axis=-1, dtype=np.float64).mean())
