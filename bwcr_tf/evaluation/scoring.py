"""Scores of all test volumes, before and after the temperature."""

from bwcr_tf.evaluation import analysis, inference, temperature
from bwcr_tf.system.progress import Progress


def score_all(predict, value, cases, classes):
    """Rows of scores.csv and of scores_calibrated.csv (temperature `value`), and analysis.pool."""
    rows, calibrated_rows, sums = [], [], []
    progress = Progress("evaluating volumes", len(cases))
    for case in cases:
        probabilities = predict(case.image)
        rows += inference.score(probabilities, case, classes)
        calibrated = temperature.apply(probabilities, value)
        calibrated_rows += inference.score(calibrated, case, classes)
        sums.append(analysis.measure(probabilities, case))
        progress.advance()
    return rows, calibrated_rows, analysis.pool(sums)


def score_each(predict, cases, classes):
    """Rows of a table of scores: of each volume, each class and all of them."""
    return [
        row for case in cases for row in inference.score(predict(case.image), case, classes)
    ]
