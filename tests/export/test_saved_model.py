import json
import pathlib

import keras
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from conftest import heart

from bwcr_tf import unet
from bwcr_tf.data import preprocess
from bwcr_tf.evaluation import temperature
from bwcr_tf.export import saved_model
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints

SIZE, PIXEL_MM = 32, 2.0
DESCRIPTION = {"classes": ["background", "A", "B"], "preprocessing": {"pixel_mm": PIXEL_MM}}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    network = unet.build_unet(SIZE, 3, width=2)
    layer = network.get_layer("logits")
    layer.set_weights([5 * layer.get_weights()[0], np.array([0.2, 0, -0.1])])
    return network


@pytest.fixture(scope="module")
def served(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    saved_model.export(network, folder, DESCRIPTION)
    return tf.saved_model.load(str(folder))


def images(count):
    return np.random.default_rng(count).random((count, SIZE, SIZE, 1), np.float32)


@pytest.mark.parametrize("count", [1, 5])
def test_served_outputs_are_the_networks(count, network, served):
    found = served.signatures["serving_default"](image=tf.constant(images(count)))
    logits = network(images(count), training=False).numpy()
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found["probabilities"], p, atol=1e-6)
    np.testing.assert_array_equal(found["labels"], logits.argmax(axis=-1))
    assert found["labels"].dtype == tf.int32 and len(np.unique(found["labels"])) > 1


def raw_scan(shape, spacing):
    image = sitk.GetImageFromArray(heart(5, shape)[0].astype(np.float32))
    image.SetSpacing(spacing)
    return image


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((4, 61, 75), (1.3, 1.07, 8.0)),  # the grid cuts it
        ((1, 40, 30), (1.3, 1.47, 8.0)),  # the grid covers it, with zeros around
        ((3, 17, 90), (2.3, 0.61, 5.0)),
    ],
)
def test_slices_signature_equals_preprocessing_without_n4(shape, spacing, network, served):
    settings = preprocess.Settings(3, SIZE, PIXEL_MM, n4_shrink=0)
    image = raw_scan(shape, spacing)
    grid = preprocess.network_grid(image, settings)
    slices = preprocess.resample(preprocess.normalize(image, settings), grid)
    p = tf.nn.softmax(network(slices[..., None], training=False)).numpy()
    expected = preprocess.restore(p, grid, preprocess.Grid.of(image))
    found = served.signatures["slices"](
        image=tf.constant(sitk.GetArrayFromImage(image)),
        spacing_mm=tf.constant(spacing[1::-1], tf.float32),
    )
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-3)
    np.testing.assert_array_equal(found["labels"], np.argmax(found["probabilities"], axis=-1))
    assert expected[..., 1:].max() > 0.1


def test_failed_export_leaves_the_old_one(network, tmp_path):
    folder = tmp_path / "saved_model"
    saved_model.export(network, folder, DESCRIPTION)
    before = (folder / "model.json").read_text()
    with pytest.raises(TypeError):
        saved_model.export(network, folder, DESCRIPTION | {"strange": {1, 2}})
    assert (folder / "model.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]


def test_missing_and_broken_weights_are_errors(tmp_path):
    with pytest.raises(DataError, match="not there"):
        checkpoints.load_best(tmp_path)
    (tmp_path / "best.keras").write_bytes(b"PK")
    with pytest.raises(DataError, match="not a whole model"):
        checkpoints.load_best(tmp_path)


def write_run(folder, network):
    from bwcr_tf.training import run_folder

    settings = preprocess.Settings(3, SIZE, PIXEL_MM, n4_shrink=0)
    spec = run_folder.RunSpec("phantom", ("A", "B"), settings, ("p1",), ("p2",), ("p3",))
    run_flags = {
        "method": "da",
        "dataset": "phantom",
        "ntr": 1,
        "run": 1,
        "data_dir": "/secret",
    }
    run_folder.claim(folder, run_flags, spec)
    network.save(folder / "best.keras")


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras 3.15, NumPy 2
def test_temperature_is_baked_into_the_export_of_a_run(network, tmp_path):
    write_run(tmp_path, network)
    saved_model.export_run(tmp_path, "2.0", ())
    assert temperature.load(tmp_path)["temperature"] == 2
    folder = tmp_path / "saved_model"
    assert json.loads((folder / "model.json").read_text())["temperature"] == 2
    assert (folder / "MODEL_CARD.md").read_text() == (tmp_path / "MODEL_CARD.md").read_text()
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](
        image=tf.constant(images(2))
    )
    logits = network(images(2), training=False) / 2
    np.testing.assert_allclose(found["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(found["probabilities"], tf.nn.softmax(logits), atol=1e-6)
    assert saved_model.export_run(tmp_path, None, ())["temperature"] == 2


def test_onnx_without_its_extra_is_an_error_that_says_so(network, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DataError, match=r"pip install '\.\[onnx\]'"):
        saved_model.export_onnx(network, tmp_path / "model.onnx")


@pytest.mark.filterwarnings("ignore")  # of tf2onnx
def test_onnx_equals_the_saved_model(network, served, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
    path = pathlib.Path(tmp_path, "model.onnx")
    saved_model.export_onnx(network, path)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 4):
        expected = served.signatures["serving_default"](image=tf.constant(images(count)))
        names = sorted(expected)
        found = dict(zip(names, session.run(names, {"image": images(count)}), strict=True))
        for name in ("probabilities", "logits"):
            np.testing.assert_allclose(found[name], expected[name], atol=1e-4)
        np.testing.assert_array_equal(found["labels"], expected["labels"])
    with pytest.raises(DataError, match="differ"):
        saved_model.export_onnx(network, path, tolerance=-1.0)
