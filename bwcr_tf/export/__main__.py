"""A trained network for use elsewhere: python -m bwcr_tf.export --run_dir=DIR --format=onnx."""

import pathlib
import pkgutil

from absl import flags

from bwcr_tf.system import command, quiet

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this command."""
    flags.DEFINE_string("run_dir", None, "Folder of a run of train.py.", required=True)
    flags.DEFINE_enum(
        "format",
        "saved_model",
        ["saved_model", "onnx"],
        "Writes saved_model/; onnx: model.onnx, too.",
    )
    flags.DEFINE_string("temperature", None, "none, fit or a value. [the run's]")
    flags.DEFINE_string("data_dir", None, "Folder of the data set, for fit. [the run's]")
    flags.DEFINE_string("cache_dir", None, "Folder of preprocessed volumes. [the run's]")
    flags.register_validator(
        "temperature",
        lambda choice: (
            choice is None
            or pkgutil.resolve_name("bwcr_tf.evaluation.temperature:valid")(choice)
        ),
        "expected none, fit or 0.001 to 1000",
    )


def main(_):
    """Exports a run in the format asked for, and prints where to and by which temperature."""
    quiet.import_tensorflow()
    from bwcr_tf.evaluation import temperature
    from bwcr_tf.export import saved_model
    from bwcr_tf.training import checkpoints

    folder = pathlib.Path(FLAGS.run_dir)
    temperature.load(folder)  # or the run is not trained to its end
    cases = validation_cases(folder) if FLAGS.temperature == "fit" else ()
    path = folder / "saved_model"
    record = saved_model.export_run(folder, FLAGS.temperature, cases)
    if FLAGS.format == "onnx":
        path = folder / "model.onnx"
        network = temperature.scale(checkpoints.load_best(folder), record["temperature"])
        saved_model.export_onnx(network, path)
    print(f"{path}: temperature {record['temperature']:.3f}")


def validation_cases(folder):
    """The preprocessed validation subjects of a run, from its folders or those of the flags."""
    from bwcr_tf.data import cache
    from bwcr_tf.training import run_folder

    spec, run_flags = run_folder.load_spec(folder), run_folder.read_flags(folder)
    subjects = spec.subjects("validation", FLAGS.data_dir or run_folder.data_dir(run_flags))
    return cache.prepare(subjects, spec.settings, FLAGS.cache_dir or run_flags["cache_dir"])


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
