import random

import calibration_study


def test_no_more_subjects_are_drawn_than_there_are():
    names = list("abcd")
    assert sorted(calibration_study.some_of(names, 9, random.Random(0))) == names
    assert calibration_study.some_of(names, 2, random.Random(0)) == random.Random(0).sample(
        names, 2
    )
