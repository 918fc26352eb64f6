"""A trained network for use elsewhere: python -m bwcr_tf.export --run_dir=DIR --format=onnx."""

import pathlib

from absl import flags

from bwcr_tf.system import command, quiet, source

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this command."""
    maps = source.table_keys("bwcr_tf.evaluation.calibration", "PARAMETERS")
    flags.DEFINE_string("run_dir", None, "Folder of a run of train.py.", required=True)
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
        "Map of the probabilities, chosen again. [the run's]",
    )
    flags.DEFINE_string("data_dir", None, "Folder of the data set, to calibrate. [the run's]")
    flags.DEFINE_string("cache_dir", None, "Folder of preprocessed volumes. [the run's]")


def main(_):
    """Exports a run in the format asked for, and prints where to and by which calibration."""
    quiet.import_tensorflow()
    from bwcr_tf.evaluation import calibration_choice
    from bwcr_tf.export import saved_model
    from bwcr_tf.training import run_folder

    folder = pathlib.Path(FLAGS.run_dir)
    spec = run_folder.load_spec(folder)
    calibration_choice.load(
        folder, spec.settings.num_classes
    )  # or it is not trained to its end
    fitted = FLAGS.calibration not in (None, "none")
    cases = calibration_cases(folder, spec) if fitted else ()
    path = folder / "saved_model"
    record, network = saved_model.export_run(
        folder, FLAGS.calibration, cases, spec.calibration_part
    )
    if FLAGS.format == "onnx":
        path = folder / "model.onnx"
        saved_model.export_onnx(network, path)
    print(f"{path}: calibration {record['kind']}")


def calibration_cases(folder, spec):
    """The preprocessed calibration subjects of a run, from its folders or those of the flags."""
    from bwcr_tf.data import cache
    from bwcr_tf.training import labels, run_folder

    run_flags = run_folder.read_flags(folder)
    directory = FLAGS.data_dir or run_folder.data_dir(run_flags)
    subjects = spec.subjects(spec.calibration_part, directory)
    cases = cache.prepare(subjects, spec.settings, FLAGS.cache_dir or run_flags["cache_dir"])
    return labels.validated(cases, run_flags.get("labels", "first"))


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
