"""Scores a run on its test volumes: python evaluate.py --run_dir=runs/acdc/ntr10/bwcr/run1."""

from absl import flags

from bwcr_tf.system import command, errors, files, quiet, source

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this command."""
    flags.DEFINE_string(
        "run_dir", None, "Folder of a run; A,B,C: their ensemble.", required=True
    )
    flags.DEFINE_string("data_dir", None, "Folder of the data set. [the run's]")
    flags.DEFINE_string("cache_dir", None, "Folder of preprocessed volumes. [the run's]")
    flags.DEFINE_enum(
        "weights",
        "best",
        ["best", "last"],
        "Averaged weights of the best validation, or of the last step (scores*_last.csv).",
    )
    flags.DEFINE_list(
        "shift",
        [],
        "Scores test scans made worse, by NAME:SEVERITY (1 to 5) of "
        f"{', '.join(source.table_keys('bwcr_tf.data.shifts', 'SHIFTS'))}; written to shifts/.",
    )


def main(_):
    """Writes the scores, summary, card and figures of a run; of the last step, the scores alone."""
    quiet.import_tensorflow()
    import tensorflow as tf

    from bwcr_tf.data import cache, coverage, shifts
    from bwcr_tf.evaluation import calibration_record, inference
    from bwcr_tf.export import calibration_cases, ensemble, saved_model
    from bwcr_tf.training import checkpoints, run_folder, training_data

    tf.config.experimental.enable_op_determinism()
    folder = ensemble.find(FLAGS.run_dir)
    spec, run_flags = run_folder.load_spec(folder), run_folder.read_flags(folder)
    if ensemble.is_new(folder):
        own = calibration_cases.load(folder, spec, FLAGS.data_dir, FLAGS.cache_dir)
        saved_model.export_run(folder, "auto", cases=own, data_dir=FLAGS.data_dir)
    subjects = spec.subjects("test", FLAGS.data_dir or run_folder.data_dir(run_flags))
    cache_dir = FLAGS.cache_dir or run_flags["cache_dir"]
    training_data.check_version(folder, training_data.read(folder))
    if wanted := [shifts.parse(text, spec.settings.windows) for text in FLAGS.shift]:
        evaluate_shifted(folder, subjects, spec, cache_dir, wanted, FLAGS.weights)
        return
    cases = cache.prepare(subjects, spec.settings, cache_dir)
    coverage.check(cases, spec.settings, refuse=False)
    record, found = calibration_record.load(folder, spec.settings.num_classes)
    if FLAGS.weights == "last":
        predict = inference.predictor(checkpoints.load_last(folder))
        evaluate_last(folder, predict, cases, spec.classes)
    else:
        evaluate_best(folder, cases, spec.classes, record, found, run_flags)


def evaluate_best(folder, cases, classes, record, its_map, run_flags):
    """Scores the selected averages before and after the calibration.Map of a record."""
    from bwcr_tf.evaluation import (
        analysis,
        figures,
        inference,
        scoring,
        tile_choice,
        volume_choice,
        volume_scores,
    )
    from bwcr_tf.export import model_card
    from bwcr_tf.training import checkpoints

    predict = inference.predictor(checkpoints.load_best(folder))
    rules = volume_choice.rules(record.get("volumes"), classes)
    first = run_flags.get("labels", "first") == "first"
    how = rules, first, tile_choice.beyond(record)
    found = scoring.score_all(predict, its_map, cases, classes, *how)
    before = files.content(folder / "scores.csv")
    result = scoring.write(folder, found, its_map, classes)
    warn_of_earlier(folder, before)
    result["calibration"] |= {key: record[key] for key in ("choice", "kind")}
    result |= analysis.summarize(found.pooled, classes)
    (folder / "scores_volumes.csv").unlink(missing_ok=True)  # of an earlier evaluation
    if rules:
        volume_scores.write(folder / "scores_volumes.csv", found.volumes)
        result["volumes"] = volume_scores.summarize(found.volumes, record["volumes"], classes)
    files.write_json(folder / "summary.json", result)
    model_card.write(folder)
    shown = cases, found.rows, found.pooled["reliability"], predict, len(classes) + 1
    figures.draw_run(folder / "figures", run_flags["method"], *shown)
    print_scores(folder, result)


def warn_of_earlier(folder, before):
    """Warns of other scores of an earlier evaluation, if scores.csv is no longer `before`."""
    others = [*folder.glob("scores*_last.csv"), *folder.glob("shifts/*/*.csv")]
    if others and before not in (None, files.content(folder / "scores.csv")):
        errors.warn(
            f"{folder}: other scores than those of an earlier evaluation, of other scans, labels "
            "or versions; score these again, or delete them: "
            + ", ".join(sorted(path.relative_to(folder).as_posix() for path in others))
        )


def print_scores(folder, result):
    """Prints what the summary.json of a run's folder holds, and which files stand beside it."""
    from bwcr_tf.evaluation import scores, volume_scores

    print(scores.to_text(result["scores"]))
    print(f"\nafter calibration ({result['calibration']['kind']}), as exported:")
    print(scores.to_text(result["scores_calibrated"], scores.CALIBRATION))
    if "volumes" in result:
        print(f"\n{volume_scores.to_text(result['volumes'])}")
    if "annotators" in result:
        print_annotators(result["annotators"])
    tables = ", ".join(sorted(path.name for path in folder.glob("scores*.csv")))
    print(f"{folder}/: {tables}, summary.json, MODEL_CARD.md, figures/")


def print_annotators(summary):
    """Prints what `scores.summarize` made of scores against all annotators."""
    from bwcr_tf.evaluation import scores

    print("\nagainst all annotators, or the true probabilities:")
    print(scores.to_text(summary["scores"], tuple(scores.ALL_METRICS)))


def evaluate_last(folder, predict, cases, classes):
    """Scores `predict`, of the last step's averages, into `folder`: what does the selection do?"""
    from bwcr_tf.evaluation import scores, scoring

    rows, against_all = scoring.score_each(predict, cases, classes)
    (folder / "scores_annotators_last.csv").unlink(missing_ok=True)
    scores.write(folder / "scores_last.csv", rows)
    print(scores.to_text(scores.summarize(rows, classes)["scores"]))
    if against_all:
        scores.write(folder / "scores_annotators_last.csv", against_all, scores.ALL_METRICS)
        print_annotators(scores.summarize(against_all, classes))


def evaluate_shifted(folder, subjects, spec, cache_dir, wanted, weights):
    """Scores the averages on the test scans after each of the shifts that are wanted."""
    from bwcr_tf.data import cache
    from bwcr_tf.evaluation import calibration_record, inference, scores, scoring
    from bwcr_tf.training import checkpoints

    its_map = calibration_record.load(folder, spec.settings.num_classes)[1]
    load = {"best": checkpoints.load_best, "last": checkpoints.load_last}[weights]
    predict = inference.predictor(load(folder))
    for shift in wanted:
        cases = cache.prepare(subjects, spec.settings, cache_dir, shift=shift)
        print("{} of severity {}".format(*shift))
        if weights == "last":
            evaluate_last(scoring.shift_folder(folder, shift), predict, cases, spec.classes)
        else:
            found = scoring.score_all(predict, its_map, cases, spec.classes)
            result = scoring.write_shifted(folder, shift, found, its_map, spec.classes)
            print(scores.to_text(result["scores"]))
    print(f"{folder}/shifts/: " + ", ".join("{}-{}".format(*shift) for shift in wanted))


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
