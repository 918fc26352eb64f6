"""The paper's tables, of scored runs; their settings; the tests of their differences; cells."""

import dataclasses
import math

import numpy as np

from bwcr_tf.evaluation import significance
from bwcr_tf.report import names, notes, page, published, run_scores, scored_runs
from bwcr_tf.training import flag_roles


def score_table(title, first, groups, metrics, note):
    """Mean ± sd over volumes and runs of {column: {row: Runs}}, in the form of Tables 1 and 2.

    Each column has all `metrics` in it; `first` is the heading of the rows' names.
    """
    rows = list(dict.fromkeys(row for cells in groups.values() for row in cells))
    columns = [[first, *rows]]
    for column, cells in groups.items():
        for metric in metrics:
            top = f"{column} {arrowed(metric)}".strip()
            found = [cells.get(row, []) for row in rows]
            columns.append([top, *score_column(found, metric)])
    return page.of_columns(title, columns, note)


def score_column(found, metric, rows="rows"):
    """`**76.1 ± 12.3** (76 ± 12)` of each Runs: the best in bold, the paper's as an aside.

    `rows` is the table of scores that counts; the paper has no other than the first.
    """
    values = (run_scores.by_volume(some, metric.column, rows).values() for some in found)
    cells = [mean_sd(each, metric.factor, metric.decimals) for each in values]
    for some, text in zip(found, best_in_bold(cells, metric.sign), strict=True):
        theirs = some[0].reported.get(metric.title) if text and rows == "rows" else None
        yield text + (" ({} ± {})".format(*theirs) if theirs else "")


def by_ntr(found):
    """{N_tr: {method: Runs}}, the columns and rows of Table 2."""
    groups = scored_runs.group(found, "ntr").items()
    return {f"{ntr}:": scored_runs.group(some, "label") for ntr, some in groups}


def main_table(dataset, found):
    """Table 2 of one data set."""
    groups = by_ntr(found)
    rows = {f"{m} at {ntr[:-1]}": c for ntr, row in groups.items() for m, c in row.items()}
    note = f"{notes.runs(rows)} The number before each metric is N_tr."
    note += notes.undefined(rows, run_scores.MAIN)
    note += notes.paper(found) if any(run.reported for run in found) else ""
    return score_table(f"Table 2, {dataset}", "Method", groups, run_scores.MAIN, note)


def sweep_table(found):
    """Table 1 of one data set and N_tr: DA (lambda = 0) and CR for each lambda that was run.

    Other methods whose lambda(r) was multiplied come last.
    """
    first, of_paper = found[0], ("DA", "CR")
    swept = [run for run in found if run.label in of_paper or run.scale != 1]
    swept = sorted(
        swept, key=lambda run: (run.label not in of_paper, run.label != "DA", run.scale)
    )
    rows = {
        w if w != "0" else "0 (DA)": c for w, c in scored_runs.group(swept, "sweep_row").items()
    }
    note = notes.runs(rows) + notes.undefined(rows, run_scores.MAIN)
    note += notes.paper(swept) if (first.dataset, first.ntr) in published.SWEEP else ""
    return score_table(
        f"Table 1, {first.setting}", "λ of CR", {"": rows}, run_scores.MAIN, note
    )


def settings_table(found):
    """The settings of each data set's runs, and the paper's for comparison."""
    rows = []
    for dataset, some in scored_runs.group(found, "dataset").items():
        ours = [
            run.flags
            | flag_roles.protocol(run.flags)
            | dataclasses.asdict(run.spec.settings)
            | {"test subjects": len(run.spec.test)}
            for run in some
        ]
        values = [
            sorted({str(each[key]) for each in ours if key in each})
            for key in published.SETTINGS  # a method without R has no radius
        ]
        rows.append([dataset, str(len(some)), *map(" and ".join, values)])
    rows.append(["the paper", "", *published.SETTINGS.values()])
    note = "Two values in a cell: runs of different settings are mixed and are not comparable."
    return page.Table("Settings", ["data set", "runs", *published.SETTINGS], rows, note)


