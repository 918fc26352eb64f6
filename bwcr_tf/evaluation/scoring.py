"""Scores of all test volumes, before and after calibration."""

from typing import NamedTuple

from bwcr_tf.evaluation import analysis, annotators, calibration, inference, truth
from bwcr_tf.system.progress import Progress


class Scores(NamedTuple):
    """Rows of tables of scores, and sums over all volumes."""

    rows: list  # of scores.csv
    calibrated: list  # of scores_calibrated.csv
    annotators: list  # of scores_annotators.csv: of the volumes of which the truth is known
    human: list  # of each annotator against the others
    pooled: dict  # analysis.pool


def score_all(predict, found, cases, classes):
    """The Scores of all test volumes; `found` is the calibration.Map of the calibrated ones."""
    rows, calibrated_rows, against_all, human, sums = [], [], [], [], []
    progress = Progress("evaluating volumes", len(cases))
    for case in cases:
        probabilities = predict(case.image)
        rows += inference.score(probabilities, case, classes)
        calibrated = calibration.apply(found, probabilities)
        calibrated_rows += inference.score(calibrated, case, classes)
        if truth.known(case):
            against_all += annotators.score(probabilities, case, classes)
            human += annotators.score_annotators(case, classes)
        sums.append(analysis.measure(probabilities, case))
        progress.advance()
    return Scores(rows, calibrated_rows, against_all, human, analysis.pool(sums))


def score_each(predict, cases, classes):
    """Rows of a table of scores: of each volume, each class and all of them."""
    return [
        row for case in cases for row in inference.score(predict(case.image), case, classes)
    ]
