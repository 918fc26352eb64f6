import pytest
import tensorflow as tf
import validation_from_logs

from bwcr_tf.data import preprocess
from bwcr_tf.training import run_folder, validations

NAMES = validations.columns(("RV", "LV"))


@pytest.fixture
def folder(tmp_path):
    settings = preprocess.Settings(num_classes=3, size=96, pixel_mm=2.66)
    spec = run_folder.RunSpec("acdc", ("RV", "LV"), settings, ("c",), ("d",), ("a", "b"))
    run_folder.claim(tmp_path / "run1", {"method": "da"}, spec)
    return tmp_path / "run1"


def write_log(folder, name, values):
    """A log with {step: {column: value}}, as training/monitor.py writes it."""
    writer = tf.summary.create_file_writer(str(folder / "logs"), filename_suffix=name)
    with writer.as_default():
        for step, row in values.items():
            for column, value in row.items():
                kind = "train" if column in validations.TERMS else "validation"
                tf.summary.scalar(f"{kind}/{column}", value, step)
    writer.close()


def row(value):
    return dict.fromkeys(NAMES[1:], value)


def test_logs_of_a_run_that_was_killed_give_each_validation_once(folder):
    write_log(folder, "a", {100: row(0.5), 200: row(0.25)})
    write_log(folder, "b", {200: row(0.25), 300: row(0.75), 400: {"loss": 1.0}})
    found = validation_from_logs.read_logs(folder, NAMES)
    expected = {100: 0.5, 200: 0.25, 300: 0.75}  # 400 was cut short
    assert found == {step: {"step": step} | row(value) for step, value in expected.items()}


def test_rows_of_a_run_are_kept_and_the_logs_fill_in_the_rest(folder):
    write_log(folder, "a", {100: row(0.5), 200: row(0.25)})
    path = folder / "validation.csv"
    validations.record(path, {"step": 200} | row(0.125))
    validation_from_logs.complete(folder)
    assert [(r["step"], r["dice"]) for r in validations.read(path)] == [
        (100, 0.5),
        (200, 0.125),
    ]
