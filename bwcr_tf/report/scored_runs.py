"""Scored runs: what is in their folders."""

import collections
import json
import pathlib
from typing import NamedTuple

from bwcr_tf.data import datasets
from bwcr_tf.evaluation import calibration_record, scores
from bwcr_tf.report import names, published, run_checks
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder, validations


class Run(NamedTuple):
    """A scored run; a table without its file is [], so is `calibrated` without a map asked for."""

    dataset: str
    ntr: int
    method: str
    number: str
    scale: float  # factor on lambda
    flags: dict
    spec: run_folder.RunSpec
    summary: dict
    rows: list  # of scores.csv, see `scores`
    calibrated: list  # of scores_calibrated.csv
    last: list  # of scores_last.csv, the averages of the last step
    annotators: list  # of scores_annotators.csv
    annotators_last: list
    validations: list  # of validation.csv
    folder: pathlib.Path

    @property
    def setting(self):
        """Within which methods are compared."""
        return f"{self.dataset}, {self.ntr} training subjects"

    @property
    def label(self):
        """The method's name in a table; with its labels where they are not annotator 1's."""
        return names.title(self.method, self.labels)

    @property
    def labels(self):
        """Of which annotators its labels are: a key of training.labels.LABELS."""
        return self.flags.get("labels", "first")

    @property
    def annotated(self):
        """Whether its test volumes have several annotators and it is scored against them."""
        return bool(self.annotators and self.summary.get("annotators", {}).get("human"))

    @property
    def sweep_row(self):
        """The row of Table 1: lambda of CR, and 0 for DA; `BWCR × 0.1` of another method's."""
        if self.label == "DA":
            return "0"
        if self.label == "CR" and self.scale:  # trained on two views, with 0 it is not DA
            return f"{self.scale:g}"
        return f"{self.label} × {self.scale:g}"

    @property
    def reported(self):
        """{metric: (mean, sd)} of the paper; empty where it has none."""
        row = self.method if self.scale == 1 and self.method != "cr" else self.sweep_row
        return published.SCORES.get((self.dataset, self.ntr), {}).get(row, {})


def load(root):
    """All scored Runs below `root`, methods in the order of METHODS.

    Raises:
      DataError: there are none, a file is missing or broken, a run is there twice, the test
        volumes of one data set differ, or the subjects of runs of one number.
    """
    folders = [path.parent for path in sorted(root.rglob("scores.csv"))]
    found = [_load_run(folder) for folder in folders if folder.parent.name != "shifts"]
    if not found:
        raise DataError(f"{root}: no scores.csv in it or below; see evaluate.py")
    run_checks.check(found)
    return sorted(
        found, key=lambda r: (r.dataset, r.ntr, *names.position(r.method, r.labels), r.scale)
    )


def _load_run(folder):
    flags, spec = run_folder.read_flags(folder), run_folder.load_spec(folder)
    try:
        name = _dataset(flags), int(flags["ntr"]), flags["method"], flags["run"]
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        if not isinstance(summary["scores"], dict):
            raise ValueError("no scores in summary.json")
        tables = [_rows(folder / name, spec) for name in run_checks.FILES.values()]
        tables += [validations.read(folder / "validation.csv")]
        old = _outdated(folder, spec, summary)
        if "scores_calibrated" in old or _uncalibrated(summary):
            tables[1] = []
        summary = {key: value for key, value in summary.items() if key not in old}
        scale = float(flags["consistency_scale"])
        return Run(*name, scale, flags, spec, summary, *tables, folder)
    except (OSError, KeyError, ValueError, TypeError) as error:
        reason = error if isinstance(error, OSError | DataError) else repr(error)
        raise DataError(f"{folder}: not a complete run ({reason})") from error


def _outdated(folder, spec, summary):
    """The keys of a summary.json of another calibration than the run's, of which it warns."""
    if not calibration_record.finished(folder):  # as where only scores are kept
        return ()
    old = calibration_record.outdated(folder, spec.settings.num_classes, summary)
    if old:
        errors.warn(
            f"{folder}: exported with another calibration after it was scored; "
            f"{' and '.join(old[-2:])} of summary.json are left out, until evaluate.py is run again"
        )
    return old


def _uncalibrated(summary):
    """Whether no map was asked for, by summary.json; `temperature` is of earlier versions."""
    asked = summary.get("calibration", {}).get("choice")
    return asked == "none" or summary.get("temperature") == 1


def _dataset(flags):
    """The name of a run's data set: of layouts that hold any data, that of the folder."""
    name = flags["dataset"]
    if name not in ("nnunet", "annotators"):
        return name
    own = pathlib.Path(run_folder.data_dir(flags)).name or name
    return f"{own} ({name})" if own in {*datasets.DATASETS} - {name} else own


def _rows(path, spec):
    """Rows of a table of scores: one for each class of each volume of the test subjects.

    Of those against annotators, subjects with only one are missing.
    """
    if not path.exists():
        return []
    several = path.name.startswith("scores_annotators")
    rows = scores.read(path, scores.ALL_METRICS if several else scores.METRICS)
    found = {(row["subject"], row["volume"], row["class"]) for row in rows}
    expected = {(*key[:2], name) for key in found for name in (*spec.classes, "all")}
    subjects, test = {subject for subject, *_ in found}, {*spec.test}
    complete = subjects == test or several and subjects < test
    if not rows or not complete or found != expected or len(found) < len(rows):
        raise DataError(
            f"{path.name}: {len(rows)} rows; expected one for each class of each volume of the "
            "test subjects in split.json"
        )
    return rows


def group(found, key):
    """{value of the attribute `key`: Runs}, in order."""
    groups = collections.defaultdict(list)
    for run in found:
        groups[getattr(run, key)].append(run)
    return dict(groups)
