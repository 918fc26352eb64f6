"""The benchmark's sections of scans: `volumes`, as evaluation has them, and `prediction`."""

import dataclasses

import numpy as np
import SimpleITK as sitk
import tensorflow as tf

from bwcr_tf import boundary
from bwcr_tf.benchmark import workloads
from bwcr_tf.data import grids, normalization, preprocess
from bwcr_tf.evaluation import analysis, inference
from bwcr_tf.export import signatures
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.predict import orientation, segmentation

SHAPE = 10, 216, 256  # slices, rows, columns: a short-axis scan of ACDC
SPACING_MM = 1.4, 1.4, 10.0


def volumes(setup):
    """Phantom volumes: what preprocessing and evaluation take for one, and 60 volumes' evaluation.

    Evaluation scores a volume before and after calibration.
    """
    parts, count = volume_parts(setup)
    seconds = workloads.measure(parts, setup.repeats)
    total = seconds["prediction"] + 2 * seconds["metrics"] + seconds["analysis"]
    return {
        f"{name}, ms a volume of {count} slices": 1000 * s for name, s in seconds.items()
    } | {
        "validation, volumes/s": 1 / seconds["validation"],
        "evaluation, volumes/s": 1 / total,
        "evaluation of 60 volumes, s": 60 * total,
        "of which metrics, s": 120 * seconds["metrics"],
    }


def volume_parts(setup):
    """Functions that prepare and score a phantom volume, by name, and the number of its slices."""
    settings = preprocess.Settings(workloads.NUM_CLASSES, setup.shape, setup.pixel_mm)
    plain = dataclasses.replace(settings, n4_shrink=0)
    image, probabilities, case = make_case(settings)
    network = workloads.make_network(dataclasses.replace(setup, mixed_precision=False))
    predict = inference.predictor(network)
    return {
        "N4": lambda: normalization.correct_bias(image, settings.n4_shrink),
        "preprocessing apart from N4": lambda: (
            grids.resample(normalization.normalize(image, plain), case.grid),
            [boundary.distance(m, workloads.NUM_CLASSES) for m in case.label_map],
        ),
        "prediction": lambda: predict(case.image),
        "metrics": lambda: inference.score(probabilities, case, workloads.CLASSES),
        "analysis": lambda: analysis.measure(probabilities, case),
        "validation": lambda: inference.dice(predict(case.image), case),
    }, len(case.image)


def make_case(settings):
    """A phantom volume: its sitk.Image, its true probabilities on the network's grid, its Case."""
    heart = phantom.make_volume(0, 1, "ED")
    image = sitk.GetImageFromArray(heart.image.astype(np.float32))
    label = sitk.GetImageFromArray(heart.label_map)
    image.SetSpacing(heart.spacing_mm)
    label.SetSpacing(heart.spacing_mm)
    grid, original = grids.network_grid(image, settings), grids.Grid.of(image)
    plain = dataclasses.replace(settings, n4_shrink=0)
    slices = grids.on_grid([normalization.normalize(image, plain)], grid)
    label_map = grids.resample(label, grid, sitk.sitkNearestNeighbor)
    distance = np.stack([boundary.distance(m, workloads.NUM_CLASSES) for m in label_map])
    case = preprocess.Case(
        "v", "s", slices, label_map, distance, grid, heart.label_map, original
    )
    return image, grids.restore(heart.probabilities, original, grid), case


def prediction(setup):
    """What bwcr_tf.predict takes for a scan by a loaded model, without reading and writing."""
    seconds = workloads.measure(prediction_parts(setup), setup.repeats)
    scan = "{} slices of {} x {}".format(*SHAPE)
    return {f"{scan}, {name}: prediction, s": s for name, s in seconds.items()}


def prediction_parts(setup):
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
    one_slice = [image], grids.Grid.of(image), model, orientation.in_plane("LPS"), 1
    return {
        "orientations on one slice": lambda: orientation.uncertainties(*one_slice),
        "centre": lambda: segmentation.predict([image], model, max_tiles=1),
        "tiles": lambda: segmentation.predict([image], model),
        "tiles, with N4": lambda: segmentation.predict([image], with_n4),
    }
