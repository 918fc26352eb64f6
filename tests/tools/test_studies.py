import numpy as np
import studies


def test_a_prediction_is_memoized_by_its_input():
    seen = []

    def function(array):
        seen.append(array.shape)
        return 2 * array

    predict, image = studies.memoized(function), np.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(predict(image), predict(image.copy()))
    np.testing.assert_array_equal(predict(image[..., ::-1]), 2 * image[..., ::-1])
    assert predict(image.reshape(1, 3, 2)).shape == (1, 3, 2)
    assert seen == [(1, 2, 3), (1, 2, 3), (1, 3, 2)]
