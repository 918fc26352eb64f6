"""Scores against all annotators of a case: scores_annotators.csv, and those of the annotators."""

import dataclasses

import numpy as np

from bwcr_tf import metrics
from bwcr_tf.evaluation import inference, scores, significance, truth


def score(probabilities, case, classes):
    """Rows of scores_annotators.csv for the probabilities [Z, H, W, C] of a volume.

    As inference.score, but against the true probabilities of `truth`; Dice and HD95 are means
    over annotators. The volume is the sum of the probabilities on the original grid.
    """
    restored = inference.restore(probabilities, case)
    return _rows(probabilities, restored.argmax(axis=-1), _sizes(restored), case, classes)


def score_annotators(case, classes):
    """Rows for each annotator against all others: how well one expert does. [] of one annotator.

    The label map is taken for the probabilities, so that its log-likelihood is not finite and
    not measured.
    """
    rows = []
    num_classes = len(classes) + 1
    for k in range(len(case.label_maps) if len(case.label_maps) > 1 else 0):
        drawn, original = case.label_maps[k], case.original_label_maps[k]
        probabilities, whole = (
            np.eye(num_classes, dtype=np.float32)[m] for m in (drawn, original)
        )
        rows += _rows(probabilities, original, _sizes(whole), without(case, k), classes)
    for row in rows:
        row.pop("nll", None)
    return rows


def summarize(rows, human_rows, classes):
    """What summary.json keeps: as scores.summarize, and the scores of `human` annotators."""
    result = scores.summarize(rows, classes)
    if human_rows:
        result["human"] = scores.summarize(human_rows, classes)["scores"]
    return result


def without(case, k):
    """The case as it is without annotator k (from 0)."""
    label_map, *others = np.delete(case.label_maps, k, axis=0)
    original_label_map, *original_others = np.delete(case.original_label_maps, k, axis=0)
    return dataclasses.replace(
        case,
        label_map=label_map,
        other_label_maps=np.array(others),
        original_label_map=original_label_map,
        other_original_label_maps=np.array(original_others),
    )


def _rows(probabilities, prediction, sizes, case, classes):
    true = truth.fractions(case, probabilities.shape[-1])
    rows = inference.rows(
        probabilities, prediction, true, case.original_label_maps, case, classes
    )
    columns = _volume_scores(sizes, drawn_sizes(case, len(classes) + 1), case)
    for i, row in enumerate(rows[:-1]):
        row |= {name: float(values[i]) for name, values in columns.items()}
    rows[-1] |= {name: significance.mean(values) for name, values in columns.items()}
    return rows


def _volume_scores(sizes, drawn, case):
    """CRPS in ml and |relative error| [C-1] of volumes against those drawn; both in voxels."""
    ml = np.prod(case.original_grid.spacing_mm) / 1000
    mean, sd = drawn.mean(axis=0), drawn.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(mean > 0, np.abs(sizes - mean) / mean, np.nan)
    crps = [ml * metrics.crps(*values) for values in zip(sizes, mean, sd, strict=True)]
    return dict(zip(scores.VOLUME_METRICS, (crps, relative), strict=True))


def drawn_sizes(case, num_classes):
    """Voxels [K, C-1] of each foreground class by annotator; of the one truth of a phantom."""
    if case.true_probabilities is not None:
        return _sizes(inference.restore(case.true_probabilities, case))[None]
    counts = [np.bincount(m.ravel(), minlength=num_classes) for m in case.original_label_maps]
    return np.array(counts)[:, 1:].astype(np.float64)


def _sizes(probabilities):
    """Expected number of voxels [C-1] of each foreground class."""
    return probabilities[..., 1:].sum(axis=(0, 1, 2), dtype=np.float64)
