import numpy as np
import pytest
import SimpleITK as sitk

from bwcr_tf.predict import volumetry


def test_volumes_are_those_counted_by_hand():
    image = sitk.GetImageFromArray(np.zeros((1, 2, 2), np.float32))
    image.SetSpacing((10, 10, 5))  # 0.5 ml
    p = np.array([0.98, 0.6, 0.45, 0.02], np.float32).reshape(1, 2, 2)
    row = volumetry.volumes(np.stack([1 - p, p], axis=-1), image, ("LV",))
    assert {name: round(value, 6) for name, value in row.items()} == {
        "LV_ml": 1.0,
        "LV_expected_ml": 1.025,
        "LV_ml_where_p>0.975": 0.5,
        "LV_ml_where_p>0.025": 1.5,
    }


def test_interval_is_that_of_fully_dependent_voxels():
    p = np.random.default_rng(0).random((1, 40, 50)).astype(np.float32)
    image = sitk.GetImageFromArray(p)
    image.SetSpacing((10, 10, 10))  # 1 ml
    row = volumetry.volumes(np.stack([1 - p, p], axis=-1), image, ("LV",))
    uniform = np.random.default_rng(1).random(4000)
    drawn = [np.count_nonzero(p > u) for u in uniform]
    bounds = row["LV_ml_where_p>0.975"], row["LV_ml_where_p>0.025"]
    np.testing.assert_allclose(np.percentile(drawn, (2.5, 97.5)), bounds, atol=25)
    assert np.mean(drawn) == pytest.approx(row["LV_expected_ml"], rel=0.03)
