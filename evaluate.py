"""Scores a run on its test volumes: python evaluate.py --run_dir=runs/acdc/ntr10/bwcr/run1."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import numpy as np
import tensorflow as tf
from absl import flags, logging

from bwcr_tf.data import cache
from bwcr_tf.evaluation import analysis, figures, inference, temperature
from bwcr_tf.export import model_card
from bwcr_tf.system import command, files
from bwcr_tf.system.progress import Progress
from bwcr_tf.training import checkpoints, run_folder

flags.DEFINE_string("run_dir", None, "Folder of a run of train.py.", required=True)
flags.DEFINE_string("data_dir", None, "Folder of the data set. [the run's]")
flags.DEFINE_string("cache_dir", None, "Folder of preprocessed volumes. [the run's]")
flags.DEFINE_enum(
    "weights", "best", ["best", "last"], "Averages of the best validation, or of the last step."
)
FLAGS = flags.FLAGS


def main(_):
    """Writes the scores, summary, card and figures of a run; see `score_last` for the last step."""
    tf.config.experimental.enable_op_determinism()
    logging.set_verbosity(logging.WARNING)
    folder = pathlib.Path(FLAGS.run_dir)
    spec, run_flags = run_folder.load_spec(folder), run_folder.read_flags(folder)
    cases = cache.prepare(
        spec.subjects("test", FLAGS.data_dir or run_folder.data_dir(run_flags)),
        spec.settings,
        FLAGS.cache_dir or run_flags["cache_dir"],
    )
    record = temperature.load(folder)
    if FLAGS.weights == "last":
        return score_last(folder, cases, spec.classes)
    predict = inference.predictor(checkpoints.load_best(folder))
    value = record["temperature"]
    rows, calibrated_rows, pooled = score_all(predict, value, cases, spec.classes)
    files.write(folder / "scores.csv", inference.to_csv(rows))
    files.write(folder / "scores_calibrated.csv", inference.to_csv(calibrated_rows))
    summary = summarize(rows, spec.classes) | analysis.summarize(pooled, spec.classes)
    summary["temperature"] = value
    summary["scores_calibrated"] = summarize(calibrated_rows, spec.classes)["scores"]
    files.write_json(folder / "summary.json", summary)
    model_card.write(folder)
    draw(folder / "figures", run_flags["method"], cases, rows, pooled, predict)
    print(to_table(summary["scores"]))
    print(f"\nafter division of the logits by the temperature, {value:.3f}:")
    print(to_table(summary["scores_calibrated"], inference.COLUMNS[5:]))
    written = "scores.csv, scores_calibrated.csv, summary.json, MODEL_CARD.md, figures/"
    print(f"{folder}/: {written}")


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


def score_last(folder, cases, classes):
    """Scores the averages of the last step, to see what the selection does: scores_last.csv."""
    predict = inference.predictor(checkpoints.load_last(folder))
    rows = [
        row for case in cases for row in inference.score(predict(case.image), case, classes)
    ]
    files.write(folder / "scores_last.csv", inference.to_csv(rows))
    print(to_table(summarize(rows, classes)["scores"]))


def summarize(rows, classes):
    """Mean and sd over test volumes of each metric by class (None if undefined in all of them),
    and which values are undefined."""
    scores, undefined = {}, []
    for name in (*classes, "all"):
        of_class = [row for row in rows if row["class"] == name]
        scores[name] = {}
        for metric in inference.COLUMNS[3:]:
            values = np.array([row[metric] for row in of_class if metric in row])
            if values.size:
                kept = values[~np.isnan(values)]
                scores[name][metric] = {
                    "mean": float(kept.mean()) if kept.size else None,  # JSON has no NaN
                    "sd": float(kept.std()) if kept.size else None,
                    "volumes": int(kept.size),
                }
                undefined += [
                    f"{row['volume']} {name} {metric}: {REASONS[metric]}"
                    for row in of_class
                    if np.isnan(row[metric])
                ]
    return {"scores": scores, "undefined": undefined}


REASONS = {
    "dice": "the class is neither in the label nor in the prediction",
    "hd95_mm": "the class is not in the label, or not in the prediction",
    "ece": "no foreground in the label",
    "tace": "no pixel has a probability over the threshold",
    "tace_paper": "no pixel has a probability over the threshold",
}


def to_table(scores, metrics=inference.COLUMNS[3:]):
    """The summary as text: mean +- sd over volumes, in per cent and mm."""
    lines = [f"{'class':>10}" + "".join(f"{metric:>15}" for metric in metrics)]
    for name, columns in scores.items():
        cells = [to_cell(metric, columns.get(metric)) for metric in metrics]
        lines.append(f"{name:>10}" + "".join(f"{cell:>15}" for cell in cells))
    lines.append("mean +- sd over test volumes; dice, ece and tace in per cent")
    return "\n".join(lines)


def to_cell(metric, value):
    """`76.12 +- 12.30`: one entry of `summarize`, in per cent or mm; empty if not measured."""
    if not value:
        return ""
    if not value["volumes"]:
        return "undefined"
    factor = 1 if metric in ("hd95_mm", "nll", "brier") else 100
    return f"{factor * value['mean']:.2f} +- {factor * value['sd']:.2f}"


def draw(folder, method, cases, rows, pooled, predict):
    """Reliability diagram over all test volumes, and panels of the worst, median and best Dice."""
    folder.mkdir(exist_ok=True)
    figures.reliability_diagram({method: pooled["reliability"]}, folder / "reliability.png")
    whole = [row["dice"] for row in rows if row["class"] == "all"]
    order = np.argsort(np.nan_to_num(whole))
    panels = []
    for rank, index in (
        ("worst", order[0]),
        ("median", order[len(order) // 2]),
        ("best", order[-1]),
    ):
        case = cases[index]
        z = (case.label_map > 0).sum(axis=(1, 2)).argmax()
        title = f"{rank}: Dice {whole[index]:.2f}\n{case.name}"
        probabilities = predict(case.image[z : z + 1])[0]
        panels.append((title, case.image[z], case.label_map[z], probabilities))
    figures.panels(panels, folder / "panels.png")


if __name__ == "__main__":
    command.run(main, "run it again")
