"""A trained network as files for use elsewhere: SavedModel and ONNX."""

import os
import pathlib
import shutil

import keras
import numpy as np
import tensorflow as tf

from bwcr_tf.evaluation import calibration_record, inference
from bwcr_tf.export import calibrated, manifest, model_card, signatures
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, run_folder, training_data


def export_run(folder, choice=None, coverage=None, cases=None, data_dir=None):
    """Sets the calibration of a run, and writes its saved_model/ and MODEL_CARD.md.

    A model.onnx of an earlier export is removed.

    Args:
      choice: of calibration_choice.choose; None leaves a run's map as it is.
      coverage: of the intervals of volumes; None leaves them as they are.
      cases: of `calibration_cases.load`, for what is set; None where it needs none.
      data_dir: the folder of the data set, in place of the run's own.

    Returns:
      The record, and the network that is exported.
    """
    network = checkpoints.load_best(folder)
    spec = run_folder.load_spec(folder)
    if is_new := (choice, coverage) != (None, None):
        record = make_record(folder, network, spec, choice, coverage, cases)
        found = calibration_record.to_map(record, spec.settings.num_classes)
    else:
        record, found = calibration_record.load(folder, spec.settings.num_classes)
    description = describe_run(folder, spec, record, found, data_dir)
    network = calibrated.calibrate(network, found)
    (folder / "model.onnx").unlink(missing_ok=True)  # which may have another map
    export(network, folder / "saved_model", description)
    if is_new:  # only now: a kill while it is written leaves the record of what was exported
        calibration_record.save(folder, record)
    model_card.write(folder)
    return record, network


def make_record(folder, network, spec, choice, coverage, cases):
    """The record of a run's calibration; the arguments are those of `export_run`."""
    num_classes, old = spec.settings.num_classes, None
    if calibration_record.finished(folder):
        old, _ = calibration_record.load(folder, num_classes)
    if cases and not training_data.read(folder):  # of an earlier version
        training_data.write(folder, training_data.describe(cases["training"], num_classes))
    asked = choice, coverage, old, training_data.read(folder).get("class_frequencies")
    return calibration_record.make(inference.predictor(network), cases, spec, *asked)


def describe_run(folder, spec, record, found, data_dir=None):
    """What the model.json of a run says: of its data, its calibration's record and Map."""
    run_flags = run_folder.read_flags(folder)
    directory = data_dir or run_folder.data_dir(run_flags)
    codes = manifest.class_codes(directory, folder / "saved_model")
    description = manifest.describe(spec, run_flags, codes) | training_data.read(folder)
    return description | {
        "calibration": {
            "kind": found.kind,
            "weights": found.weights.tolist(),
            "bias": found.bias.tolist(),
        },
        "volumes": record.get("volumes"),
        "max_tiles": manifest.max_tiles(record),
    }


def export(network, folder, description):
    """Writes the SavedModel `folder`, whole or not at all, and `description` as its model.json.

    Its signature `serving_default` maps image [N, H, W, K] float32 in [0, 1] to a dict of
    probabilities and logits [N, H, W, C] float32 and labels [N, H, W] int32; `slices` is the
    signature of `signatures.raw_server`. In both, probabilities are the softmax of the
    network's output; `slices` gives what lies outside of its grid the class frequencies of
    training.
    """
    folder = pathlib.Path(folder)
    temporary, old = (files.temporary_path(folder) for _ in range(2))
    settings = description["preprocessing"]
    windows = settings.get("windows", (None,))
    frequencies = manifest.class_frequencies(description)
    raw = settings["pixel_mm"], windows, frequencies
    description = description | {"slices_outside": frequencies}
    try:
        archive = keras.export.ExportArchive()  # model.export cannot name the outputs
        archive.track(network)
        for name, (function, inputs) in signatures.signatures(network, *raw).items():
            archive.add_endpoint(name, function, input_signature=inputs)
        archive.write_out(temporary, verbose=False)
        manifest.write_manifest(temporary, description)
        if folder.exists():  # moved, which is one step, where to delete it is many
            os.replace(folder, old)
        os.replace(temporary, folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def import_onnx():
    """The modules onnxruntime and tf2onnx.

    Raises:
      DataError: the extra `onnx` is not installed.
    """
    try:
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise DataError(f"{error.name} is missing: pip install '.[onnx]'") from error
    return onnxruntime, tf2onnx


def export_onnx(network, path, tolerance=1e-4):
    """Writes `serving_default` as an ONNX file, once onnxruntime has given the same numbers.

    Raises:
      DataError: the extra `onnx` is not installed, or the numbers differ by over `tolerance`.
    """
    onnxruntime, tf2onnx = import_onnx()
    serve = tf.function(signatures.server(network))
    model, _ = tf2onnx.convert.from_function(
        serve, input_signature=signatures.spec(network), opset=18
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
    files.write(pathlib.Path(path), content)
