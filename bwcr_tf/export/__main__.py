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
    flags.DEFINE_float(
        "coverage",
        None,
        "Of the intervals of volumes, set again; 0: none. [the run's]",
        0.0,
        0.999,
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
    choice = FLAGS.calibration, FLAGS.coverage
    kept = choice in ((None, None), (None, 0), ("none", 0))
    cases = None if kept else calibration_cases(folder, spec)
    path = folder / "saved_model"
    record, network = saved_model.export_run(folder, *choice, cases)
    if FLAGS.format == "onnx":
        path = folder / "model.onnx"
        saved_model.export_onnx(network, path)
    print(f"{path}: calibration {record['kind']}")


def calibration_cases(folder, spec):
    """{part: Cases} of the subjects that a run did not train on, from its folders or the flags'."""
    from bwcr_tf.data import cache
    from bwcr_tf.training import labels, run_folder

    run_flags = run_folder.read_flags(folder)
    directory = FLAGS.data_dir or run_folder.data_dir(run_flags)
    cache_dir = FLAGS.cache_dir or run_flags["cache_dir"]
    found = {}
    for part in ("validation", "calibration"):
        cases = cache.prepare(spec.subjects(part, directory), spec.settings, cache_dir)
        found[part] = labels.validated(cases, run_flags.get("labels", "first"))
    return found


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
