import types

import pytest

from bwcr_tf.training import monitor as module


def test_each_column_of_validation_csv_has_its_number(tmp_path):
    found = types.SimpleNamespace(dice_per_class=[0.3], dice=0.2, ece=0.05)
    terms = {"consistency": 2.0, "supervised": 1.0, "loss": 3.0}
    module.Monitor(tmp_path, {}, ["LV"]).record(7, terms, found)
    (row,) = module.validations.read(tmp_path / "validation.csv")
    assert row == {"step": 7, "dice_LV": 0.3, "dice": 0.2, "ece": 0.05, **terms}


@pytest.mark.parametrize(
    "count, first, expected",
    [
        (1, "first step  done, 1.0 s", "expected    16:40 (1000 ms a step, validation apart)"),
        (10, "10 steps    done, 1.0 s", "expected    1:40 (100 ms a step, validation apart)"),
    ],
)
def test_duration_is_announced_by_calls_of_one_step_or_of_ten(
    count, first, expected, tmp_path, monkeypatch, capsys
):
    """A call takes a second; of 1,000 steps."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    monitor = module.Monitor(tmp_path, {}, ["LV"])
    monitor.set_model(types.SimpleNamespace(steps_per_execution=count))
    monitor.begin(0, 1000)
    monitor.progress.started = 0.0
    for call in range(20):
        clock.now += 1
        if call == 0:
            monitor.validations = 1  # before the steps that are timed
        monitor.on_train_batch_end(call * count + count - 1)
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith(first) and told[1:] == [expected]
    assert monitor.progress.done == 20 * count
