"""Two methods, or one trained in two ways, by paired tests over their test subjects.

    PYTHONPATH=. python tools/paired_tests.py A B [--file=scores.csv] [--against=scores.csv]

A and B are folders of scored runs `run1`, `run2`, ...; the runs that both have are compared, in
points of per cent: the mean of each, A minus B with its 95 % bootstrap interval over subjects, and
the p of a two-sided permutation test, not corrected for their number. The report tests methods of
one setting against BWCR; this is for pairs that it does not set beside each other: other labels,
another length, scores_last.csv or scores_calibrated.csv of one against scores.csv of the other, or
scans made worse (--file=shifts/noise-5/scores.csv).
"""

import argparse
import math
import pathlib

from bwcr_tf.evaluation import scores as score_tables
from bwcr_tf.evaluation import significance
from bwcr_tf.system import command
from bwcr_tf.system.errors import DataError

METRICS = ("dice", "ece", "ece_all", "tace", "nll", "brier")


def scores(folder, name):
    """{metric: {(subject, volume, run): score}} of the volumes in `folder`/run*/`name`.

    Raises:
      DataError: there is no such file, or it is not a table of these scores.
    """
    paths = sorted(pathlib.Path(folder).glob(f"run*/{name}"))
    if not paths:
        raise DataError(f"{folder}: no run*/{name} there")
    found = {metric: {} for metric in METRICS}
    for path in paths:
        for row in score_tables.read(path, METRICS):
            if row["class"] == "all":
                key = row["subject"], row["volume"], path.relative_to(folder).parts[0]
                for metric in METRICS:
                    found[metric][key] = row.get(metric, math.nan)
    return found


def lines(ours, others):
    """A line for each metric of two results of `scores`.

    Raises:
      DataError: they have no volume of a run in common.
    """
    common = ours["dice"].keys() & others["dice"].keys()
    subjects, runs = {key[0] for key in common}, sorted({key[2] for key in common})
    yield f"{len(subjects)} subjects, {', '.join(runs)}"
    yield f"{'':8}{'A':>8}{'B':>8}{'A - B':>8}   [95 %]            p"
    for metric in METRICS:
        one, other = ours[metric], others[metric]
        differences = significance.subject_differences(one, other)
        if not len(differences):
            raise DataError(f"{metric}: A and B have no scored volume of a run in common")
        means = [subject_means(*pair).mean() for pair in ((one, other), (other, one))]
        low, high = significance.bootstrap_interval(differences)
        shown = [100 * value for value in (*means, differences.mean())]
        p = significance.permutation_test(differences)
        cells = "{:8.2f}{:8.2f}{:+8.2f}".format(*shown)
        yield f"{metric:8}{cells}   [{100 * low:+.2f}, {100 * high:+.2f}]   {p:.4f}"


def subject_means(scores, others):
    """Mean of the scores of each subject, of the volumes and runs that are also in `others`."""
    common = [key for key in scores.keys() & others.keys() if not math.isnan(others[key])]
    scores = {key: scores[key] for key in common}
    return significance.subject_differences(scores, dict.fromkeys(common, 0.0))


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--file", default="scores.csv", help="of A's runs")
    parser.add_argument("--against", help="of B's runs; as of A's if it is not given")
    arguments = parser.parse_args()
    ours = scores(arguments.a, arguments.file)
    for line in lines(ours, scores(arguments.b, arguments.against or arguments.file)):
        print(line)


if __name__ == "__main__":
    with command.errors_in_one_line():
        main()
