"""Whether scored runs can be set beside each other."""

from bwcr_tf.system.errors import DataError

FILES = {  # tables of a Run
    "rows": "scores.csv",
    "calibrated": "scores_calibrated.csv",
    "last": "scores_last.csv",
    "annotators": "scores_annotators.csv",
    "annotators_last": "scores_annotators_last.csv",
}


def check(found):
    """Raises a DataError for a Run that is there twice, or is of other test volumes."""
    first, of_dataset, volumes = {}, {}, {}
    for run in found:
        other = first.setdefault((run.setting, run.label, run.sweep_row, run.number), run)
        if other is not run:
            raise DataError(f"{run.folder}: the same run as {other.folder}; leave one out")
        other = of_dataset.setdefault(run.dataset, run)
        if (other.spec.test, other.spec.classes) != (run.spec.test, run.spec.classes):
            raise DataError(
                f"{run.folder}: other test subjects or classes than {other.folder}; expected "
                f"one data set by the name of {run.dataset}"
            )
        _check_volumes(run, volumes)


def _check_volumes(run, first):
    """Raises a DataError for a table of other volumes than the `first` of its data set.

    Tables against annotators may have fewer volumes than the others, but all the same ones: those
    that several annotators outlined.
    """
    for table, name in FILES.items():
        path = run.folder / name
        found = {(row["subject"], row["volume"]) for row in getattr(run, table)}
        key = run.dataset, table.startswith("annotators")
        other, expected = first.setdefault(key, (path, found)) if found else (path, found)
        if found != expected:
            some = min(found ^ expected)[1]
            raise DataError(
                f"{path}: scores of {len(found)} volumes; expected those of the "
                f"{len(expected)} in {other} ({some} is in one of them alone)"
            )
