"""The probabilities of a scan by an exported model, on the scan's own grid."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from bwcr_tf.data import channels, grids, normalization, preprocess, tiles
from bwcr_tf.evaluation import volume_choice
from bwcr_tf.export import manifest
from bwcr_tf.predict import (
    orientation,
    outputs,
    page,
    scan_folder,
    thumbnails,
    volumetry,
    whole_scan,
)
from bwcr_tf.system import command, errors
from bwcr_tf.system.errors import DataError
from bwcr_tf.system.progress import Progress
from bwcr_tf.training import run_folder


@dataclasses.dataclass(frozen=True)
class Model:
    """A loaded SavedModel and what its model.json says."""

    classes: tuple[str, ...]  # foreground
    settings: preprocess.Settings
    signature: Callable
    digest: str  # of model.json, which has those of all files
    codes: dict  # class -> its code, as coding.read_codes
    class_frequencies: tuple[float, ...]  # probabilities where nothing is seen
    channels: tuple[str, ...] = ("image",)
    rules: tuple | None = None  # volumes.Rule of each class, of models that have them
    max_tiles: int = tiles.LIMIT  # of a slice, if nothing else is asked for
    directions_known: bool | None = None  # of the training scans; None: it is not known

    @property
    def name(self):
        """The start of the digest, by which outputs say which model they are of."""
        return self.digest[:16]

    def with_tiles(self, max_tiles):
        """With so many tiles a slice at most; its rules are of volumes by its own number alone."""
        if max_tiles in (None, self.max_tiles):
            return self
        return dataclasses.replace(self, max_tiles=max_tiles, rules=None)

    def probabilities(self, images):
        """The signature's probabilities [N, H, W, C] of an array of images [N, H, W, K]."""
        return self.signature(image=tf.constant(images))["probabilities"]


def predict_all(paths, model, output, mode="auto", write_also=None, max_tiles=None):
    """Predicts every scan of a dict of name to path; returns a line for each that failed.

    Args:
      paths: of several channels, the path of one: see `scan_folder.channel_paths`.
      mode: of orientation.MODES.
      max_tiles: of a slice; the model's own if None. With others, whose volumes were not
        measured, calibrated volumes and intervals are left empty.
      write_also: function of (folder, path, probabilities, model) that writes more files there.

    Raises:
      DataError: `output` has predictions of another model, or files of such names that are not of
        this command; or another process is predicting into it.
    """
    with outputs.claim(output, paths):
        return _predict_all(paths, model.with_tiles(max_tiles), output, mode, write_also)


def _predict_all(paths, model, output, mode, write_also):
    rows, articles = volumetry.read_volumes(output, model), page.read(output, model.name)
    failures = []
    progress = Progress("predicting scans", len(paths))
    try:
        for name, path in paths.items():
            stays = "; its earlier prediction stays" if name in rows else ""
            try:
                channel_paths = scan_folder.channel_paths(path, model.channels)
                page.warn_of_another(articles, name, channel_paths[0])
                rows[name], articles[name] = predict_scan(
                    channel_paths, name, model, output, mode, write_also
                )
                stays = "; its images are written"
                volumetry.write_volumes(output, list(rows.values()))
                if len(articles) == 1:  # by which other calls know the folder
                    page.write(output, articles, model.name)
            except Exception as error:  # a bad scan does not stop the others, whatever it does
                what = f"{path}: {type(error).__name__}: {command.one_line(error)}"
                failures.append((str(error) if isinstance(error, DataError) else what) + stays)
            progress.advance()
    finally:  # once, for it grows with the number of scans; after Ctrl-C, too
        if articles:
            page.write(output, articles, model.name)
    return failures


def predict_scan(paths, name, model, output, mode, write_also):
    """Writes the files of a scan; returns its row of volumes.csv and its article of the page."""
    with errors.warnings_heard() as warnings:
        images = channels.read(paths)
        path, image = paths[0], images[0]
        probabilities, code, unseen = predict_oriented(images, model, mode, path)
        held = dataclasses.replace(model.settings, orientation=code)
        orientation.check_plane(image, held, mode, path)
        voxel_ml = np.prod(image.GetSpacing()) / 1000
        found = volumetry.of_scan(probabilities, voxel_ml, model.classes, model.rules)
        whole_scan.fill(probabilities, unseen, model.class_frequencies)
        row = {"scan": name, **found, "model": model.name}
        if missing := page.missing_structures(row, model.classes):
            errors.warn(f"{path}: {missing}")
    suffix = scan_folder.ENDINGS.get(scan_folder.ending(path), ".nii.gz")
    with outputs.together(output, name) as folder:
        outputs.write(folder, suffix, probabilities, image, outputs.nifti_header(path))
        if write_also:
            write_also(folder, path, probabilities, model)
        article = page.article(
            name,
            path,
            page.uncertainty(probabilities),
            model.classes,
            row,
            thumbnails.thumbnails(probabilities, image, code),
            [warning.removeprefix(f"{path}: ") for warning in warnings],
        )
    return row, article


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
        if tuple(settings.pop("percentiles")) != normalization.PERCENTILES:
            raise ValueError("other percentiles")
        signature = tf.saved_model.load(str(folder)).signatures["serving_default"]
        classes = tuple(description["classes"][1:])
        volumetry.check_classes(classes, folder)
        return Model(
            classes,
            preprocess.Settings(**settings),
            signature,
            run_folder.digest(description),
            dict(description.get("codes", {})),
            manifest.class_frequencies(description),
            tuple(description.get("channels", ["image"])),
            volume_choice.rules(description.get("volumes"), classes),
            int(description.get("max_tiles", tiles.LIMIT)),
            description.get("directions_known"),
        )
    except DataError:
        raise
    except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        reason = command.one_line(error)
        raise DataError(f"{folder}: not a model of this package ({reason})") from error


def predict(images, model, mode="header", max_tiles=None):
    """Probabilities [Z, Y, X, C] float32 of a scan; those of the classes where nothing is seen."""
    model = model.with_tiles(max_tiles)
    probabilities, _, unseen = predict_oriented(images, model, mode, "scan")
    whole_scan.fill(probabilities, unseen, model.class_frequencies)
    return probabilities


def predict_oriented(images, model, mode, path):
    """Probabilities of a scan as volumes count them, its orientation code, and what is unseen.

    `whole_scan.fill` makes the probabilities those that are written. The scan's `images`, of the
    channels, are as of `channels.read`, `mode` is one of orientation.MODES. Warns of what no tile
    covers.
    """
    image, settings = images[0], model.settings
    code = orientation.first(image, model, mode)
    normalized = preprocess.normalized(images, dataclasses.replace(settings, orientation=code))
    chosen = orientation.choose(image, normalized, model, mode, path)
    settings = dataclasses.replace(settings, orientation=chosen)
    if not orientation.same_slices(code, chosen):
        normalized = preprocess.normalized(images, settings)
    layout = whole_scan.plan(grids.Grid.of(image), settings, model.max_tiles)
    slices = grids.on_grid(normalized, layout.grid)
    del normalized
    probabilities, unseen = whole_scan.predict(
        slices, layout, model.probabilities, model.class_frequencies
    )
    whole_scan.warn_of_unseen(unseen, path, model)
    return probabilities, chosen, unseen
