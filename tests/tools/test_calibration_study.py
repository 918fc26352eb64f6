import random

import calibration_study
import numpy as np

from bwcr_tf.evaluation import calibration


def test_no_more_subjects_are_drawn_than_there_are():
    names = list("abcd")
    assert sorted(calibration_study.some_of(names, 9, random.Random(0))) == names
    assert calibration_study.some_of(names, 2, random.Random(0)) == random.Random(0).sample(
        names, 2
    )


def test_balanced_classes_weigh_the_same():
    targets = np.array([[1, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    pixels = calibration.Sample(np.zeros((6, 4)), targets, np.array([1, 2, 1, 2]))
    found = calibration_study.balanced(pixels)
    np.testing.assert_allclose(found.mass, [1 / 8, 2 / 8, 1 / 8, 1 / 2])
