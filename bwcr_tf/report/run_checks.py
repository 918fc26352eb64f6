"""Whether scored runs can be set beside each other."""

import dataclasses

from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import flag_roles

FILES = {  # tables of a Run
    "rows": "scores.csv",
    "calibrated": "scores_calibrated.csv",
    "last": "scores_last.csv",
    "annotators": "scores_annotators.csv",
    "annotators_last": "scores_annotators_last.csv",
}
_SHOWN = ("labels", "consistency_scale")  # by the rows of tables


def check(found):
    """Raises a DataError for Runs that are there twice or can't be compared; or warns."""
    first, of_dataset, volumes, subjects, of_number, of_method = {}, {}, {}, {}, {}, {}
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
        members = run.flags.get("members", "").split(",")  # an ensemble has those of them all
        draws = tuple(member.rpartition("/run")[2] for member in members)
        _check_subjects(run, subjects.setdefault((run.setting, run.number, draws), run))
        _check_flags(run, of_number.setdefault((run.setting, run.number), run), "compared")
        method = run.setting, run.label, run.sweep_row
        _check_flags(run, of_method.setdefault(method, run), "averaged")


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


def _check_subjects(run, other):
    """Raises a DataError if a Run has other subjects than another one of its number."""
    for part in ("training", "validation"):
        if {*getattr(run.spec, part)} != {*getattr(other.spec, part)}:
            raise DataError(
                f"{run.folder}: other {part} subjects than {other.folder}; expected the same in "
                f"all runs of number {run.number}, which are compared"
            )


def _check_flags(run, other, how):
    """Warns of a Run that was made in another way than another one, with which it is `how`."""
    pair = [_made(each, how) for each in (run, other)]
    differ = [
        f"{name} ({pair[0][name]} and {pair[1][name]})"
        for name in sorted(pair[0].keys() & pair[1].keys())
        if pair[0][name] != pair[1][name]
    ]
    if differ:
        errors.warn(
            f"{run.folder} and {other.folder} are {how}, but differ in {', '.join(differ)}"
        )


def _made(run, how):
    """{name: value} of what the Runs of a setting share: flags, preprocessing, ...

    Those that are compared also share their calibration subjects, but for ensembles, which may
    have fewer; those that are averaged, the radius of their method, but not the windows of CT,
    which are by the training subjects. An ensemble has the flags that
    all its members have.
    """
    found = flag_roles.protocol(run.flags) | dataclasses.asdict(run.spec.settings)
    if how == "averaged":
        found |= {name: text for name, text in run.flags.items() if name == "radius"}
        del found["windows"]
    elif "members" not in run.flags:
        found["calibration subjects"] = ", ".join(sorted(run.spec.calibration)) or "none"
    return {name: value for name, value in found.items() if name not in _SHOWN}
