"""The table of volumes and their intervals on test subjects."""

from bwcr_tf.evaluation import conformal, significance
from bwcr_tf.report import page
from bwcr_tf.report.tables import show

_NOTE = (
    "Per cent, means over structures and runs. Error: mean absolute relative error of the label's "
    "volume → of the calibrated one. Promised: what the interval's calibration subjects allow of "
    "the coverage that was asked for; held: the share of test subjects all of whose volumes of a "
    "structure were inside; where there are several annotators, the share of their volumes."
)


def make(setting, methods):
    """Error, coverage and width of volumes of {method: Runs}."""

    def cells(found):
        structures = [
            row for run in found for row in run.summary["volumes"]["classes"].values()
        ]

        def mean(value):
            return significance.mean(value(row) for row in structures)

        errors = (mean(lambda row, k=k: row[f"{k}_error"]) for k in ("label", "calibrated"))
        yield " → ".join(map(show, errors))
        yield show(conformal.rounded_down(mean(lambda row: row["level"])))
        yield show(mean(lambda row: row["covered"] / row["subjects"]))
        yield show(mean(lambda row: row["annotators_inside"]))
        yield show(mean(lambda row: row["width_ml"]), 1, 2)
        yield ", ".join(dict.fromkeys(row["kind"] for row in structures))

    header = ["Error ↓", "Promised", "Held", "Held, all annotators", "Width ml ↓", "Interval"]
    return page.of_methods(f"Volumes, {setting}", methods, header, cells, _NOTE)
