"""Segmentation and calibration metrics of one volume (NumPy): arrays in, plain numbers out.

Shapes: probabilities [..., C] sum to one, label_map and prediction [...] hold 0..C-1 and class 0
is the background. Everything is a fraction, not per cent.

The metrics of calibration take, in place of a label_map, the fraction [..., C] of annotators who
gave a pixel each class; it is told from a label map by its extra axis. A label map is the
special case of one annotator.

A pixel whose label is C, or whose fractions are all zero, is ignored: it counts in no metric.
Where nothing counts, a metric is NaN.
"""

import numpy as np
from scipy import ndimage, spatial, special

BINS = 15  # Sec. 4
_BACKGROUND = 0.99  # a pixel is background if at least this share of annotators says so


def fractions(label_maps, num_classes):
    """Fraction [..., C] float32 of annotators who gave a pixel each class.

    Args:
      label_maps: a label map [...] for each annotator.
    """
    one_hot = np.eye(num_classes + 1, num_classes, dtype=np.float32)  # none of an ignored pixel
    return sum(one_hot[label_map] for label_map in label_maps) / np.float32(len(label_maps))


def dice(prediction, label_map, num_classes):
    """Dice coefficient of each foreground class [C-1]; NaN where both masks are empty."""
    scores = np.full(num_classes - 1, np.nan)
    labelled = label_map != num_classes
    for c in range(1, num_classes):
        predicted, true = (prediction == c) & labelled, label_map == c
        size = np.count_nonzero(predicted) + np.count_nonzero(true)
        if size:
            scores[c - 1] = 2 * np.count_nonzero(predicted & true) / size
    return scores


def hd95(prediction, label_map, num_classes, spacing_mm):
    """95th percentile Hausdorff distance [C-1] in mm, the larger of the two directions.

    Surfaces are the mask's voxels with a face neighbour outside it, volume borders counting as
    outside and ignored voxels as neither. Those of a volume of one slice have neighbours in plane
    alone, so that its surfaces are contours. NaN where either surface is empty. `spacing_mm` is in
    the order of the array's axes.
    """
    scores = np.full(num_classes - 1, np.nan)
    ignored = label_map == num_classes
    flat = (slice(1, 2) if count == 1 else slice(None) for count in label_map.shape)
    faces = ndimage.generate_binary_structure(label_map.ndim, 1)[tuple(flat)]
    for c in range(1, num_classes):
        masks = (prediction == c) & ~ignored, label_map == c
        if not all(mask.any() for mask in masks):
            continue
        counted = masks[0] | masks[1] | ignored
        box = ndimage.find_objects(counted.astype(np.uint8))[0]
        surfaces = [_surface_mm(mask[box], ignored[box], faces, spacing_mm) for mask in masks]
        if all(map(len, surfaces)):
            scores[c - 1] = max(
                np.percentile(spatial.cKDTree(surfaces[1 - i]).query(surfaces[i])[0], 95)
                for i in (0, 1)
            )
    return scores


def _surface_mm(mask, ignored, faces, spacing_mm):
    """Coordinates [N, 3] of the surface voxels; `faces` are those of a voxel's neighbourhood."""
    inner = ndimage.binary_erosion(mask | ignored, faces)
    return np.argwhere(mask & ~inner) * np.array(spacing_mm)


def reliability(probabilities, label_map, bins=BINS, foreground=True):
    """What a reliability diagram shows of the most likely class: dict of arrays [bins].

    `count` pixels, the sum of their `confidence` and the sum that are `correct` (of fractions,
    those of the most likely class), in bins of equal width, (low, high], over all pixels or over
    those that an annotator gave a foreground class.
    """
    probabilities, true = _counted(probabilities, label_map)
    if foreground:
        kept = true[..., 0] < _BACKGROUND
        probabilities, true = probabilities[kept], true[kept]
    prediction = probabilities.argmax(axis=-1)
    confidence = _of_class(probabilities, prediction).ravel()
    correct = _of_class(true, prediction).ravel()
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
    the pixels that an annotator gave a foreground class, as the authors report it; NaN if there
    are none. Of fractions, the accuracy is the mean fraction of the predicted class.
    """
    table = reliability(probabilities, label_map, bins, foreground)
    gaps = np.abs(table["correct"] - table["confidence"])
    return gaps.sum() / table["count"].sum() if table["count"].any() else np.nan


def tace(probabilities, label_map, bins=BINS, threshold=0.01):
    """Thresholded adaptive calibration error [C-1] of each foreground class (Nixon et al., 2019).

    Over the pixels with p_c > threshold, in bins of equal mass: the mean gap between the mean of
    p_c and the frequency of class c. Pixels of equal p_c share a bin, the one that the last of
    them would be in. NaN if no pixel exceeds the threshold.
    """
    probabilities, true = _counted(probabilities, label_map)
    return np.array(
        [
            _adaptive_error(probabilities[..., c], true[..., c], bins, threshold)
            for c in range(1, probabilities.shape[-1])
        ]
    )


def _adaptive_error(probability, true, bins, threshold):
    """Mean over equal-mass bins of |confidence - frequency|, bins weighed by their pixels."""
    kept = probability > threshold
    values = probability[kept].astype(np.float32)
    gaps = probability[kept] - true[kept].astype(np.float64)
    if not gaps.size:
        return np.nan
    firsts = np.sort(values)[np.arange(bins) * gaps.size // bins]  # the lowest of each bin
    sums = np.bincount(np.searchsorted(firsts, values, side="right"), gaps)
    return np.abs(sums).sum() / gaps.size


def _counted(probabilities, label_map):
    """Probabilities and fractions [..., C], or [N, C] of those pixels that are not ignored.

    The fractions are those in place of a label map, or its one-hot labels.
    """
    if np.ndim(label_map) == probabilities.ndim:
        true, labelled = label_map, label_map.any(axis=-1)
    else:
        true = fractions([label_map], probabilities.shape[-1])
        labelled = label_map != probabilities.shape[-1]
    if labelled.all():
        return probabilities, true
    return probabilities[labelled], true[labelled]


def _of_class(probabilities, label_map):
    """Probability [...] of the class that the label map names at each pixel."""
    return np.take_along_axis(probabilities, label_map[..., None].astype(np.intp), -1)[..., 0]


def nll(probabilities, label_map):
    """Mean negative log-likelihood over all pixels in nats, - sum_c f_c log p_c of fractions f."""
    probabilities, true = _counted(probabilities, label_map)
    log = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny), dtype=np.float64)
    return _mean(-(true * log).sum(axis=-1))


def brier(probabilities, label_map):
    """Mean over all pixels of sum_c (p_c - f_c)^2 (Brier, 1950): 0 at best, 2 at worst."""
    probabilities, true = _counted(probabilities, label_map)
    return _mean(np.square(probabilities - true).sum(axis=-1, dtype=np.float64))


def _mean(values):
    return float(values.mean()) if values.size else np.nan


def crps(value, mean, sd):
    """Continuous ranked probability score of `value` under N(mean, sd), in its unit.

    Closed form (Gneiting & Raftery, JASA 2007); for sd = 0 it is |value - mean|. CURVAS integrates
    over three sd only, so that its score has an upper bound where this one has none.
    """
    if not sd:
        return float(abs(value - mean))
    z = (value - mean) / sd
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    score = z * (2 * special.ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi)
    return float(sd * score)
