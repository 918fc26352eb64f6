"""How a model card tells of volumes and their intervals."""

from bwcr_tf.evaluation import conformal, volume_scores

_HEADER = """\
| class | volume | error of the label's | of the calibrated | interval | promised | held | width |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""
_NOTE = """
Mean absolute relative errors of volumes in per cent; subjects all of whose volumes the
intervals held, and the coverage promised, in per cent; mean width in ml."""


def promise(record):
    """What the intervals of a calibration's record promise, and when."""
    found = record.get("volumes")
    if not found:
        return "It gives no intervals of volumes."
    level = conformal.level(len(found["subjects"]), found["coverage"])
    text = (
        f"Intervals of volumes promise {100 * conformal.rounded_down(level):.1f} % of subjects "
        f"({100 * found['coverage']:g} % asked for, {len(found['subjects'])} calibration subjects) "
        "that\n  are like those"
    )
    if found["part"] == "validation":
        text += "; as these also selected the weights, expect less"
    return f"{text}. Of subjects of another kind they promise nothing."


def table(record, summary):
    """The measured volumes of test subjects as Markdown; empty unless they are of the record."""
    found = summary.get("volumes")
    if not found or not record.get("volumes"):
        return ""
    if found["rules"] != volume_scores.to_json(record["volumes"]):
        return ""
    lines = []
    for name, row in found["classes"].items():
        errors = (_percent(row[f"{key}_error"]) for key in ("label", "calibrated"))
        cells = [name, row["volume"], *errors, row["kind"]]
        cells += [f"{100 * conformal.rounded_down(row['level']):.1f}"]
        cells += [f"{row['covered']} of {row['subjects']}", f"{row['width_ml']:.3g}"]
        lines.append(f"| {' | '.join(cells)} |\n")
    return f"\n\n{_HEADER}{''.join(lines)}{_NOTE}"


def _percent(value):
    return "undefined" if value is None else f"{100 * value:.1f}"
