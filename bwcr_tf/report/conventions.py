"""One prediction set scored by every convention: what the libraries say, and what we say.

The libraries' numbers are those of tests/golden/metrics.npz, which tests/golden/make_golden.py
made; ours are computed from the predictions in the same file.
"""

import pathlib

import numpy as np

from bwcr_tf import metrics

GOLDEN = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "metrics.npz"
_ROWS = [  # convention, the library's key, what is made of its scores, our key, what differs
    ("ECE, the paper's (torchmetrics, ignore_index=0)", "ece_foreground_torchmetrics", np.mean,
        "ece", "top label, true foreground; torchmetrics has a 16th bin, for 1.0"),
    ("ECE, Guo et al. (netcal)", "ece_netcal", np.mean,
        "ece_all", "top label, every pixel, equal widths; `ece_all` here"),
    ("ECE, torchmetrics", "ece_torchmetrics", np.mean,
        "ece_all", "as netcal, but confidence 1.0 has a bin of its own"),
    ("class-wise ECE, MONAI", "ece_per_class_monai", np.mean,
        None, "each class against the rest, then averaged: the many near 0 count as good"),
    ("ACE (netcal)", "ace_per_class_netcal", lambda classes: classes[1:].mean(),
        None, "equal-mass bins of every p_c, the many near 0 included"),
    ("TACE, Nixon et al. (netcal on p_c > 0.01)",
        "tace_per_class_netcal", lambda classes: classes[1:].mean(),
        "tace", "equal-mass bins of what is over the threshold; mean over classes 1.."),
    ("TACE, the paper's",
        "tace_per_class_netcal", lambda classes: classes[1:].mean() / metrics.BINS,
        "tace_paper", f"as Nixon's, divided by the number of bins ({metrics.BINS}) once more"),
]  # fmt: skip


def compare():
    """Rows (convention, library, ours, library on `sure`, ours on `sure`, what differs).

    The second set of predictions, `sure`, has confidences of exactly 1. A value is None where a
    library was not asked, or where we do not report that convention.
    """
    with np.load(GOLDEN) as file:
        golden = dict(file)
    ours = [_ours(golden[f"probabilities{s}"], golden["label_map"]) for s in ("", "_sure")]
    rows = []
    for name, key, reduce, our_key, why in _ROWS:
        found = [golden.get(key), golden.get(f"sure_{key}")]
        theirs = [None if value is None else float(reduce(value)) for value in found]
        rows.append(
            (name, theirs[0], ours[0].get(our_key), theirs[1], ours[1].get(our_key), why)
        )
    return rows


def _ours(probabilities, label_map):
    """Our scores of one set, by their names in scores.csv."""
    given = probabilities, label_map
    ece, ece_all = metrics.ece(*given), metrics.ece(*given, foreground=False)
    tace = float(metrics.tace(*given).mean())
    return {"ece": ece, "ece_all": ece_all, "tace": tace, "tace_paper": tace / metrics.BINS}
