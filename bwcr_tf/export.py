"""A trained network for use elsewhere: python -m bwcr_tf.export --run_dir=DIR --format=onnx."""

import os
import pathlib
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import tensorflow as tf
from absl import flags, logging

from bwcr_tf import (
    atomic,
    cache,
    checkpoints,
    command,
    model_card,
    runs,
    sealing,
    serving,
    temperature,
    unet,
)
from bwcr_tf.scans import DataError

FLAGS = flags.FLAGS  # defined at the end: train.py imports this module and has its own


def main(_):
    """Exports a run in the format asked for, and prints where to and by which temperature."""
    logging.set_verbosity(logging.WARNING)
    folder = pathlib.Path(FLAGS.run_dir)
    temperature.load(folder)  # or the run is not trained to its end
    cases = validation_cases(folder) if FLAGS.temperature == "fit" else ()
    path = folder / "saved_model"
    record = export_run(folder, FLAGS.temperature, cases)
    if FLAGS.format == "onnx":
        path = folder / "model.onnx"
        export_onnx(temperature.scale(load_best(folder), record["temperature"]), path)
    print(f"{path}: temperature {record['temperature']:.3f}")


def validation_cases(folder):
    """The preprocessed validation subjects of a run, from its folders or those of the flags."""
    plan, run_flags = runs.load_plan(folder), runs.read_flags(folder)
    subjects = plan.subjects("validation", FLAGS.data_dir or runs.data_dir(run_flags))
    return cache.prepare(subjects, plan.settings, FLAGS.cache_dir or run_flags["cache_dir"])


def load_best(folder):
    """The network with the selected weights.

    Raises:
      DataError: there is none yet, or the file is broken.
    """
    path = folder / "best.keras"
    if not path.exists():
        raise DataError(f"{path}: not there; the run has not come to its first validation")
    try:
        return unet.load(path)
    except Exception as error:  # whatever Keras, zip or HDF5 make of a broken file
        raise DataError(f"{path}: not a whole model ({type(error).__name__})") from error


def load_last(folder):
    """The network with the averages of the last checkpoint.

    Raises:
      DataError: there is none, or it is broken.
    """
    network, found = load_best(folder), checkpoints.paths(folder / "checkpoints")
    if not found:
        raise DataError(f"{folder / 'checkpoints'}: no checkpoint there")
    names = [f"averages/{i}" for i in range(len(network.weights))]
    network.set_weights(checkpoints.read(found[0], names))
    return network


def export(network, folder, description):
    """Writes the SavedModel `folder`, whole or not at all, and `description` as its model.json.

    Its signature `serving_default` maps image [N, H, W, 1] float32 in [0, 1] to a dict of
    probabilities and logits [N, H, W, C] float32 and labels [N, H, W] int32; `slices` is the
    signature of `serving.raw_server`. In both, probabilities are the softmax of the
    network's output.
    """
    folder = pathlib.Path(folder)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    pixel_mm = description["preprocessing"]["pixel_mm"]
    try:
        archive = keras.export.ExportArchive()  # model.export cannot name the outputs
        archive.track(network)
        for name, (function, inputs) in serving.signatures(network, pixel_mm).items():
            archive.add_endpoint(name, function, input_signature=inputs)
        archive.write_out(temporary, verbose=False)
        sealing.seal(temporary, description)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_onnx(network, path, tolerance=1e-4):
    """Writes `serving_default` as an ONNX file, once onnxruntime has given the same numbers.

    Raises:
      DataError: the extra `onnx` is not installed, or the numbers differ by over `tolerance`.
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise DataError(f"{error.name} is missing: pip install '.[onnx]'") from error
    serve = tf.function(serving.server(network))
    model, _ = tf2onnx.convert.from_function(
        serve, input_signature=serving.spec(network), opset=18
    )
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).random((2, *network.input_shape[1:]), np.float32)
    found = session.run(["probabilities", "logits"], {"image": image})
    expected = serve(tf.constant(image))
    for value, name in zip(found, ("probabilities", "logits"), strict=True):
        difference = np.abs(value - expected[name]).max()
        if not difference <= tolerance:
            raise DataError(f"{path}: ONNX {name} differ from TensorFlow's by {difference:.2g}")
    atomic.write(pathlib.Path(path), content)


def export_run(folder, choice, cases):
    """Sets the temperature of a run, and writes its saved_model/ and MODEL_CARD.md.

    Args:
      choice: of temperature.choose; None leaves a run's temperature.json as it is.
      cases: the validation subjects' Cases; used where `choice` is `fit`.
    """
    network = load_best(folder)
    if choice is not None:
        temperature.save(folder, temperature.choose(choice, network, cases))
    record = temperature.load(folder)
    value = record["temperature"]
    description = sealing.describe(runs.load_plan(folder), runs.read_flags(folder))
    description["temperature"] = value
    export(temperature.scale(network, value), folder / "saved_model", description)
    model_card.write(folder)
    return record


if __name__ == "__main__":
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
        "temperature", lambda t: t is None or temperature.valid(t), "none, fit or 0.001 to 1000"
    )
    command.run(main, "run it again")
