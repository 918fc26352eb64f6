"""Small synthetic data sets in the layouts that the readers expect; the real ones if present."""

import dataclasses
import fcntl
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
import SimpleITK as sitk

ROOT = pathlib.Path(__file__).parent.parent


def shared(name):
    """The folder of real data beside the checkout; skips the test where it is absent."""
    path = ROOT.parent / "shared" / name
    if not path.is_dir():
        pytest.skip(f"no real {name} data beside the checkout")
    return path


def write_image(path, array, spacing=(1.5, 1.5, 8.0), origin=(0, 0, 0)):
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing(spacing)
    image.SetOrigin((*origin, 0)[: array.ndim])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, path)
    return path


def dicom_tags(z, position):
    """Tags of axial MR slice `z` of one series, its first pixel at `position` (x, y, z) in mm."""
    return {
        "0008|0060": "MR",
        "0008|0016": "1.2.840.10008.5.1.4.1.1.4",
        "0008|0018": f"1.2.3.{z + 1}",
        "0020|000e": "1.2.3.100",
        "0020|0013": str(z),
        "0020|0032": "\\".join(map(str, position)),
        "0020|0037": "1\\0\\0\\0\\1\\0",
    }


def heart(seed, shape=(3, 40, 44)):
    """A noisy image [Z, H, W] of nested discs, and its label map of classes 0..3."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[1], : shape[2]]
    cy, cx = np.array(shape[1:]) / 2 + rng.uniform(-3, 3, 2)
    r = np.hypot(y - cy, x - cx) + rng.uniform(-1, 1)
    label_map = np.where(r < 6, 3, np.where(r < 9, 2, 0)) + (np.hypot(y - cy, x - cx + 13) < 4)
    label_map = np.tile(label_map, (shape[0], 1, 1)).astype(np.uint8)
    brightness = np.array([200, 500, 300, 800])[label_map]
    return (brightness + rng.normal(0, 40, shape)).astype(np.int16), label_map


def write_patient(folder, seed, group="NOR"):
    folder.mkdir(parents=True)
    (folder / "Info.cfg").write_text(f"ED: 1\nES: 12\nGroup: {group}\n")
    for frame in (1, 12):
        image, label_map = heart(10 * seed + frame)
        name = f"{folder.name}_frame{frame:02}"
        write_image(folder / f"{name}.nii.gz", image)
        write_image(folder / f"{name}_gt.nii.gz", label_map)


def write_annotated(folder, seed, annotators=3):
    """A case in the CURVAS layout: a heart, and label maps that differ by a shift of one pixel."""
    image, label_map = heart(seed)
    write_image(folder / "image.nii.gz", image)
    for k in range(annotators):
        shifted = np.roll(label_map, k, axis=2)
        write_image(folder / f"annotation_{k + 1}.nii.gz", shifted)


@pytest.fixture(scope="session")
def once(tmp_path_factory, worker_id):
    """Function (name, make) -> a folder that `make` has filled, once for all worker processes."""
    base = tmp_path_factory.getbasetemp()
    root = base if worker_id == "master" else base.parent

    def find(name, make):
        folder, done = root / name, root / f"{name}.done"
        with open(root / f"{name}.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not done.exists():
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return find


@pytest.fixture(scope="session")
def annotated(tmp_path_factory):
    """Eight training cases of one to three annotators, one for validation, two for test."""
    root = tmp_path_factory.mktemp("annotated")
    for number in range(11):
        part = "training" if number < 8 else "validation" if number < 9 else "testing"
        write_annotated(root / f"{part}_set" / f"case{number:02}", number, 1 + number % 3)
    return root


@pytest.fixture(scope="session")
def acdc(tmp_path_factory):
    """Ten training and two test patients, in two groups."""
    root = tmp_path_factory.mktemp("acdc")
    for number in range(1, 13):
        part = "training" if number <= 10 else "testing"
        write_patient(root / part / f"patient{number:03}", number, ("NOR", "DCM")[number % 2])
    return root


@pytest.fixture(scope="session")
def trained(acdc, once):
    """A run of train.py to its end, calibration and all: its folder, and what it printed."""
    from processes import script, train_flags

    def make(folder):
        whole = "--method=bwcr", "--steps=12", "--calibration=auto", "--coverage=0.9"
        printed = script("train.py", *train_flags(acdc, folder, *whole)).stdout
        (folder / "printed").write_text(printed)

    folder = once("trained", make)
    return folder / "runs/acdc/ntr4/bwcr/run1", (folder / "printed").read_text()


@pytest.fixture(scope="session")
def intensity_model(tmp_path_factory):
    """A function of preprocess.Settings to the SavedModel of a network that knows `heart`.

    Nothing is trained: each pixel's logits are those of Gaussians around the classes' brightness
    in the last channel.
    """
    import keras

    from bwcr_tf.data import preprocess
    from bwcr_tf.export import saved_model

    array = heart(1)[0]
    low, high = np.percentile(array, (2, 98))
    means = (np.array([200, 500, 300, 800]) - low) / (high - low)

    def build(settings, channels=("image",)):
        image = keras.Input((*settings.shape, len(channels)))
        x = keras.layers.AveragePooling2D(3, strides=1, padding="same")(image[..., -1:])
        layer = keras.layers.Conv2D(4, 1)
        network = keras.Model(image, layer(x))
        layer.set_weights([means[None, None, None] / 0.1**2, -(means**2) / (2 * 0.1**2)])
        folder = tmp_path_factory.mktemp("intensity") / "saved_model"
        preprocessing = dataclasses.asdict(settings) | {"percentiles": [2, 98]}
        classes = ["background", "RV", "MYO", "LV"]
        description = {"classes": classes, "preprocessing": preprocessing}
        description |= {"channels": channels, "preprocessed_by": preprocess.VERSION}
        saved_model.export(network, folder, description)
        return folder

    return build
