import functools
from types import SimpleNamespace

import keras
import numpy as np

from bwcr_tf.benchmark import scans, step_parts, workloads


def test_times_are_medians_in_turn_without_the_first_round(monkeypatch):
    now, seconds = [0.0], {"a": iter([9, 1, 2, 6]), "b": iter([8, 3, 3, 4])}

    def part(name):
        now[0] += next(seconds[name])

    monkeypatch.setattr(workloads, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    parts = {name: functools.partial(part, name) for name in seconds}
    assert workloads.measure(parts, repeats=3) == {"a": 2, "b": 3}


def test_operations_of_a_step_are_three_times_those_of_its_convolutions():
    image = keras.Input((8, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same")(image)
    network = keras.Model(image, keras.layers.Conv2D(5, 1)(x))
    products = 8 * 6 * (4 * 3 * 3 * 2 + 5 * 4)
    assert step_parts.step_flop(network, batch_size=7) == 3 * 7 * 2 * products


def test_every_timed_prediction_is_of_the_whole_scan():
    setup = workloads.Setup((32, 32), batch_size=2, width=2)
    for name, part in scans.prediction_parts(setup).items():
        found = part()
        assert found.shape == (*scans.SHAPE, workloads.NUM_CLASSES), name
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