def pairs(ours, methods):
    """Pairs of titles (ours, other) that are compared, of {title: Runs}.

    A network is compared with a network, an ensemble with ours of as many members; and runs with
    those of the same numbers and training subjects, of which there must be one.
    """
    if ours not in methods:
        return []
    kind = {name: (*names.members(f[0].method), f[0].labels) for name, f in methods.items()}
    own = {n: name for name, (m, n, labels) in kind.items() if (m, 1, labels) == kind[ours]}
    others = {name: n for name, (_, n, _) in kind.items() if name not in own.values()}
    draws = {
        name: {(run.number, *sorted(run.spec.training)) for run in found}
        for name, found in methods.items()
    }
    found = [(own[n], name) for name, n in others.items() if n in own]
    return [(our, name) for our, name in found if draws[our] & draws[name]]


def tests(ours, methods, rows="rows", metrics=run_scores.TESTED):
    """{ours: {`ours − other`: differences by subject}} of the network and of each ensemble.

    `rows` is the table of scores of a Run that counts.
    """
    found = {}
    for our, name in pairs(ours, methods):
        row = run_scores.differences(methods[our], methods[name], (rows, rows), metrics)
        found.setdefault(our, {})[f"{our} − {name}"] = row
    return found


def test_tables(title, ours, methods, rows="rows", metrics=run_scores.TESTED):
    """A table of each of the `tests`, which is a family of its own: `Tests of BWCR` + title."""
    found = tests(ours, methods, rows, metrics)
    return [test_table(f"Tests of {our}{title}", some, metrics) for our, some in found.items()]


def test_table(title, found, metrics=run_scores.TESTED):
    """Tests of {what is compared: its `differences`}, Holm's family being a metric's rows."""
    columns = [["difference in points", *found]]
    for metric in metrics:
        values = [row[metric.title] for row in found.values()]
        p_values = significance.permutation_tests(values)
        corrected = significance.holm(p_values)
        columns.append([f"{metric.title} [95 %]"])
        for row, p in zip(values, corrected, strict=True):
            better = p < 0.05 and metric.sign * row.mean() > 0
            columns[-1].append(f"**{interval(row)}**" if better else interval(row))
        columns.append(["p", *(show(p, 1, 4) for p in p_values)])
        columns.append(["Holm", *(show(p, 1, 4) for p in corrected)])
    counts = sorted({values.size for row in found.values() for values in row.values()})
    note = (
        f"{' or '.join(map(str, counts))} subjects, each averaged over its volumes and the runs "
        "that both methods have. Two-sided paired permutation test (sign flips, n = 10,000); "
        "Holm's correction over the rows of a metric. Bold: better at Holm's p < 0.05."
    )
    return page.of_columns(title, columns, note)


def arrowed(metric):
    """`Dice ↑`, `ECE ↓`: a metric's title and which way it is better."""
    return f"{metric.title} {'↑' if metric.sign > 0 else '↓'}"


def show(value, factor=100.0, decimals=1, sign=""):
    """A fraction as text in units of 1 / `factor`; empty for NaN."""
    if math.isnan(value):
        return ""
    return f"{round(factor * value, decimals) + 0.0:{sign}.{decimals}f}".replace("-", "−")


def interval(values):
    """`−7.6 [−9.0, −6.1]`: mean and bootstrap interval of values [N]."""
    low, high = significance.bootstrap_interval(values)
    shown = [show(value, 1, 1, "+") for value in (significance.mean(values), low, high)]
    return "{} [{}, {}]".format(*shown) if shown[0] else ""


def mean_sd(values, factor, decimals):
    """(`76.1 ± 12.3`, 76.1, 12.3) over what is not NaN."""
    values = factor * np.array([value for value in values if not math.isnan(value)])
    if not values.size:
        return "", math.nan, math.nan
    rounded = [round(float(value), decimals) for value in (values.mean(), values.std())]
    return " ± ".join(f"{value:.{decimals}f}" for value in rounded), *rounded


def best_in_bold(cells, sign):
    """Texts of cells (text, mean, sd): the best mean in bold, of equal ones the lower sd."""
    known = [cell for cell in cells if not math.isnan(cell[1])]
    best = max(known, key=lambda cell: (sign * cell[1], -cell[2]), default=None)
    return [f"**{cell[0]}**" if cell is best else cell[0] for cell in cells]
