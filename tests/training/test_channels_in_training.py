import json
import shutil
import types

import keras
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from conftest import heart, shared, write_image

from bwcr_tf import metrics, pipeline
from bwcr_tf.data import preprocess
from bwcr_tf.training import build, labels, run

OPTIONS = types.SimpleNamespace(
    dataset="nnunet", ntr=1, run=1, num_calibration=None, size="32", pixel_mm=None, n4_shrink=0,
    mixed_precision=False, width=4, method="baseline", radius=None, consistency_scale=1.0,
    learning_rate=1e-2, steps=1000, jit=False,
)  # fmt: skip


@pytest.fixture
def hippocampus(tmp_path):
    """Seven real cases with the gradient's magnitude as their second channel."""
    source = shared("hippocampus")
    info = json.loads((source / "dataset.json").read_text())
    info["channel_names"] = {"0": "T1", "1": "gradient"}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    for path in sorted((source / "labelsTr").glob("*.nii.gz"))[:7]:
        shutil.copy(path, tmp_path / "labelsTr")
        image = path.name.replace(".nii.gz", "_0000.nii.gz")
        shutil.copy(source / "imagesTr" / image, tmp_path / "imagesTr")
        pixels = sitk.ReadImage(source / "imagesTr" / image, sitk.sitkFloat32)
        second = tmp_path / "imagesTr" / image.replace("_0000", "_0001")
        sitk.WriteImage(sitk.GradientMagnitude(pixels), second)
    return tmp_path


@pytest.fixture
def second_only(tmp_path):
    """Seven cases whose first channel is noise and whose second is a heart."""
    info = {"channel_names": {"0": "noise", "1": "CT"}}
    info["labels"] = {"background": 0, "RV": 1, "MYO": 2, "LV": 3}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    for seed in range(7):
        image, label_map = heart(seed)
        noise = np.random.default_rng(seed).normal(size=image.shape).astype(np.float32)
        write_image(tmp_path / f"imagesTr/{seed}_0000.nii.gz", noise)
        write_image(tmp_path / f"imagesTr/{seed}_0001.nii.gz", image)
        write_image(tmp_path / f"labelsTr/{seed}.nii.gz", label_map)
    return tmp_path


def train(root, steps, how):
    """The RunSpec of a set, its one training Case, and a network after some steps on it."""
    spec, subjects = run.find_data(OPTIONS, root)
    case = preprocess.preprocess(subjects["training"][0].volumes[0], spec.settings)
    keras.utils.set_random_seed(0)
    trainer = build.trainer(spec.settings, OPTIONS)
    slices = labels.slices([case], "first", spec.settings.num_classes)
    counts = spec.settings.num_classes, trainer.method, 3, 0, steps, 0
    step = how(trainer.train_step)
    for batch in pipeline.batches(slices, *counts):
        step(batch)
    return spec, case, trainer.network


def without_second(image):
    return image * np.array([1, 0], np.float32)


def test_gradient_of_the_hippocampus_is_used_as_second_channel(hippocampus):
    spec, case, network = train(hippocampus, 2, how=lambda step: step)
    assert spec.channels == ("T1", "gradient") and spec.settings.windows == (None, None)
    assert network.input_shape == (None, 32, 32, 2)
    assert case.image.shape[1:] == (32, 32, 2) and (case.image.max(axis=(0, 1, 2)) == 1).all()
    whole, *others = (
        network(image, training=False).numpy()
        for image in (case.image, without_second(case.image), case.image[..., ::-1])
    )
    assert all(np.abs(other - whole).max() > 0.05 for other in others)


def test_a_structure_that_only_the_second_channel_shows_is_learned(second_only):
    spec, case, network = train(second_only, 80, how=tf.function)

    (first, (low, high)) = spec.settings.windows
    assert first is None and 150 < low < 300 and 800 < high < 950  # of RV, MYO and LV

    def dice(image):
        found = network(image, training=False).numpy().argmax(axis=-1)
        return np.nanmean(metrics.dice(found, case.label_map, 4))

    assert dice(case.image) > 0.5 and dice(without_second(case.image)) < 0.3
