import dataclasses

import keras
import numpy as np
import pytest
from scipy import special
from test_volume_choice import GRID, case

from bwcr_tf import metrics
from bwcr_tf.evaluation import inference

TALL = dataclasses.replace(GRID, spacing_mm=(1, 2, 10))  # x, y, z
NAMES = ("A", "B")


@pytest.fixture
def drawn():
    """Probabilities [2, 6, 6, 3] of which few exceed a half, and two label maps."""
    rng = np.random.default_rng(0)
    return rng.dirichlet([3, 2, 2], (2, 6, 6)).astype(np.float32), rng.integers(
        0, 3, (2, 2, 6, 6)
    )


def test_each_column_has_its_metric_on_its_grid(drawn):
    p, (label_map, _) = drawn
    known = dataclasses.replace(case("s", label_map, "ED"), grid=TALL, original_grid=TALL)
    *of_classes, whole = inference.score(p, known, NAMES)
    prediction = p.argmax(axis=-1)
    tace = metrics.tace(p, label_map)
    dice = metrics.dice(prediction, label_map, 3)
    hd95_mm = metrics.hd95(prediction, label_map, 3, (10, 2, 1))
    for c, row in enumerate(of_classes):
        assert row == pytest.approx(
            {"subject": "s", "volume": "ED", "class": NAMES[c], "dice": dice[c],
             "hd95_mm": hd95_mm[c], "tace": tace[c], "tace_paper": tace[c] / 15}
        )  # fmt: skip
    assert whole == pytest.approx(
        {"subject": "s", "volume": "ED", "class": "all", "dice": dice.mean(), "tace": tace.mean(),
         "tace_paper": tace.mean() / 15, "ece": metrics.ece(p, label_map, foreground=True),
         "ece_all": metrics.ece(p, label_map, foreground=False),
         "nll": metrics.nll(p, label_map), "brier": metrics.brier(p, label_map)}
    )  # fmt: skip


def test_networks_are_selected_by_the_mean_dice_over_annotators(drawn):
    p, maps = drawn
    found = inference.dice(p, case("s", maps[0], others=maps[1:]))
    expected = np.mean([metrics.dice(p.argmax(axis=-1), m, 3) for m in maps], axis=0)
    np.testing.assert_allclose(found, expected)


def test_probabilities_are_the_softmax_of_a_network_that_is_not_trained():
    image = keras.Input((4, 4, 1))
    network = keras.Model(
        image, keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 1)(image))
    )
    slices = np.random.default_rng(0).random((5, 4, 4, 1), np.float32)
    weights, bias = network.layers[1].get_weights()
    logits = (slices @ weights[0, 0] + bias) / np.sqrt(1 + 1e-3)  # the statistics are 0 and 1
    found = inference.predictor(network)(slices)
    np.testing.assert_allclose(found, special.softmax(logits, axis=-1), atol=1e-6)
