import json
import os
import pathlib
import types

import keras
import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from conftest import heart

from bwcr_tf import unet
from bwcr_tf.data import grids, preprocess
from bwcr_tf.evaluation import calibration, calibration_record
from bwcr_tf.export import __main__ as export
from bwcr_tf.export import calibrated, manifest, saved_model
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints

SHAPE, PIXEL_MM = (32, 48), 2.0
DESCRIPTION = {"classes": ["background", "A", "B"], "preprocessing": {"pixel_mm": PIXEL_MM}}
DESCRIPTION["class_frequencies"] = [0.7, 0.2, 0.1]


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(3)
    network = unet.build_unet(SHAPE, 3, width=2)
    layer = network.get_layer("logits")
    layer.set_weights([5 * layer.get_weights()[0], np.array([0.2, 0, -0.1])])
    return network


@pytest.fixture(scope="module")
def served(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "saved_model"
    saved_model.export(network, folder, DESCRIPTION)
    return tf.saved_model.load(str(folder))


def images(count):
    return np.random.default_rng(count).random((count, *SHAPE, 1), np.float32)


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
    settings = preprocess.Settings(3, SHAPE, PIXEL_MM, n4_shrink=0)
    image = raw_scan(shape, spacing)
    grid = grids.network_grid(image, settings)
    slices = grids.resample(preprocess.normalize(image, settings), grid)
    p = tf.nn.softmax(network(slices[..., None], training=False)).numpy()
    expected = grids.restore(p, grid, grids.Grid.of(image))
    seen = grids.resample(grid.blank() + 1, grids.Grid.of(image))
    expected[seen == 0] = DESCRIPTION["class_frequencies"]
    found = served.signatures["slices"](
        image=tf.constant(sitk.GetArrayFromImage(image)),
        spacing_mm=tf.constant(spacing[1::-1], tf.float32),
    )
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-3)
    np.testing.assert_array_equal(found["labels"], np.argmax(found["probabilities"], axis=-1))
    assert expected[..., 1:].max() > 0.1


def test_failed_export_leaves_the_old_one(network, tmp_path):
    folder, other = tmp_path / "saved_model", tmp_path / f"saved_model.{os.getpid()}.tmp"
    other.mkdir()  # of a process of this number in another container
    saved_model.export(network, folder, DESCRIPTION)
    before = (folder / "model.json").read_text()
    with pytest.raises(TypeError):
        saved_model.export(network, folder, DESCRIPTION | {"strange": {1, 2}})
    assert (folder / "model.json").read_text() == before
    assert {*tmp_path.iterdir()} == {folder, other}


