import collections

import pytest

from bwcr_tf.data import splits, subjects
from bwcr_tf.system.errors import DataError


def pool(strata, each):
    return tuple(
        subjects.Subject(f"{stratum}{i:02}", stratum, ())
        for stratum in strata
        for i in range(each)
    )


@pytest.mark.parametrize("run", [1, 2, 3])
def test_split_takes_each_group_equally_often(run):
    test = tuple(subjects.Subject(f"t{i}", "A", ()) for i in range(50))
    collection = subjects.Collection(("a",), pool("ABCDE", 20), test)
    for ntr in (5, 10, 95):
        split = splits.split("acdc", collection, ntr, run)
        assert len(split.training) == ntr and len(split.validation) == 5 and split.test == test
        counts = collections.Counter(subject.stratum for subject in split.training)
        assert set(counts.values()) == {ntr // 5}
        assert not set(split.training) & set(split.validation)


def test_split_fixes_the_test_set_and_draws_the_rest():
    collection = subjects.Collection(("CG", "PZ"), pool(("3T", "DX"), 35))
    first, second = (splits.split("nci", collection, 36, run) for run in (1, 2))
    assert first.test == second.test and len(first.test) == 30
    assert set(first.validation) != set(second.validation)
    assert collections.Counter(s.stratum for s in first.test) == {"3T": 15, "DX": 15}
    small = splits.split("nci", collection, 6, 1)
    assert set(small.training) <= set(first.training)


def test_split_is_the_same_on_every_machine_and_in_every_version():
    """Frozen: committed results rely on it. Whatever the folder's order."""
    collection = subjects.Collection(("CG", "PZ"), pool(("3T", "DX"), 35)[::-1])
    names = splits.split("nci", collection, 6, 1).names()
    assert names["training"] == ("3T22", "DX25", "3T17", "DX23", "3T02", "DX03")
    assert names["validation"] == ("3T33", "DX19", "3T31", "DX29")
    assert names["test"][:6] == ("3T20", "DX31", "3T15", "DX10", "3T05", "DX02")


def test_calibration_subjects_come_after_validation_in_the_same_balanced_order():
    collection = subjects.Collection(("CG", "PZ"), pool(("3T", "DX"), 35))
    without = splits.split("nci", collection, 10, 1)
    split = splits.split("nci", collection, 6, 1, num_calibration=4)
    assert (split.validation, split.test) == (without.validation, without.test)
    assert split.calibration + split.training == without.training
    assert collections.Counter(s.stratum for s in split.calibration) == {"3T": 2, "DX": 2}
    assert without.calibration == ()
    with pytest.raises(DataError, match="and 4 for validation and 4 for calibration"):
        splits.split("nci", collection, 33, 1, num_calibration=4)


def test_too_many_training_subjects_says_how_many_there_are():
    collection = subjects.Collection(("a",), pool("AB", 10))
    with pytest.raises(DataError, match=r"ntr=12: expected 1 to 11: of 20 subjects 4"):
        splits.split("phantom", collection, 12, 1)
