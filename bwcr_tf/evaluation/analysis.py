"""Where a network errs: by distance to the boundary, by leakage (NumPy); and `truth`.

`measure` returns sums over the pixels of one volume, `pool` adds volumes up, and `summarize`
turns the sums into the numbers of summary.json.
"""

import numpy as np

from bwcr_tf import boundary, metrics
from bwcr_tf.evaluation import truth

BAND_EDGES = (0, 1, 2, 3, 5, 10, 20)  # pixels of any grid; then slices without a boundary
AWAY = 4.0  # pixels of the paper's grid that leaked probability is away from its own boundary
_FARTHEST = 64  # whole pixels of distance that leakage is matched over


def measure(probabilities, case):
    """Sums over one volume, as dicts of arrays; `truth` only where it is known.

    Args:
      probabilities: [Z, H, W, C] on the grid of `case`, a preprocess.Case.
    """
    scale = boundary.grid_scale(case.label_map.shape[1:])
    sums = {
        "reliability": metrics.reliability(probabilities, case.label_map),
        "distance": by_distance(probabilities, case.label_map, case.distance),
        "leakage": leakage(probabilities, case.label_map, AWAY * scale),
    }
    if truth.known(case):
        sums["truth"] = truth.measure(probabilities, case)
    return sums


def pool(sums):
    """The sum of what `measure` gave for several volumes."""
    if not isinstance(sums[0], dict):
        return sum(sums)
    keys = dict.fromkeys(key for part in sums for key in part)
    return {key: pool([part[key] for part in sums if key in part]) for key in keys}


def by_distance(probabilities, label_map, distance):
    """metrics.reliability of all pixels in each band of r: dict of arrays [bands, bins].

    Both sides of the boundary count: over true foreground alone, confidence minus accuracy
    would show which side was picked and not only the network. Infinite r is the last band.
    """
    band = np.searchsorted(BAND_EDGES, distance, side="right") - 1
    band[np.isinf(distance)] = len(BAND_EDGES)
    tables = [
        metrics.reliability(probabilities[band == b], label_map[band == b], foreground=False)
        for b in range(len(BAND_EDGES) + 1)
    ]
    return {key: np.stack([table[key] for table in tables]) for key in tables[0]}


def leakage(probabilities, label_map, away):
    """Sums of p_c outside class c and `away` or more pixels from its boundary (Sec. 4.2, 6.).

    `on`, `on_count`: on the pixels that touch the boundary of another foreground class; `off`,
    `off_count`: on all others. Arrays [C-1, whole pixels of r_c], so that `on` can be held
    against what the class gives at the same distance where no boundary is.
    """
    num_classes = probabilities.shape[-1]
    labelled = label_map < num_classes
    masks = [np.where(labelled, label_map == c, 2) for c in range(1, num_classes)]  # 2: ignored
    own = np.array(
        [[boundary.distance(m, 2) for m in mask] for mask in masks]
    )  # [C-1, Z, H, W]
    sums = {name: [] for name in ("on", "on_count", "off", "off_count")}
    for c in range(1, num_classes):
        touches = np.delete(own, c - 1, axis=0).min(axis=0, initial=np.inf) < 1
        outside = labelled & (label_map != c) & (own[c - 1] >= away)
        for name, kept in (("on", outside & touches), ("off", outside & ~touches)):
            step = np.minimum(own[c - 1][kept], _FARTHEST - 1).astype(int)
            sums[f"{name}_count"].append(np.bincount(step, minlength=_FARTHEST))
            sums[name].append(np.bincount(step, probabilities[..., c][kept], _FARTHEST))
    return {name: np.array(rows) for name, rows in sums.items()}


def summarize(sums, classes):
    """What summary.json keeps of pooled sums; None is not measured.

    Returns:
      Dict of `reliability` {count, confidence, correct} [bins], sums of true foreground pixels;
      `distance` {edges, count, gap, accuracy, ece} by band of r, gap = confidence - accuracy;
      `leakage` {class or mean: {on, off}}, mean p_c on and off others' boundaries, `off` at those
      of the distances that `on` has at which it is measured; and what truth.summarize returns as
      `truth`.
    """
    result = {
        "reliability": {key: value.tolist() for key, value in sums["reliability"].items()},
        "distance": _bands(sums["distance"]),
        "leakage": _leakage(sums["leakage"], classes),
    }
    return result | ({"truth": truth.summarize(sums["truth"])} if "truth" in sums else {})


def _bands(table):
    count = table["count"].sum(axis=1)
    gaps = table["confidence"] - table["correct"]  # [bands, bins]
    sums = {
        "gap": gaps.sum(axis=1),
        "accuracy": table["correct"].sum(axis=1),
        "ece": np.abs(gaps).sum(axis=1),
    }
    ratios = {key: list(map(truth.ratio, values, count)) for key, values in sums.items()}
    return {"edges": list(BAND_EDGES), "count": count.tolist(), **ratios}


def _leakage(sums, classes):
    measured = np.where(sums["off_count"], sums["on_count"], 0)  # by distances that `off` has
    matched = measured * sums["off"] / np.maximum(sums["off_count"], 1)
    rows = {
        name: {
            "on": truth.ratio(sums["on"][i].sum(), sums["on_count"][i].sum()),
            "off": truth.ratio(matched[i].sum(), measured[i].sum()),
        }
        for i, name in enumerate(classes)
    }
    means = {}
    for key in ("on", "off"):
        values = [row[key] for row in rows.values() if row[key] is not None]
        means[key] = truth.ratio(sum(values), len(values))
    return {**rows, "mean": means}
