import math

import pytest

from bwcr_tf.system.errors import DataError
from bwcr_tf.training import validations

COLUMNS = ["step", "dice_RV", "dice_LV", "dice", "ece", "loss", "supervised", "consistency"]


def row(step, dice=0.5):
    return dict(zip(COLUMNS, [step, dice, dice, dice, 0.1, 1.25, 1.0, 0.25], strict=True))


def test_a_row_is_read_as_it_was_recorded(tmp_path):
    path = tmp_path / "validation.csv"
    assert validations.columns(("RV", "LV")) == COLUMNS
    assert validations.read(path) == []
    for step in (100, 200, 300):
        validations.record(path, row(step, step / 1000))
    assert validations.read(path) == [row(100, 0.1), row(200, 0.2), row(300, 0.3)]
    assert path.read_text().splitlines()[1] == "100," + "0.100000," * 4 + (
        "1.250000,1.000000,0.250000"
    )


def test_a_run_that_resumes_from_an_earlier_step_has_each_row_once(tmp_path):
    path = tmp_path / "validation.csv"
    for step in (100, 200, 300):
        validations.record(path, row(step))
    whole = path.read_bytes()
    validations.record(path, row(200))  # killed before the checkpoint of 200, or it was damaged
    assert [found["step"] for found in validations.read(path)] == [100, 200]
    validations.record(path, row(300))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "step,dice\n100\n", "step,dice\n1,high\n"])
def test_what_is_no_table_of_validations_is_refused(text, tmp_path):
    (tmp_path / "validation.csv").write_text(text)
    with pytest.raises(DataError, match=r"validation.csv: not a table of validations"):
        validations.read(tmp_path / "validation.csv")


def test_the_selected_step_has_the_best_dice_and_a_later_tie_wins():
    assert validations.selected([row(1, 0.6), row(2, 0.7), row(3, 0.7), row(4, 0.1)]) == 3
    assert validations.selected([row(1, math.nan), row(2, math.nan)]) == 2
