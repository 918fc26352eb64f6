"""Scores of all test volumes, before and after calibration, and their files."""

from typing import NamedTuple

from bwcr_tf.evaluation import (
    analysis,
    annotators,
    calibration,
    calibration_record,
    inference,
    scores,
    truth,
    volume_scans,
    volume_scores,
)
from bwcr_tf.system import files
from bwcr_tf.system.progress import Progress


class Scores(NamedTuple):
    """Rows of tables of scores, and sums over all volumes."""

    rows: list  # of scores.csv
    calibrated: list  # of scores_calibrated.csv
    annotators: list  # of scores_annotators.csv: of the volumes of which the truth is known
    human: list  # of each annotator against the others
    volumes: list  # of scores_volumes.csv: where the calibration has rules for volumes
    pooled: dict  # analysis.pool


def score_all(predict, found, cases, classes, rules=None, first=True, beyond=None):
    """The Scores of all test volumes.

    Args:
      found: calibration.Map of the calibrated ones.
      rules: volumes.Rule of each class, or None.
      first: whether they are of annotator 1 alone.
      beyond: of volume_scans.scan.
    """
    rows, calibrated_rows, against_all, human, sizes, sums = [], [], [], [], [], []
    progress = Progress("evaluating volumes", len(cases))
    for case in cases:
        probabilities = predict(case.image)
        rows += inference.score(probabilities, case, classes)
        calibrated = calibration.apply(found, probabilities)
        calibrated_rows += inference.score(calibrated, case, classes)
        if truth.known(case):
            against_all += annotators.score(probabilities, case, classes)
            human += annotators.score_annotators(case, classes)
        if rules:
            scan = volume_scans.scan(predict, case, found, beyond)
            sizes += volume_scores.score(scan, rules, classes, first)
        sums.append(analysis.measure(probabilities, case))
        progress.advance()
    return Scores(rows, calibrated_rows, against_all, human, sizes, analysis.pool(sums))


def score_each(predict, cases, classes):
    """Rows of scores.csv, and of scores_annotators.csv for volumes of which the truth is known."""
    rows, against_all = [], []
    for case in cases:
        probabilities = predict(case.image)
        rows += inference.score(probabilities, case, classes)
        if truth.known(case):
            against_all += annotators.score(probabilities, case, classes)
    return rows, against_all


def write(folder, found, its_map, classes):
    """Writes scores.csv, scores_calibrated.csv and, if the truth is known, scores_annotators.csv.

    Args:
      found: Scores, of which those after `its_map`, a calibration.Map, are the calibrated ones.

    Returns:
      What summary.json keeps of them.
    """
    (folder / "scores_annotators.csv").unlink(missing_ok=True)  # of an earlier evaluation
    scores.write(folder / "scores.csv", found.rows)
    scores.write(folder / "scores_calibrated.csv", found.calibrated)
    result = scores.summarize(found.rows, classes)
    result["calibration"] = {"map": calibration_record.to_json(its_map)}
    result["scores_calibrated"] = scores.summarize(found.calibrated, classes)["scores"]
    if found.annotators:
        scores.write(folder / "scores_annotators.csv", found.annotators, scores.ALL_METRICS)
        result["annotators"] = annotators.summarize(found.annotators, found.human, classes)
    return result


def shift_folder(run_folder, shift):
    """The folder shifts/NAME-SEVERITY/ of a run, which is made."""
    folder = run_folder / "shifts" / "{}-{}".format(*shift)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_shifted(run_folder, shift, found, its_map, classes):
    """`write` and summary.json in shifts/NAME-SEVERITY/; returns the summary.

    Args:
      shift: (name, severity) of the scans that the Scores are of.
    """
    folder = shift_folder(run_folder, shift)
    result = {"shift": list(shift), **write(folder, found, its_map, classes)}
    files.write_json(folder / "summary.json", result)
    return result
