"""Scores of Runs: which metrics are shown, means over runs, and differences by subject."""

from bwcr_tf.evaluation import scores, significance
from bwcr_tf.report import published

MAIN = [scores.METRICS[name] for name in ("dice", "ece", "tace_paper", "tace")]  # Tables 1, 2
PER_MILLE = {
    column: scores.METRICS[column]._replace(
        title=f"{scores.METRICS[column].title}×10³", factor=1000, decimals=1
    )
    for column in ("nll", "brier")
}
TESTED = [metric for metric in MAIN if metric.title in published.METRICS]  # TACE as TACE×10
TESTED += [PER_MILLE["nll"]]


def average(found, *keys):
    """Mean over runs of the number under `keys` in summary.json; NaN where it is in none."""
    return significance.mean(number(run.summary, *keys) for run in found)


def number(summary, *keys):
    """The number under `keys` in a summary.json; None where there is none."""
    for key in keys:
        summary = (summary or {}).get(key)
    return summary


def having(rows, methods):
    """Those of {method: Runs} whose runs all have the table of scores `rows`."""
    return {m: found for m, found in methods.items() if all(getattr(r, rows) for r in found)}


def by_volume(found, column, rows="rows"):
    """{(subject, volume, run): score of all structures} of a column of a table of each Run."""
    return {
        (row["subject"], row["volume"], run.number): row[column]
        for run in found
        for row in getattr(run, rows)
        if row["class"] == "all" and column in row
    }


def differences(found, reference, tables=("rows", "rows"), metrics=TESTED):
    """{title of a metric: differences by subject [N]} in its units, `found` minus `reference`.

    `tables` are the tables of scores that count of either.
    """
    result = {}
    for metric in metrics:
        pair = (
            by_volume(some, metric.column, table)
            for some, table in zip((found, reference), tables, strict=True)
        )
        result[metric.title] = metric.factor * significance.subject_differences(*pair)
    return result
