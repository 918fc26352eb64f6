"""Which annotators a run is trained on and validated against: --labels=first|sample|mean."""

import dataclasses

import numpy as np

from bwcr_tf import boundary, metrics


def first(cases, num_classes):
    """Annotator 1 alone, as if there were no others."""
    del num_classes
    return {
        "label_maps": np.concatenate([case.label_map for case in cases]),
        "distance": np.concatenate([case.distance for case in cases]),
    }


def sample(cases, num_classes):
    """All annotators, of whom each step draws one for each slice; r is that of the one drawn."""
    counts = np.concatenate([[len(case.label_maps)] * len(case.image) for case in cases])
    distances = [
        [case.distance, *(_distances(m, num_classes) for m in case.label_maps[1:])]
        for case in cases
    ]
    return {
        "label_maps": np.concatenate([_rows(case.label_maps) for case in cases]),
        "distance": np.concatenate([_rows(found) for found in distances]),
        "annotations": np.stack([np.cumsum(counts) - counts, counts], axis=1),
    }


def mean(cases, num_classes):
    """The fractions of all annotators as soft labels; r is that of the most frequent class.

    The lower class wins a tie, so background wins that of two annotators.
    """
    fractions = [metrics.fractions(case.label_maps, num_classes) for case in cases]
    most = [np.where(f.any(axis=-1), f.argmax(axis=-1), num_classes) for f in fractions]
    distances = [_distances(label_map, num_classes) for label_map in most]
    return {"label_maps": np.concatenate(fractions), "distance": np.concatenate(distances)}


LABELS = {"first": first, "sample": sample, "mean": mean}


def slices(cases, labels, num_classes):
    """All slices of the training cases, as `pipeline.batches` takes them."""
    images = np.concatenate([case.image for case in cases])
    return {"images": images} | LABELS[labels](cases, num_classes)


def select_annotators(cases, labels):
    """The cases with the annotators that count: number 1 alone if only it is learnt from."""
    if LABELS[labels] is not first:
        return cases
    return [
        dataclasses.replace(case, other_label_maps=(), other_original_label_maps=())
        for case in cases
    ]


def _distances(label_map, num_classes):
    return np.stack([boundary.distance(m, num_classes) for m in label_map])


def _rows(arrays):
    """K arrays [Z, H, W] as one [Z * K, H, W], those of a slice beside each other."""
    return np.stack(arrays, axis=1).reshape(-1, *arrays[0].shape[1:])
