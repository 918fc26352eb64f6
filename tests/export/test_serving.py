"""The commands and the code of docs/serving.md, as they stand there."""

import io
import json
import re
import shlex
import subprocess
import sys
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT

from bwcr_tf import unet
from bwcr_tf.export import saved_model

PAGE = (ROOT / "docs" / "serving.md").read_text("utf-8")
SIZE, PIXEL_MM = 32, 1.4  # the page's spacing: what is served is resampled to its own grid


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what the page starts from: models/heart/1 and volume.npy; and the answer."""
    folder = tmp_path_factory.mktemp("serving")
    keras.utils.set_random_seed(3)
    network = unet.build_unet((SIZE, SIZE), 3, width=2)
    layer = network.get_layer("logits")
    layer.set_weights([5 * layer.get_weights()[0], np.array([0.2, 0, -0.1])])
    description = {"classes": ["background", "A", "B"], "preprocessing": {"pixel_mm": PIXEL_MM}}
    saved_model.export(network, folder / "models" / "heart" / "1", description)
    volume = np.random.default_rng(0).normal(300, 50, (2, SIZE, SIZE)).astype(np.int16)
    np.save(folder / "volume.npy", volume)
    low, high = np.percentile(volume, (2, 98))
    image = np.clip((volume - low) / (high - low), 0, 1)[..., None].astype(np.float32)
    odds = np.exp(network(image, training=False).numpy())
    return folder, odds / odds.sum(axis=-1, keepdims=True)


def run_python(word, folder, monkeypatch):
    """The names that the page's one Python block with `word` leaves, run in a folder."""
    (block,) = (b for b in re.findall("```python\n(.*?)```", PAGE, re.DOTALL) if word in b)
    monkeypatch.chdir(folder)
    names = {}
    exec(block, names)
    return names


def command(start):
    """The page's one indented line that starts so, as words."""
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"    {start}"))
    return shlex.split(line)


def test_saved_model_cli_gives_the_networks_probabilities(folder):
    folder, expected = folder
    subprocess.run([sys.executable, *command("python -c")[1:]], cwd=folder, check=True)
    cli = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    subprocess.run(
        [*cli, *command("saved_model_cli")[1:]], cwd=folder, check=True, capture_output=True
    )
    found = np.load(folder / "answer" / "probabilities.npy")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(
        np.load(folder / "answer" / "labels.npy"), expected.argmax(axis=-1)
    )
    assert len(np.unique(expected.argmax(axis=-1))) > 1


def test_plain_tensorflow_gives_the_networks_probabilities(folder, monkeypatch):
    folder, expected = folder
    found = run_python("tf.saved_model.load", folder, monkeypatch)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_rest_call_has_the_inputs_of_the_signature(folder, monkeypatch):
    folder, expected = folder

    def serve(request):
        """What TensorFlow Serving answers to a call in column format."""
        name, verb = re.fullmatch(
            r"http://localhost:8501/v1/models/(\w+):(\w+)", request.full_url
        ).groups()
        assert verb == "predict" and request.get_method() == "POST"
        body = json.loads(request.data)
        served = tf.saved_model.load(str(folder / "models" / name / "1"))
        signature = served.signatures[body["signature_name"]]
        _, specs = signature.structured_input_signature
        assert set(body["inputs"]) == set(specs)
        inputs = {k: tf.constant(v, specs[k].dtype) for k, v in body["inputs"].items()}
        outputs = {k: v.numpy().tolist() for k, v in signature(**inputs).items()}
        return io.BytesIO(json.dumps({"outputs": outputs}).encode())

    monkeypatch.setattr(urllib.request, "urlopen", serve)
    found = run_python("urllib", folder, monkeypatch)["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_names_of_the_server_and_of_the_call_agree():
    server, docker = command("tensorflow_model_server"), command("docker run")
    assert "--model_name=heart" in server and "--rest_api_port=8501" in server
    assert "MODEL_NAME=heart" in docker and "8501:8501" in docker
    assert "/v1/models/heart:predict" in PAGE and command("cp -r")[-1] == "models/heart/1"
