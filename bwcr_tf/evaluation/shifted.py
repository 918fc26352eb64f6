"""Scores on shifted test scans, in shifts/NAME-SEVERITY/ of the folder of a run."""

from bwcr_tf.evaluation import annotators, calibration_record, scores, scoring
from bwcr_tf.system import files


def folder_of(run_folder, shift):
    """The folder of the scores of a shift, (name, severity)."""
    return run_folder / "shifts" / "{}-{}".format(*shift)


def write(run_folder, shift, predict, its_map, cases, classes):
    """Writes scores.csv, scores_calibrated.csv, summary.json and, where there are several
    annotators, scores_annotators.csv of shifted Cases; returns the summary."""
    found = scoring.score_all(predict, its_map, cases, classes)
    folder = folder_of(run_folder, shift)
    folder.mkdir(parents=True, exist_ok=True)
    result = {"shift": list(shift), **scores.summarize(found.rows, classes)}
    result["calibration"] = {"map": calibration_record.to_json(its_map)}
    result["scores_calibrated"] = scores.summarize(found.calibrated, classes)["scores"]
    scores.write(folder / "scores.csv", found.rows)
    scores.write(folder / "scores_calibrated.csv", found.calibrated)
    if found.annotators:
        scores.write(folder / "scores_annotators.csv", found.annotators, scores.ALL_METRICS)
        result["annotators"] = annotators.summarize(found.annotators, found.human, classes)
    files.write_json(folder / "summary.json", result)
    return result
