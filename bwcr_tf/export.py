"""A trained network as a SavedModel that plain TensorFlow serves."""

import json
import os
import pathlib
import shutil

import keras
import tensorflow as tf


def export(network, folder, description):
    """Writes the SavedModel `folder`, whole or not at all, with `description` as its model.json.

    Its signature `serving_default` maps image [N, H, W, 1] float32 in [0, 1] to a dict of
    probabilities and logits [N, H, W, C] float32 and labels [N, H, W] int32.
    """
    folder = pathlib.Path(folder)
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    height, width = network.input_shape[1:3]
    spec = tf.TensorSpec([None, height, width, 1], tf.float32, name="image")

    def serve(image):
        logits = network(image, training=False)
        return {
            "probabilities": tf.nn.softmax(logits),
            "logits": logits,
            "labels": tf.argmax(logits, axis=-1, output_type=tf.int32),
        }

    try:
        archive = keras.export.ExportArchive()  # model.export cannot name the outputs
        archive.track(network)
        archive.add_endpoint("serving_default", serve, input_signature=[spec])
        archive.write_out(temporary, verbose=False)
        (temporary / "model.json").write_text(json.dumps(description, indent=1) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
