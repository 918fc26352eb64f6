"""One prediction set scored by every convention: what the libraries say, and what we say.

The libraries' numbers are those of tests/golden/metrics.npz, which tests/golden/make_golden.py
made; ours are computed from the predictions in the same file.
"""

import numpy as np

from bwcr_tf import metrics

BINS = 15  # Sec. 4


def compare(golden):
    """Rows (convention, library, ours, library on `sure`, ours on `sure`, what differs).

    Args:
      golden: the arrays of metrics.npz. Its second set, `sure`, has confidences of exactly 1.

    A value is None where a library was not asked, or where we do not report that convention.
    """
    label_map = golden["label_map"]
    plain, sure = (_ours(golden[f"probabilities{s}"], label_map) for s in ("", "_sure"))

    def library(key, reduce=np.mean):
        found = [golden.get(key), golden.get(f"sure_{key}")]
        return [None if value is None else float(reduce(value)) for value in found]

    def of_foreground(values):
        return np.mean(values[1:])

    def row(name, theirs, ours, why):
        return (name, theirs[0], plain.get(ours), theirs[1], sure.get(ours), why)

    nixon = library("tace_per_class_netcal", of_foreground)
    paper = [None if value is None else value / BINS for value in nixon]
    return [
        row("ECE, the paper's (torchmetrics, ignore_index=0)",
            library("ece_foreground_torchmetrics"),
            "ece", "top label, true foreground; torchmetrics has a 16th bin, for 1.0"),
        row("ECE, Guo et al. (netcal)", library("ece_netcal"),
            "ece_all", "top label, every pixel, equal widths; `ece_all` here"),
        row("ECE, torchmetrics", library("ece_torchmetrics"),
            "ece_all", "as netcal, but confidence 1.0 has a bin of its own"),
        row("class-wise ECE, MONAI", library("ece_per_class_monai"),
            None, "each class against the rest, then averaged: the many near 0 count as good"),
        row("ACE (netcal)", library("ace_per_class_netcal", of_foreground),
            None, "equal-mass bins of every p_c, the many near 0 included"),
        row("TACE, Nixon et al. (netcal on p_c > 0.01)", nixon,
            "tace", "equal-mass bins of what is over the threshold; mean over classes 1.."),
        row("TACE, the paper's", paper,
            "tace_paper", f"as Nixon's, divided by the number of bins ({BINS}) once more"),
    ]  # fmt: skip


def _ours(probabilities, label_map):
    tace = float(metrics.tace(probabilities, label_map, BINS).mean())
    return {
        "ece": float(metrics.ece(probabilities, label_map, BINS)),
        "ece_all": float(metrics.ece(probabilities, label_map, BINS, foreground=False)),
        "tace": tace,
        "tace_paper": tace / BINS,
    }
