"""Segments anyone's scans: python -m bwcr_tf.predict --model=RUN_DIR --input=FILE --output=DIR.

For the scan NAME, on its own grid and in its own format (DICOM series: NIfTI):

    NAME_labels         uint8: the most likely class of each voxel
    NAME_probabilities  float32, 4D: the class is the last axis; background is 0
    NAME_entropy        float32: -sum_c p_c log p_c, in nats

and a row of volumes.csv; see `volumetry.volumes`. A folder may hold scans (NIfTI, NRRD, MetaImage),
folders of one DICOM series each, or be such a series itself.
"""

import dataclasses
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import numpy as np
import SimpleITK as sitk
import tensorflow as tf
from absl import flags
from scipy import special

from bwcr_tf.data import preprocess, scans
from bwcr_tf.export import manifest
from bwcr_tf.predict import scan_folder, volumetry
from bwcr_tf.system import command, files
from bwcr_tf.system.errors import DataError
from bwcr_tf.system.progress import Progress

flags.DEFINE_string("model", None, "Folder of a run or a SavedModel.", required=True)
flags.DEFINE_string("input", None, "Scan, or folder of scans.", required=True)
flags.DEFINE_string("output", None, "Folder to write to.", required=True)
flags.DEFINE_string("pattern", "*", "Which files of an input folder are scans, by name.")
flags.DEFINE_boolean(
    "reorient",
    True,
    "Bring scans to the model's orientation first. Off: their array axes are the model's.",
)
FLAGS = flags.FLAGS


@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded SavedModel and what its model.json says."""

    classes: tuple[str, ...]  # foreground
    settings: preprocess.Settings
    signature: Callable


def main(_):
    """Predicts what the flags name; ends with a line for each scan that failed."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    output = pathlib.Path(FLAGS.output)
    paths = scan_folder.find_scans(pathlib.Path(FLAGS.input), output, FLAGS.pattern)
    model = load(FLAGS.model)
    failures = predict_all(paths, model, output, FLAGS.reorient)
    print(f"{output}/: {len(paths) - len(failures)} of {len(paths)} scans predicted")
    if failures:
        sys.exit("\n".join(f"error: {failure}" for failure in failures))


def predict_all(paths, model, output, reorient=True):
    """Predicts every scan of a dict of name to path; returns a line for each that failed.

    Raises:
      DataError: `output` has the volumes.csv of a model of other classes.
    """
    output.mkdir(parents=True, exist_ok=True)
    rows, failures = volumetry.read_volumes(output, model), []
    progress = Progress("predicting scans", len(paths))
    for name, path in paths.items():
        try:
            image = scans.read_image(path)
            if reorient:
                check_plane(image, model.settings, path)
            probabilities = predict(image, model, reorient)
            suffix = scan_folder.ENDINGS.get(scan_folder.ending(path), ".nii.gz")
            write(
                output,
                name,
                suffix,
                probabilities,
                image,
            )
            rows[name] = {"scan": name} | volumetry.volumes(probabilities, image, model.classes)
            files.write(output / "volumes.csv", volumetry.to_csv(list(rows.values())))
        except DataError as error:
            failures.append(str(error))
        except Exception as error:  # a bad scan does not stop the others, whatever it does
            failures.append(f"{path}: {type(error).__name__}: {command.one_line(error)}")
        progress.advance()
    return failures


def check_plane(image, settings, path):
    """Warns where the slices of a scan seem to be cut in another plane than the model's."""
    x, y, _ = sitk.DICOMOrient(image, settings.orientation).GetSpacing()
    if max(x, y) > 2 * min(x, y):
        print(
            f"\nwarning: {path}: pixels of {x:g} x {y:g} mm in the model's plane; if its slices "
            "are cut as the model's were, whatever its header says, use --noreorient",
            file=sys.stderr,
        )


def load(folder):
    """The Model in the folder of a run or of a SavedModel.

    Raises:
      DataError: it is not there, or not one that train.py or bwcr_tf.export wrote.
    """
    folder = pathlib.Path(folder)
    folder = folder / "saved_model" if (folder / "saved_model").is_dir() else folder
    try:
        description = manifest.verify_manifest(folder)
        settings = dict(description["preprocessing"])
        if tuple(settings.pop("percentiles")) != preprocess.PERCENTILES:
            raise ValueError("other percentiles")
        signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
        classes = tuple(description["classes"][1:])
        return Model(classes, preprocess.Settings(**settings), signature)
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        reason = command.one_line(error)
        raise DataError(f"{folder}: not a model of this package ({reason})") from error


def predict(image, model, reorient=True, batch_size=32):
    """Probabilities [Z, Y, X, C] float32 of a sitk.Image on its own grid; they sum to one.

    The same functions as in evaluation; what the network's grid does not cover is background.
    Without `reorient`, the array axes x, y, z are taken to be the model's already.
    """
    settings = model.settings
    if not reorient:
        settings = dataclasses.replace(settings, orientation=scans.orientation(image))
    grid = preprocess.network_grid(image, settings)
    slices = preprocess.resample(preprocess.normalize(image, settings), grid)[..., None]
    parts = (slices[i : i + batch_size] for i in range(0, len(slices), batch_size))
    served = (model.signature(image=tf.constant(part)) for part in parts)
    found = [outputs["probabilities"].numpy() for outputs in served]
    restored = preprocess.restore(np.concatenate(found), grid, preprocess.Grid.of(image))
    return np.clip(restored, 0, 1)


def write(output, name, suffix, probabilities, image):
    """Writes the three images of a scan, each of them whole or not at all."""
    grid = preprocess.Grid.of(image)
    labels = sitk.GetImageFromArray(probabilities.argmax(axis=-1).astype(np.uint8))
    entropy = sitk.GetImageFromArray(special.entr(probabilities).sum(axis=-1))
    files = {
        "labels": grid.place(labels),
        "probabilities": with_class_axis(probabilities, grid),
        "entropy": grid.place(entropy),
    }
    folder = (output / f"{name}_").parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        for what, content in files.items():
            path = os.path.join(temporary, what + suffix)
            sitk.WriteImage(content, path, useCompression=True, compressionLevel=1)
            if sitk.Hash(sitk.ReadImage(path)) != sitk.Hash(content):  # ITK is silent about it
                raise DataError(f"{output}: {name} could not be written; is the disk full?")
        for what in files:
            source = os.path.join(temporary, what + suffix)
            os.replace(source, output / f"{name}_{what}{suffix}")


def with_class_axis(probabilities, grid):
    """A 4D sitk.Image of probabilities [Z, Y, X, C]: x, y, z as `grid`, then the class."""
    image = sitk.GetImageFromArray(np.moveaxis(probabilities, -1, 0), isVector=False)
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(grid.direction, (3, 3))
    place = ((*grid.spacing_mm, 1), (*grid.origin, 0), tuple(direction.ravel()))
    return preprocess.Grid(image.GetSize(), *place).place(image)


if __name__ == "__main__":
    command.run(main, "run it again")
