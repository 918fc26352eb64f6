"""docs/conventions.md holds the libraries' numbers, from tests/golden/metrics.npz, and ours."""

import numpy as np
import pytest
from conftest import ROOT

from bwcr_tf import metrics

GOLDEN = dict(np.load(ROOT / "tests" / "golden" / "metrics.npz"))
# convention: the library's key, what is made of its scores, our column of scores.csv
CONVENTIONS = {
    "ECE, the paper's": ("ece_foreground_torchmetrics", np.mean, "ece"),
    "ECE, Guo et al.": ("ece_netcal", np.mean, "ece_all"),
    "ECE, torchmetrics": ("ece_torchmetrics", np.mean, "ece_all"),
    "class-wise ECE, MONAI": ("ece_per_class_monai", np.mean, None),
    "ACE": ("ace_per_class_netcal", lambda p: p[1:].mean(), None),
    "TACE, Nixon et al.": ("tace_per_class_netcal", lambda p: p[1:].mean(), "tace"),
    "TACE, the paper's": ("tace_per_class_netcal", lambda p: p[1:].mean() / 15, "tace_paper"),
}


def ours(probabilities):
    """Our scores of one set of predictions, by column of scores.csv."""
    tace = metrics.tace(probabilities, GOLDEN["label_map"]).mean()
    return {
        "ece": metrics.ece(probabilities, GOLDEN["label_map"]),
        "ece_all": metrics.ece(probabilities, GOLDEN["label_map"], foreground=False),
        "tace": tace,
        "tace_paper": tace / metrics.BINS,
    }


def compare(convention):
    """(library, ours, library on `sure`, ours on `sure`); None where there is no number."""
    key, reduce, column = CONVENTIONS[convention]
    for prefix, suffix in ("", ""), ("sure_", "_sure"):
        theirs = GOLDEN.get(prefix + key)
        yield None if theirs is None else float(reduce(theirs))
        yield ours(GOLDEN[f"probabilities{suffix}"]).get(column)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_ours_equals_each_library_whose_convention_we_report(convention):
    theirs, mine, theirs_sure, mine_sure = compare(convention)
    if mine is not None:
        assert mine == pytest.approx(theirs, abs=1e-6)
    if mine_sure is not None and theirs_sure is not None:
        own_bin = convention in ("ECE, the paper's", "ECE, torchmetrics")  # for confidence 1.0
        assert (mine_sure == pytest.approx(theirs_sure, abs=1e-6)) != own_bin


def test_the_page_on_conventions_has_these_numbers():
    text = (ROOT / "docs" / "conventions.md").read_text("utf-8")
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    found = {row[0].strip(): [cell.strip() for cell in row[3:]] for row in rows[2:]}
    assert found == {
        convention: ["" if value is None else f"{value:.4f}" for value in compare(convention)]
        for convention in CONVENTIONS
    }
