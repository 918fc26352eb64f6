import functools
import itertools
import resource
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import SimpleITK as sitk

from bwcr_tf.benchmark import memory, scans, step_parts, steps, training_runs, workloads
from bwcr_tf.methods import METHODS
from bwcr_tf.predict import segmentation


def test_times_are_medians_in_turn_without_the_first_round(monkeypatch):
    now, seconds = [0.0], {"a": iter([9, 1, 2, 6]), "b": iter([8, 3, 3, 4])}

    def part(name):
        now[0] += next(seconds[name])

    monkeypatch.setattr(workloads, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    parts = {name: functools.partial(part, name) for name in seconds}
    assert workloads.measure(parts, repeats=3) == {"a": 2, "b": 3}


def test_input_is_timed_by_the_clock_and_by_the_processor_without_its_first_batches(
    monkeypatch,
):
    now = {"clock": 0.0, "processor": 0.0}

    def batches(setup, method, count):
        for batch in range(count):
            now["clock"] += 50 if batch < 10 else 2
            now["processor"] += 80 if batch < 10 else method.num_views
            yield batch

    clocks = {"perf_counter": lambda: now["clock"], "process_time": lambda: now["processor"]}
    monkeypatch.setattr(steps, "time", SimpleNamespace(**clocks))
    monkeypatch.setattr(workloads, "batches", batches)
    table = steps.input_pipeline(workloads.Setup((32, 32), batch_size=4, width=2))
    assert list(table.values()) == [2, 1000, 2, 2000]  # images/s and ms, of one view and of two


def test_operations_of_a_step_are_three_times_those_of_its_convolutions():
    image = keras.Input((8, 6, 2))
    x = keras.layers.Conv2D(4, 3, padding="same")(image)
    network = keras.Model(image, keras.layers.Conv2D(5, 1)(x))
    products = 8 * 6 * (4 * 3 * 3 * 2 + 5 * 4)
    assert step_parts.step_flop(network, batch_size=7) == 3 * 7 * 2 * products


def test_every_timed_prediction_is_of_the_whole_scan():
    setup = workloads.Setup((32, 32), batch_size=2, width=2)
    parts = scans.prediction_parts(setup)
    assert len(parts.pop("orientations on one slice")()) == 8
    for name, part in parts.items():
        found = part()
        assert found.shape == (*scans.SHAPE, workloads.NUM_CLASSES), name
        np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)


def test_every_part_of_a_volume_is_timed_on_all_its_slices():
    parts, count = scans.volume_parts(workloads.Setup((32, 32), batch_size=2, width=2))
    assert parts["prediction"]().shape == (count, 32, 32, workloads.NUM_CLASSES)
    assert parts["preprocessing apart from N4"]()[0].shape == (count, 32, 32)
    assert parts["N4"]().GetDepth() == count
    assert (
        np.isfinite(parts["validation"]()).all() and parts["metrics"]() and parts["analysis"]()
    )


def test_memory_is_measured_of_a_process_of_its_own():
    """Of which more is touched than this one ever had, from which Linux starts to count."""
    size = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 100_000_000
    work = f"a = bytearray(b'1') * {size}\nwhile time.process_time() < 1.5: pass\ntime.sleep(3)"
    gigabytes, seconds = memory.child_usage([sys.executable, "-c", f"import time\n{work}"])
    assert size < 1e9 * gigabytes < size + 50e6 and 1.5 <= seconds < 4  # to free it takes time
    with pytest.raises(subprocess.CalledProcessError):
        memory.child_usage([sys.executable, "-c", "import sys; sys.exit(2)"])


def test_the_large_scan_has_pixels_of_its_model_which_predicts_it(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "SHAPE", (2, 64, 64))
    command = memory.prediction(workloads.Setup((32, 32), 2, width=2), tmp_path)
    assert command[1:3] == ["-m", "bwcr_tf.predict"]
    paths = dict(flag.removeprefix("--").split("=") for flag in command[3:])
    model = segmentation.load(paths["model"])
    image = sitk.Cast(sitk.ReadImage(paths["input"]), sitk.sitkFloat32)
    assert image.GetSpacing()[:2] == pytest.approx((model.settings.pixel_mm,) * 2)
    assert segmentation.predict([image], model).shape == (2, 64, 64, workloads.NUM_CLASSES)


def test_steps_of_fit_are_timed_one_or_ten_a_call(monkeypatch):
    """Each call takes a second by this clock."""
    clock = itertools.count()
    monkeypatch.setattr(
        training_runs, "time", SimpleNamespace(perf_counter=lambda: next(clock))
    )
    setup = workloads.Setup((32, 32), batch_size=2, width=2)
    trainer = workloads.make_trainer(setup, METHODS["da"])
    batches = workloads.batches(setup, METHODS["da"], training_runs.UNTIMED + 10)
    found = [training_runs.fit_seconds(trainer, batches, together) for together in (1, 10)]
    assert found == [1, 0.1] and int(trainer.optimizer.iterations) == 60
