import dataclasses
import json

import pytest

from bwcr_tf.data.settings import Settings, parse_size
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder


@pytest.mark.parametrize("size", [64, (64, 64), [64, 64]])
def test_a_square_is_written_as_one_number_as_in_earlier_versions(size):
    settings = Settings(4, size=size)
    assert json.dumps(dataclasses.asdict(settings)["size"]) == "64"
    assert settings == Settings(4, size=64) and settings.shape == (64, 64)


def test_a_run_on_a_rectangle_is_read_as_it_was_written(tmp_path):
    settings = Settings(2, size=(160, 224))
    spec = run_folder.RunSpec("nnunet", ("a",), settings, ("a",), ("b",), ("c",))
    run_folder.claim(tmp_path, {"size": "160,224"}, spec)
    assert json.loads((tmp_path / "split.json").read_text())["settings"]["size"] == [160, 224]
    assert run_folder.load_spec(tmp_path) == spec and spec.settings.shape == (160, 224)
    run_folder.claim(tmp_path, {"size": "160,224"}, spec)  # resumes


def test_sizes_are_rows_and_columns_or_a_squares_side():
    assert parse_size("192") == 192 and parse_size("160,224") == (160, 224)
    for text in ("160,220", "a", "16,32,48", "", "0", "-16", "16,", "1e2", "²"):
        with pytest.raises(DataError, match="expected a multiple of 16"):
            parse_size(text)