def test_an_export_that_ends_as_it_deletes_the_old_one_has_left_the_new(
    network, tmp_path, monkeypatch
):
    folder, remove = tmp_path / "saved_model", saved_model.shutil.rmtree
    saved_model.export(network, folder, DESCRIPTION)

    def interrupted(path, *arguments, **others):
        if str(path).startswith(str(tmp_path)) and path.exists():
            raise KeyboardInterrupt
        remove(path, *arguments, **others)

    monkeypatch.setattr(saved_model.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        saved_model.export(network, folder, DESCRIPTION | {"dataset": "another"})
    assert manifest.verify_manifest(folder)["dataset"] == "another"


def test_hidden_files_that_a_mac_adds_are_no_damage(network, tmp_path):
    folder = tmp_path / "saved_model"
    saved_model.export(network, folder, DESCRIPTION)
    for name in ("._saved_model.pb", "variables/._variables.index", "variables/.DS_Store"):
        (folder / name).write_bytes(b"of a Mac")
    assert manifest.verify_manifest(folder)["classes"] == DESCRIPTION["classes"]
    (folder / "variables/other").touch()
    with pytest.raises(DataError, match="damaged"):
        manifest.verify_manifest(folder)


def test_missing_and_broken_weights_are_errors(tmp_path):
    with pytest.raises(DataError, match="not there"):
        checkpoints.load_best(tmp_path)
    (tmp_path / "best.keras").write_bytes(b"PK")
    with pytest.raises(DataError, match="not a whole model"):
        checkpoints.load_best(tmp_path)


def write_run(folder, network):
    from bwcr_tf.training import run_folder

    settings = preprocess.Settings(3, SHAPE, PIXEL_MM, n4_shrink=0)
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


def a_map(kind):
    """A calibration.Map of three classes that is far from the identity."""
    basis, start, _, _ = calibration.PARAMETERS[kind](3)
    change = np.random.default_rng(5).uniform(-0.4, 0.4, len(start))
    matrix = np.tensordot(start + change, basis, 1)
    return calibration.Map(kind, matrix[:-1], matrix[-1])


@pytest.mark.parametrize("kind", calibration.PARAMETERS)
def test_calibrated_network_gives_the_probabilities_of_the_map(kind, network):
    found = calibrated.calibrate(network, a_map(kind))
    p = tf.nn.softmax(network(images(3), training=False)).numpy()
    expected = calibration.apply(a_map(kind), p)
    ours = tf.nn.softmax(found(images(3), training=False)).numpy()
    np.testing.assert_allclose(ours, expected, atol=2e-6)
    assert np.abs(expected - p).max() > 0.02 and found.input_shape == network.input_shape


def test_complement_of_a_sure_class_is_exact_in_the_network():
    image = keras.Input((1, 1, 3))
    logits = np.array([[[[50.0, 0, 1], [-60, -90, 0]]]], np.float32).reshape(2, 1, 1, 3)
    found = calibrated.calibrate(keras.Model(image, image), a_map("beta"))
    expected = a_map("beta")
    p = np.exp(logits.astype(float) - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    others = np.log(
        [
            [p[i, 0, 0, [k for k in range(3) if k != c]].sum() for c in range(3)]
            for i in range(2)
        ]
    )
    rows = np.concatenate([np.log(p[:, 0, 0]), others], axis=-1) @ expected.weights
    np.testing.assert_allclose(found(logits)[:, 0, 0], rows + expected.bias, rtol=1e-5)


def test_no_map_is_the_network_itself(network):
    assert calibrated.calibrate(network, calibration.identity(3)) is network


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras 3.15, NumPy 2
def test_map_is_baked_into_both_signatures_of_an_exported_run(network, tmp_path):
    write_run(tmp_path, network)
    its_map = a_map("beta")
    record = {"choice": "beta", "kind": "beta", "subjects": ["p2"], "candidates": {}}
    weights, bias = calibration_record.to_json(its_map)
    calibration_record.save(tmp_path, record | {"weights": weights, "bias": bias})
    coded = {"labels": {"background": 0, "A": 1, "B": 2}, "codes": {"A": ["87878005", "LV"]}}
    (tmp_path / "dataset.json").write_text(json.dumps(coded))
    saved_model.export_run(tmp_path, data_dir=str(tmp_path))
    (tmp_path / "model.onnx").touch()
    found, exported = saved_model.export_run(tmp_path, None, ())  # where its data are not there
    codes = json.loads((tmp_path / "saved_model" / "model.json").read_text())["codes"]
    assert codes == {"A": ["87878005", "LV", "Anatomical Structure"]}
    assert found["kind"] == "beta"
    assert not (tmp_path / "model.onnx").exists()  # of another map
    folder = tmp_path / "saved_model"
    description = json.loads((folder / "model.json").read_text())["calibration"]
    assert description == {"kind": "beta", "weights": weights, "bias": bias}
    assert (folder / "MODEL_CARD.md").read_text() == (tmp_path / "MODEL_CARD.md").read_text()
    served = tf.saved_model.load(str(folder)).signatures
    p = tf.nn.softmax(network(images(2), training=False)).numpy()
    expected = calibration.apply(its_map, p)
    outputs = served["serving_default"](image=tf.constant(images(2)))
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=2e-6)
    np.testing.assert_allclose(tf.nn.softmax(outputs["logits"]), expected, atol=2e-6)
    raw = served["slices"](
        image=tf.constant(images(2)[..., 0]), spacing_mm=tf.constant([PIXEL_MM] * 2)
    )
    rescaled = saved_model.signatures.rescale(tf.constant(images(2)[..., 0]))[..., None]
    p = tf.nn.softmax(exported(rescaled, training=False))
    np.testing.assert_allclose(raw["probabilities"], p, atol=1e-5)
    wide = served["slices"](
        image=tf.random.stateless_normal([1, 99, 99], [1, 2]),
        spacing_mm=tf.constant([2.0, 2.0]),
    )
    found = manifest.verify_manifest(folder)["slices_outside"]
    np.testing.assert_allclose(wide["probabilities"][0, 0, 0], found, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_an_export_that_fails_leaves_the_record_of_the_one_before(
    network, tmp_path, monkeypatch
):
    write_run(tmp_path, network)
    weights, bias = calibration_record.to_json(a_map("beta"))
    record = {"choice": "beta", "kind": "beta", "weights": weights, "bias": bias}
    calibration_record.save(tmp_path, record)
    monkeypatch.setattr(saved_model, "export", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saved_model.export_run(tmp_path, "none", 0, data_dir=str(tmp_path))
    assert json.loads((tmp_path / "calibration.json").read_text()) == record


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
def test_run_with_a_temperature_of_an_earlier_version_is_exported_with_it(network, tmp_path):
    write_run(tmp_path, network)
    (tmp_path / "temperature.json").write_text('{"temperature": 2.0, "choice": "2.0"}')
    assert saved_model.export_run(tmp_path, None, ())[0]["kind"] == "temperature"
    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    expected = tf.nn.softmax(network(images(2), training=False) / 2)
    found = served(image=tf.constant(images(2)))["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert saved_model.export_run(tmp_path, "none", ())[0]["kind"] == "none"


def test_two_channels_are_served(tmp_path):
    image = keras.Input((16, 32, 2))
    network = keras.Model(image, keras.layers.Conv2D(3, 3, padding="same")(image))
    settings = {"pixel_mm": PIXEL_MM, "windows": [None, None]}
    saved_model.export(
        network, tmp_path / "saved_model", DESCRIPTION | {"preprocessing": settings}
    )
    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures
    x = np.random.default_rng(1).random((2, 16, 32, 2), np.float32)
    expected = tf.nn.softmax(network(x, training=False))
    found = served["serving_default"](image=tf.constant(x))["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    spacing_mm = tf.constant([PIXEL_MM] * 2)
    found = served["slices"](image=tf.constant(x), spacing_mm=spacing_mm)["probabilities"]
    assert found.shape == (2, 16, 32, 3)
    x[..., 1] = 0
    zeroed = served["serving_default"](image=tf.constant(x))["probabilities"]
    assert np.abs(zeroed - expected).max() > 1e-3


def test_onnx_without_its_extra_is_an_error_that_says_so(network, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(DataError, match=r"pip install '\.\[onnx\]'"):
        saved_model.export_onnx(network, tmp_path / "model.onnx")
    given = types.SimpleNamespace(format="onnx", run_dir=str(tmp_path))
    monkeypatch.setattr(export, "FLAGS", given)
    with pytest.raises(DataError, match="onnxruntime is missing"):  # before there is a run
        export.main([])


@pytest.mark.filterwarnings("ignore")  # of tf2onnx
@pytest.mark.parametrize("kind", ["none", *calibration.PARAMETERS])
def test_onnx_equals_the_saved_model(kind, network, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
    path = pathlib.Path(tmp_path, "model.onnx")
    network = network if kind == "none" else calibrated.calibrate(network, a_map(kind))
    saved_model.export(network, tmp_path / "saved_model", DESCRIPTION)
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
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
