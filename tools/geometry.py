"""Is a scan segmented alike however stored? PYTHONPATH=. python tools/geometry.py RUN SCANS

Each scan is predicted as it is, in other orientations, and resampled in plane (by cubic B-splines:
linear interpolation would blur it) to finer and coarser pixels; both segmentations are compared on
the scan's own grid by Dice, averaged over classes. Without N4 beside it, to tell what the bias
field adds from what resampling takes.
"""

import argparse
import dataclasses
import pathlib

import numpy as np
import SimpleITK as sitk

from bwcr_tf import metrics
from bwcr_tf.data import grids, scans
from bwcr_tf.evaluation import significance
from bwcr_tf.predict import segmentation
from bwcr_tf.system import command
from bwcr_tf.system.errors import DataError
from bwcr_tf.system.progress import Progress

ORIENTATIONS = ("RAS", "PIR", "ASL")
SPACINGS = (0.8, 1.25)  # times that of the scan


def resampled(image, factor):
    """The scan on pixels `factor` times as large."""
    x, y, z = image.GetSpacing()
    width, height, depth = image.GetSize()
    grid = grids.Grid(
        (int(width / factor), int(height / factor), depth),
        (x * factor, y * factor, z),
        image.GetOrigin(),
        image.GetDirection(),
    )
    cubic = (sitk.Transform(), sitk.sitkBSpline, 0.0, sitk.sitkFloat32)
    return sitk.Resample(image, grid.blank(), *cubic)


def segment(image, model, original):
    """Label map [Z, Y, X] of a scan on the grid of `original`, the same scan as it was."""
    pair = grids.Grid.of(image), grids.Grid.of(original)
    return grids.restore(segmentation.predict([image], model), *pair).argmax(axis=-1)


def compare(path, model):
    """Dice between a scan's segmentation as it is and otherwise, by how it is stored."""
    image = scans.read_image(path)
    others = {code: sitk.DICOMOrient(image, code) for code in ORIENTATIONS}
    others |= {f"pixels x {factor}": resampled(image, factor) for factor in SPACINGS}
    expected = segment(image, model, image)
    num_classes = len(model.classes) + 1
    return {
        how: significance.mean(
            metrics.dice(segment(other, model, image), expected, num_classes)
        )
        for how, other in others.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of a run or a SavedModel")
    parser.add_argument("scans", type=pathlib.Path, help="folder of scans")
    parser.add_argument("--pattern", default="*frame01.nii.gz", help="which of its files")
    parser.add_argument(
        "--count", type=int, default=10, help="how many of them, drawn at random"
    )
    options = parser.parse_args()
    model = segmentation.load(options.model)
    paths = sorted(options.scans.rglob(options.pattern))
    if not paths:
        raise DataError(f"{options.scans}: no {options.pattern} in it or below")
    chosen = np.random.default_rng(0).permutation(len(paths))[: options.count]
    plain = dataclasses.replace(model.settings, n4_shrink=0)
    models = {"as it is": model, "without N4": dataclasses.replace(model, settings=plain)}
    progress = Progress("comparing scans", len(chosen))
    found = {name: [] for name in models}
    for i in chosen:
        for name, each in models.items():
            found[name].append(compare(paths[i], each))
        progress.advance()
    print(f"Dice to the scan as it is: mean (least) of {len(chosen)} scans")
    for name, rows in found.items():
        for how in rows[0]:
            values = [row[how] for row in rows]
            print(f"{name:>12}, {how:<13} {np.mean(values):.3f} ({np.min(values):.3f})")


if __name__ == "__main__":
    with command.errors_in_one_line():
        main()
