"""The phantom: synthetic short-axis cine MRI with known ambiguity, in the ACDC layout."""

import os
import pathlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from bwcr_tf.phantom import anatomy, annotators, tissue
from bwcr_tf.system.progress import Progress

FRAMES = {"ED": 1, "ES": 12}


class Volume(NamedTuple):
    """One frame of a patient."""

    image: np.ndarray  # [Z, H, W] int16
    label_map: np.ndarray  # [Z, H, W] uint8: 1 RV, 2 MYO, 3 LV
    probabilities: np.ndarray  # [Z, H, W, C] float32, of what an annotator draws
    spacing_mm: tuple  # x, y, z


def group_of(number):
    """The pathology of patient `number`: every five in a row are one of each."""
    return list(anatomy.GROUPS)[(number - 1) % len(anatomy.GROUPS)]


def make_volume(seed, number, frame):
    """One frame, "ED" or "ES", of patient `number`: a pure function of its arguments."""
    traits = anatomy.draw_traits(np.random.default_rng([seed, number]), group_of(number))
    traits = anatomy.in_frame(traits, frame)
    rng = np.random.default_rng([seed, number, FRAMES[frame]])
    scene = tissue.make_scene(traits, rng)
    sds_mm = annotators.doubt_mm(traits, scene)
    label_map = annotators.draw_label_map(rng, scene, sds_mm)
    probabilities = annotators.class_probabilities(scene, sds_mm)
    spacing_mm = (traits["pixel_mm"], traits["pixel_mm"], traits["slice_mm"])
    return Volume(tissue.scan(traits, rng, scene.image), label_map, probabilities, spacing_mm)


def write_subject(folder, seed, number, with_probabilities):
    """Writes Info.cfg and both frames of patient `number` into a new folder."""
    folder.mkdir(parents=True)
    frames = "".join(f"{name}: {index}\n" for name, index in FRAMES.items())
    (folder / "Info.cfg").write_text(f"{frames}Group: {group_of(number)}\n")
    for name, index in FRAMES.items():
        volume = make_volume(seed, number, name)
        files = {"": volume.image, "_gt": volume.label_map}
        if with_probabilities:
            files["_probabilities"] = volume.probabilities  # a vector image
        for suffix, array in files.items():
            image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
            image.SetSpacing(volume.spacing_mm)
            path = folder / f"{folder.name}_frame{index:02d}{suffix}.nii.gz"
            sitk.WriteImage(image, str(path), useCompression=True)


def write(directory, num_training=45, num_testing=20, seed=0, advance=None):
    """Writes the data set whole or not at all; leaves a folder with content, or a file, as it is.

    Args:
      advance: called after each subject; by default it shows a progress line.

    Returns:
      Whether this call made the data set; False where it was there, or another one was first.
    """
    directory, total = pathlib.Path(directory).absolute(), num_training + num_testing
    if _is_filled(directory):
        return False
    directory.parent.mkdir(parents=True, exist_ok=True)
    advance = advance or Progress("making phantom subjects", total).advance
    with tempfile.TemporaryDirectory(prefix=".phantom-", dir=directory.parent) as scratch:
        whole = pathlib.Path(scratch, directory.name)

        def make(number):
            part = "training" if number <= num_training else "testing"
            folder = whole / part / f"patient{number:03d}"
            write_subject(folder, seed, number, part == "testing")

        with ThreadPoolExecutor(2) as pool:  # threads: NumPy and SciPy release the GIL
            for _ in pool.map(make, range(1, total + 1)):
                advance()
        return _move(whole, directory)


def _move(folder, directory):
    """Renames a folder; returns whether it could, or else another process was first."""
    try:
        os.rename(folder, directory)
    except OSError:
        if not _is_filled(directory):
            raise
        return False
    return True


def _is_filled(path):
    """Whether a path is a folder with content, or a file."""
    return path.is_file() or path.is_dir() and any(path.iterdir())
