import dataclasses

import keras
import numpy as np
import pytest
from scipy import special

from bwcr_tf.evaluation import temperature
from bwcr_tf.system.errors import DataError


def sample(true_temperature, count=20_000, seed=0):
    """Logits [N, 3] whose labels follow softmax(logits / true_temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (count, 3)).astype(np.float32)
    p = special.softmax(logits / true_temperature, axis=-1)
    label_map = (rng.random((count, 1)) > p.cumsum(axis=-1)).sum(axis=-1)
    return logits, label_map.clip(0, 2).astype(np.uint8)


@pytest.mark.parametrize("true", [0.6, 1.0, 2.5])
def test_fit_finds_the_temperature_that_made_the_labels(true):
    found, before, after = temperature.fit(*sample(true))
    assert found == pytest.approx(true, rel=0.05)
    assert after <= before


def test_fit_is_the_minimum_of_the_likelihood_over_a_grid():
    logits, label_map = sample(1.7, 2000)

    def loss(value):
        p = special.softmax(logits.astype(float) / value, axis=-1)
        return -np.log(p[np.arange(len(p)), label_map]).mean()

    grid = np.geomspace(0.5, 5, 400)
    found, before, after = temperature.fit(logits, label_map)
    assert found == pytest.approx(grid[np.argmin([loss(value) for value in grid])], rel=0.01)
    assert before == pytest.approx(loss(1), rel=1e-5)
    assert after == pytest.approx(loss(found), rel=1e-5)


def test_fit_of_a_predictor_without_errors_ends_at_the_range():
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2]]
    assert temperature.fit(0.1 * logits, np.arange(3))[0] == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("none", True), ("fit", True), ("1.5", True), ("0", False), ("-1", False), ("inf", False)]
    + [("nan", False), ("hot", False), ("", False)],
)
def test_valid_choices(choice, expected):
    assert temperature.valid(choice) is expected


@dataclasses.dataclass
class Case:
    subject: str
    image: np.ndarray
    label_map: np.ndarray


def test_fit_takes_every_pixel_of_every_case():
    logits, label_map = sample(2.0, 2 * 3 * 16 * 16)
    image = keras.Input((16, 16, 1))
    layer = keras.layers.Conv2D(3, 1)
    network = keras.Model(image, layer(image))
    kernel = np.array([8.0, -3, 1])
    layer.set_weights([kernel[None, None, None], np.zeros(3)])
    images = np.random.default_rng(1).random((2, 3, 16, 16), np.float32)
    logits = images[..., None] * kernel.astype(np.float32)
    label_map = label_map.reshape(images.shape)
    cases = [Case(f"p{i % 1}", images[i], label_map[i]) for i in range(2)]
    record = temperature.choose("fit", network, cases)
    expected = temperature.fit(logits.reshape(-1, 3), label_map.ravel())
    found = [record[key] for key in ("temperature", "nll_before", "nll_after")]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert record["pixels"] == label_map.size and record["validation_subjects"] == ["p0"]


def test_given_temperatures_need_no_cases(tmp_path):
    assert temperature.choose("none", None, ())["temperature"] == 1
    record = temperature.choose("1.5", None, ())
    assert record["temperature"] == 1.5
    with pytest.raises(DataError, match="not trained to the end"):
        temperature.load(tmp_path)
    temperature.save(tmp_path, record)
    assert temperature.load(tmp_path) == record


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"temperature": 0}', '{"temperature": "a"}'])
def test_broken_file_is_an_error(text, tmp_path):
    (tmp_path / "temperature.json").write_text(text)
    with pytest.raises(DataError, match="positive number"):
        temperature.load(tmp_path)


def test_scaled_network_divides_the_logits():
    image = keras.Input((4, 4, 1))
    network = keras.Model(image, keras.layers.Conv2D(3, 1)(image))
    x = np.random.default_rng(0).random((2, 4, 4, 1), np.float32)
    scaled = temperature.scale(network, 2.5)
    np.testing.assert_allclose(scaled(x), network(x) / 2.5, rtol=1e-6)
    assert scaled.input_shape == network.input_shape
    assert temperature.scale(network, 1) is network


def test_apply_is_the_softmax_of_the_divided_logits():
    logits = np.random.default_rng(0).normal(0, 4, (50, 3)).astype(np.float32)
    found = temperature.apply(special.softmax(logits, axis=-1), 1.7)
    np.testing.assert_allclose(found, special.softmax(logits / 1.7, axis=-1), atol=1e-6)
    sure = np.array([[1.0, 0.0]], np.float32)
    np.testing.assert_array_equal(temperature.apply(sure, 1.7), sure)
    even = np.full((1, 4), 0.25, np.float32)
    np.testing.assert_array_equal(temperature.apply(even, 0.01), even)  # 0.25^100 is 0
