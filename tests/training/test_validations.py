import math

import numpy as np
import pytest

from bwcr_tf.system.errors import DataError
from bwcr_tf.training import __main__ as command
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
    assert path.read_text().splitlines()[1] == (
        "100,0.100000,0.100000,0.1,0.100000,1.250000,1.000000,0.250000"
    )


def test_the_selected_step_is_that_of_the_run_where_two_are_close(tmp_path):
    path = tmp_path / "validation.csv"
    for step, dice in ((100, np.float64(0.8000004)), (200, 0.8000001), (300, 0.7)):
        validations.record(path, row(step, dice))
    assert validations.selected(validations.read(path)) == 100
    path.write_text("step,dice\n100,0.500000\n200,0.600000\n300,nan\n")  # of an earlier version
    validations.record(path, {"step": 400, "dice": 0.55})
    assert validations.selected(validations.read(path)) == 200


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


@pytest.mark.parametrize("best, early", [(100, True), (200, True), (300, False), (2000, False)])
def test_weights_of_the_first_tenth_of_the_steps_are_warned_of(best, early, tmp_path, capsys):
    rows = [row(step, 0.7 if step == best else 0.5) for step in range(100, 2001, 100)]
    validations.write(tmp_path / "validation.csv", rows)
    command.print_best(tmp_path, 0.7)
    found = capsys.readouterr()
    where = f"(step {best} of 2000{': hardly trained' * early})"
    assert found.out == f"best        validation Dice 0.700 {where}\n"
    assert (f"{tmp_path}: the weights are of step {best}," in found.err) == early


def test_a_run_without_validations_does_not_say_what_it_cannot_know(tmp_path, capsys):
    command.print_best(tmp_path, 0.7)
    assert capsys.readouterr() == ("best        validation Dice 0.700\n", "")
