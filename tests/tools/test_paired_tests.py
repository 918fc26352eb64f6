import csv

import paired_tests
import pytest

from bwcr_tf.system.errors import DataError


def write(folder, dice, name="scores.csv"):
    """A run's scores of {(subject, volume): Dice} over all structures; of each one it is 0."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["subject", "volume", "class", *paired_tests.METRICS])
        for (subject, volume), value in dice.items():
            rows.writerow([subject, volume, "LV", 0, "", "", 0, "", ""])
            rows.writerow([subject, volume, "all", value, 0.1, 0.1, 0.2, 0.3, 0.4])


def test_a_subject_counts_once_and_only_in_runs_and_volumes_that_both_have(tmp_path):
    ours = {("a", "ED"): 0.9, ("a", "ES"): 0.5, ("b", "ED"): 0.6, ("c", "ED"): 0.8}
    others = {("a", "ED"): 0.7, ("a", "ES"): 0.5, ("b", "ED"): 0.4, ("c", "ED"): 0.5}
    write(tmp_path / "A/run1", ours)
    write(tmp_path / "A/run2", {("a", "ED"): 0.0})
    write(tmp_path / "B/run1", others | {("d", "ED"): 0.0}, "other.csv")
    found = paired_tests.scores(tmp_path / "A", "scores.csv")
    counts, _, line, *_ = paired_tests.lines(
        found, paired_tests.scores(tmp_path / "B", "other.csv")
    )
    assert counts == "3 subjects, run1"
    # a: (0.2 + 0) / 2, b: 0.2, c: 0.3; of 2^3 flips of signs, two are as far from 0
    assert line.split() == ["dice", "70.00", "50.00", "+20.00", "[+10.00,", "+30.00]", "0.2500"]


def test_runs_on_scans_made_worse_stay_apart(tmp_path):
    name = "shifts/noise-5/scores.csv"
    for run, value in (("run1", 0.9), ("run2", 0.5)):
        (tmp_path / "A" / run / name).parent.mkdir(parents=True)
        write(tmp_path / "A" / run, {("a", "ED"): value}, name)
    found = paired_tests.scores(tmp_path / "A", name)["dice"]
    assert found == {("a", "ED", "run1"): 0.9, ("a", "ED", "run2"): 0.5}


def test_results_without_anything_in_common_are_refused(tmp_path):
    write(tmp_path / "A/run1", {("a", "ED"): 0.9})
    write(tmp_path / "B/run2", {("a", "ED"): 0.9})
    found = [paired_tests.scores(tmp_path / name, "scores.csv") for name in "AB"]
    with pytest.raises(
        DataError, match="dice: A and B have no scored volume of a run in common"
    ):
        list(paired_tests.lines(*found))
    with pytest.raises(DataError, match="no run.*/scores_last.csv there"):
        paired_tests.scores(tmp_path / "A", "scores_last.csv")


def test_a_table_that_is_cut_short_is_refused(tmp_path):
    write(tmp_path / "A/run1", {("a", "ED"): 0.9, ("b", "ED"): 0.8})
    path = tmp_path / "A/run1/scores.csv"
    path.write_text(path.read_text().removesuffix(",0.3,0.4\n"))
    with pytest.raises(DataError, match="scores.csv, line 5: another number of cells"):
        paired_tests.scores(tmp_path / "A", "scores.csv")
