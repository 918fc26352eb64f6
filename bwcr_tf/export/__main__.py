"""A trained network for use elsewhere: python -m bwcr_tf.export --run_dir=DIR --format=onnx."""

from absl import flags

from bwcr_tf.system import command, quiet, source

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this command."""
    maps = source.table_keys("bwcr_tf.evaluation.calibration", "PARAMETERS")
    flags.DEFINE_string(
        "run_dir", None, "Folder of a run; A,B,C: their ensemble.", required=True
    )
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", "onnx"],
        "Writes saved_model/; onnx: model.onnx, too.",
    )
    flags.DEFINE_enum(
        "calibration",
        None,
        ["auto", "none", *maps],
        "Calibration map; auto: none unless subjects were set aside. [the run's]",
    )
    flags.DEFINE_float(
        "coverage",
        None,
        "Coverage of volumes' intervals, set again; 0: none. [the run's]",
        0.0,
        0.999,
    )
    flags.DEFINE_string("data_dir", None, "Folder of the data set. [the run's]")
    flags.DEFINE_string("cache_dir", None, "Folder of preprocessed volumes. [the run's]")


def main(_):
    """Exports a run in the format asked for, and prints where to and by which calibration."""
    quiet.import_tensorflow()
    from bwcr_tf.evaluation import calibration_record
    from bwcr_tf.export import calibration_cases, calibration_words, ensemble, saved_model
    from bwcr_tf.training import run_folder

    if FLAGS.format == "onnx":
        saved_model.import_onnx()  # now rather than after the calibration
    folder = ensemble.find(FLAGS.run_dir)
    spec = run_folder.load_spec(folder)
    choice = FLAGS.calibration, FLAGS.coverage
    if ensemble.is_new(folder):
        choice = choice[0] or "auto", choice[1]
    else:  # or it is not trained to its end
        calibration_record.load(folder, spec.settings.num_classes)
    kept = choice in ((None, None), (None, 0), ("none", 0))
    places = FLAGS.data_dir, FLAGS.cache_dir
    cases = None if kept else calibration_cases.load(folder, spec, *places)
    path = folder / "saved_model"
    record, network = saved_model.export_run(folder, *choice, cases, FLAGS.data_dir)
    if FLAGS.format == "onnx":
        path = folder / "model.onnx"
        saved_model.export_onnx(network, path)
    print(f"{path}: calibration {record['kind']}. {calibration_words.how(record)}")


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
