"""Segments anyone's scans: python -m bwcr_tf.predict --model=RUN_DIR --input=FILE --output=DIR.

For the scan NAME, on its own grid and in its own format (DICOM series: NIfTI):

    NAME_labels         uint8: the most likely class of each voxel
    NAME_probabilities  float32, 4D: the class is the last axis; background is 0
    NAME_entropy        float32: -sum_c p_c log p_c, in nats

and a row of volumes.csv; see `volumes`. A folder may hold scans (NIfTI, NRRD, MetaImage),
folders of one DICOM series each, or be such a series itself.
"""

import collections
import csv
import dataclasses
import io
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

from bwcr_tf import atomic, command, preprocess, runs, scans
from bwcr_tf.progress import Progress
from bwcr_tf.scans import DataError

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

ENDINGS = {  # of a scan: of what is predicted from it
    ".nii.gz": ".nii.gz", ".nii": ".nii.gz",
    ".nrrd": ".nrrd", ".nhdr": ".nrrd",
    ".mha": ".mha", ".mhd": ".mha",
}  # fmt: skip
SURE, POSSIBLE = 0.975, 0.025  # probabilities whose regions bound the volumes
VOLUMES = ("ml", "expected_ml", f"ml_where_p>{SURE}", f"ml_where_p>{POSSIBLE}")


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
    paths = find_scans(pathlib.Path(FLAGS.input), output, FLAGS.pattern)
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
    rows, failures = read_volumes(output, model), []
    progress = Progress("predicting scans", len(paths))
    for name, path in paths.items():
        try:
            image = scans.read_image(path)
            if reorient:
                check_plane(image, model.settings, path)
            probabilities = predict(image, model, reorient)
            write(output, name, ENDINGS.get(ending(path), ".nii.gz"), probabilities, image)
            rows[name] = {"scan": name} | volumes(probabilities, image, model.classes)
            atomic.write(output / "volumes.csv", to_csv(list(rows.values())))
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
        description = runs.unseal(folder)
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


def find_scans(source, output, pattern="*"):
    """Dict of name to path of the scans in `source`; names are paths within the output folder.

    Hidden files and what is in the output folder are left out. A name keeps its ending only
    where two scans would share it.

    Raises:
      DataError: there is none, or `output` is the folder of the scans.
    """
    if not source.exists():
        raise DataError(f"{source}: not there")
    folder = source if source.is_dir() else source.parent
    if output.resolve() == folder.resolve():
        raise DataError(f"{output}: holds the scans; choose another output folder")
    if not source.is_dir() or scans.dicom_files(source, deep=False):
        return {shorten(source.resolve().name): source}
    paths = [path for path in sorted(source.rglob("*")) if is_scan(path, source, output)]
    found = {p.relative_to(source).as_posix(): p for p in paths if p.match(pattern)}
    if not found:
        raise DataError(f"{source}: no scans here ({', '.join(ENDINGS)} or DICOM folders)")
    count = collections.Counter(map(shorten, found))
    return {shorten(name) if count[shorten(name)] == 1 else name: found[name] for name in found}


def is_scan(path, source, output):
    """Whether a path in `source` is a scan by its ending or its DICOM files, and not left out."""
    hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
    inside = source.resolve() in output.resolve().parents  # `output` may hold `source`, too
    if hidden or inside and output.resolve() in path.resolve().parents:
        return False
    return bool(scans.dicom_files(path, deep=False) if path.is_dir() else ending(path))


def ending(path):
    """That of ENDINGS which a path has, or an empty text."""
    return next((e for e in ENDINGS if str(path).lower().endswith(e)), "")


def shorten(name):
    """A name without the ending of a scan."""
    return name[: len(name) - len(ending(name))]


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


def volumes(probabilities, image, classes):
    """Volumes in ml of each class, by column of volumes.csv.

    CLASS_ml is of the label map, and CLASS_expected_ml of the probabilities (their sum).
    CLASS_ml_where_p>0.975 and CLASS_ml_where_p>0.025 are the volumes of those regions. They are
    the central 95 % interval if voxels depend on each other fully: one uniform number decides
    them all, and a voxel is of the class where its probability exceeds that number. Of all
    dependence that agrees with the probabilities this gives the volume the largest variance;
    independent voxels would give an interval of next to no width.
    """
    ml = np.prod(image.GetSpacing()) / 1000
    labels = probabilities.argmax(axis=-1)
    row = {}
    for c, name in enumerate(classes, start=1):
        p = probabilities[..., c]
        sizes = [np.count_nonzero(labels == c), p.sum(dtype=np.float64)]
        sizes += [np.count_nonzero(p > bound) for bound in (SURE, POSSIBLE)]
        row |= {f"{name}_{what}": ml * size for what, size in zip(VOLUMES, sizes, strict=True)}
    return row


def read_volumes(output, model):
    """{scan: row} of the volumes.csv that is in `output`, to which the scans' rows are added."""
    path = output / "volumes.csv"
    if not path.exists():
        return {}
    expected = ["scan", *(f"{name}_{what}" for name in model.classes for what in VOLUMES)]
    with open(path, newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        if table.fieldnames != expected:
            raise DataError(f"{path}: of another model; choose another output folder")
        return {row["scan"]: row for row in table}


def to_csv(rows):
    """volumes.csv as text, three decimals."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v if isinstance(v, str) else f"{v:.3f}" for k, v in row.items()})
    return text.getvalue()


if __name__ == "__main__":
    command.run(main, "run it again")
