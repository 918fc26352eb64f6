"""What bwcr_tf.predict takes for a scan, once a model is loaded."""

import dataclasses

import numpy as np
import SimpleITK as sitk
import tensorflow as tf

from bwcr_tf.benchmark import workloads
from bwcr_tf.data import preprocess
from bwcr_tf.export import signatures
from bwcr_tf.predict import segmentation

SHAPE = 10, 216, 256  # slices, rows, columns: a short-axis scan of ACDC
SPACING_MM = 1.4, 1.4, 10.0


def parts(setup):
    """Functions that predict a scan of SHAPE, by name."""
    network = workloads.make_network(dataclasses.replace(setup, mixed_precision=False))
    serve = tf.function(signatures.server(network), signatures.spec(network))
    settings = preprocess.Settings(
        workloads.NUM_CLASSES, setup.shape, setup.pixel_mm, n4_shrink=0
    )
    frequencies = (1 / workloads.NUM_CLASSES,) * workloads.NUM_CLASSES
    model = segmentation.Model(workloads.CLASSES, settings, serve, "", {}, frequencies)
    with_n4 = dataclasses.replace(model, settings=dataclasses.replace(settings, n4_shrink=4))
    image = sitk.GetImageFromArray(np.random.default_rng(0).random(SHAPE, np.float32))
    image = sitk.SmoothingRecursiveGaussian(image, 3.0)
    image.SetSpacing(SPACING_MM)
    return {
        "centre": lambda: segmentation.predict([image], model, max_tiles=1),
        "tiles": lambda: segmentation.predict([image], model),
        "tiles, with N4": lambda: segmentation.predict([image], with_n4),
    }
