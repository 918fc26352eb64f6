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
    preprocess,
    runs,
    temperature,
    unet,
)
from bwcr_tf.scans import DataError

FLAGS = flags.FLAGS  # defined at the end: train.py imports this module and has its own


def main(_):
    """Exports a run in the format asked for, and prints where to and by which temperature."""
    logging.set_verbosity(logging.WARNING)
    folder = pathlib.Path(FLAGS.run_dir)
    plan, run_flags = runs.load_plan(folder), runs.read_flags(folder)
    cases = validation_cases(plan, run_flags) if FLAGS.temperature == "fit" else ()
    path = folder / "saved_model"
    record = export_run(folder, FLAGS.temperature, plan, run_flags, cases)
    if FLAGS.format == "onnx":
        path = folder / "model.onnx"
        export_onnx(temperature.scale(load_best(folder), record["temperature"]), path)
    print(f"{path}: temperature {record['temperature']:.3f}")


def validation_cases(plan, run_flags):
    """The preprocessed validation subjects of a run, from its folders or those of the flags."""
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
    signature of `raw_server`. In both, probabilities are the softmax of the network's output.
    """
    folder = pathlib.Path(folder)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    raw = [
        tf.TensorSpec([None, None, None], tf.float32, name="image"),
        tf.TensorSpec([2], tf.float32, name="spacing_mm"),
    ]
    pixel_mm = description["preprocessing"]["pixel_mm"]
    try:
        archive = keras.export.ExportArchive()  # model.export cannot name the outputs
        archive.track(network)
        archive.add_endpoint("serving_default", server(network), input_signature=spec(network))
        archive.add_endpoint("slices", raw_server(network, pixel_mm), input_signature=raw)
        archive.write_out(temporary, verbose=False)
        runs.seal(temporary, description)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def spec(network):
    """Input signature of `server`: any number of images of the network's size."""
    return [tf.TensorSpec([None, *network.input_shape[1:]], tf.float32, name="image")]


def server(network):
    """The function image [N, H, W, 1] -> dict of probabilities, logits and labels."""

    def serve(image):
        logits = network(image, training=False)
        return {
            "probabilities": tf.nn.softmax(logits),
            "logits": logits,
            "labels": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }

    return serve


def raw_server(network, pixel_mm):
    """The function (image [N, h, w], spacing_mm [2]) -> dict of probabilities and labels.

    A whole volume of raw slices, rows and columns as in the model's orientation, at any spacing
    (between rows, between columns; as in DICOM). Intensities are rescaled, slices resampled and
    the result brought back to [N, h, w] in the graph: bwcr_tf.preprocess without N4.
    """
    size = network.input_shape[1]

    def serve(image, spacing_mm):
        shape = tf.shape(image)[1:]  # rows and columns, as spacing_mm
        there = [interpolation(size, shape[i], pixel_mm / spacing_mm[i]) for i in range(2)]
        back = [interpolation(shape[i], size, spacing_mm[i] / pixel_mm) for i in range(2)]
        resampled = tf.einsum("Hh,Ww,nhw->nHW", *there, rescale(image))
        probabilities = tf.nn.softmax(network(resampled[..., None], training=False))
        foreground = tf.einsum("hH,wW,nHWc->nhwc", *back, probabilities[..., 1:])
        background = 1 - tf.reduce_sum(foreground, axis=-1, keepdims=True)
        probabilities = tf.concat([background, foreground], axis=-1)
        labels = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        return {"probabilities": probabilities, "labels": labels}

    return serve


def rescale(image):
    """The 2nd and 98th percentile of all pixels to 0 and 1, clipped: preprocess.normalize."""
    ordered = tf.sort(tf.reshape(image, [-1]))
    last = tf.size(ordered) - 1

    def percentile(q):
        position = tf.cast(last, tf.float64) * (q / 100)
        below = tf.cast(position, tf.int32)
        part = tf.cast(position - tf.floor(position), tf.float32)
        return (1 - part) * ordered[below] + part * ordered[tf.minimum(below + 1, last)]

    low, high = (percentile(q) for q in preprocess.PERCENTILES)
    low, high = tf.cond(high > low, lambda: (low, high), lambda: (ordered[0], ordered[-1]))
    return tf.clip_by_value(tf.math.divide_no_nan(image - low, high - low), 0.0, 1.0)


def interpolation(count, source_count, step):
    """Matrix [count, source_count] of linear interpolation between two grids of one centre.

    `step` is the spacing in source pixels. Zero outside of the source, as preprocess.resample.
    """
    center, source_center = (tf.cast(n - 1, tf.float32) / 2 for n in (count, source_count))
    position = (tf.range(count, dtype=tf.float32) - center) * step + source_center
    inside = tf.abs(position - source_center) <= source_center + 0.5
    nearest = tf.clip_by_value(position, 0.0, 2 * source_center)[:, None]
    weights = tf.nn.relu(1 - tf.abs(nearest - tf.range(source_count, dtype=tf.float32)))
    return tf.where(inside[:, None], weights, 0.0)


def export_onnx(network, path, tolerance=1e-4):
    """Writes `serving_default` as an ONNX file, once onnxruntime has given the same numbers.

    Raises:
      DataError: the extra `onnx` is not installed, or the numbers differ by over `tolerance`.
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise DataError(f"{error.name} is missing: pip install 'bwcr_tf[onnx]'") from error
    serve = tf.function(server(network))
    model, _ = tf2onnx.convert.from_function(serve, input_signature=spec(network), opset=18)
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


def export_run(folder, choice, plan, run_flags, cases):
    """Sets the temperature of a run, and writes its saved_model/ and MODEL_CARD.md.

    Args:
      choice: of temperature.choose; None leaves a run's temperature.json as it is.
      cases: the validation subjects' Cases; used where `choice` is `fit`.
    """
    network = load_best(folder)
    record = temperature.load(folder) if choice is None else None
    if record is None:
        record = temperature.choose(choice or "none", network, cases)
        temperature.save(folder, record)
    value = record["temperature"]
    description = runs.describe(plan, run_flags) | {"temperature": value}
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
    flags.DEFINE_string("temperature", None, "none, fit or a value. [the run's; else none]")
    flags.DEFINE_string("data_dir", None, "Folder of the data set, for fit. [the run's]")
    flags.DEFINE_string("cache_dir", None, "Folder of preprocessed volumes. [the run's]")
    flags.register_validator(
        "temperature", lambda t: t is None or temperature.valid(t), "none, fit or 0.001 to 1000"
    )
    command.run(main, "run it again")
