"""calibration.json, as it is written and read."""

import numpy as np
import pytest
from test_calibration_choice import cases

from bwcr_tf.evaluation import calibration_choice, calibration_record
from bwcr_tf.system.errors import DataError


def test_record_is_read_as_it_was_written(tmp_path):
    with pytest.raises(DataError, match="not trained to the end"):
        calibration_record.load(tmp_path, 3)
    record = calibration_choice.choose("dirichlet", *cases(2.0), "validation")
    calibration_record.save(tmp_path, record)
    assert calibration_record.finished(tmp_path)
    found, its_map = calibration_record.load(tmp_path, 3)
    assert found == record and its_map.kind == "dirichlet"
    with pytest.raises(DataError, match="network of 2 classes"):
        calibration_record.load(tmp_path, 2)


@pytest.mark.parametrize(
    ("text", "kind", "slope"),
    [
        ('{"temperature": 1.0, "choice": "none"}', "none", 1),
        ('{"temperature": 0.5, "choice": "0.5"}', "temperature", 2),
        (
            '{"temperature": 2, "choice": "fit", "validation_subjects": ["a"]}',
            "temperature",
            0.5,
        ),
    ],
)
def test_temperature_of_an_earlier_version_is_read_as_such(text, kind, slope, tmp_path):
    (tmp_path / "temperature.json").write_text(text)
    record, found = calibration_record.load(tmp_path, 2)
    assert found.kind == kind == record["kind"]
    np.testing.assert_array_equal(
        found.weights, np.vstack([slope * np.eye(2), np.zeros((2, 2))])
    )
    assert record.get("subjects") == (["a"] if "fit" in text else None)


@pytest.mark.parametrize("name", calibration_record.NAMES)
@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"temperature": 0}', '{"kind": "beta", "weights": [[1]], "bias": 0}'],
)
def test_broken_record_is_an_error(text, name, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{name}: not the calibration"):
        calibration_record.load(tmp_path, 2)
