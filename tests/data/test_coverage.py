import dataclasses
import types

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import write_image

from bwcr_tf.data import coverage, preprocess
from bwcr_tf.data.settings import Settings
from bwcr_tf.data.subjects import Volume
from bwcr_tf.system.errors import DataError

SETTINGS = Settings(num_classes=3, size=(16, 32), pixel_mm=2.0, n4_shrink=0)  # 32 x 64 mm


def case(folder, subject, rows, orientation="LPS", settings=SETTINGS):
    """A Case of 2 x 40 x 40 voxels of 2 mm, whose columns 10 to 29 of some rows are labelled."""
    image = np.random.default_rng(0).random((2, 40, 40)).astype(np.float32)
    label = np.zeros((2, 40, 40), np.uint8)
    label[:, rows, 10:30] = 1
    paths = []
    for name, array in ("image", image), ("label", label):
        path = write_image(folder / f"{subject}_{name}.nii.gz", array, (2.0, 2.0, 5.0))
        turned = sitk.DICOMOrient(sitk.ReadImage(path), orientation)
        sitk.WriteImage(turned, path)
        paths.append(path)
    return preprocess.preprocess(Volume(subject, *paths), settings, subject)


@pytest.mark.parametrize("orientation", ["LPS", "RIP"])
def test_labels_beyond_the_grid_are_those_counted_by_hand(orientation, tmp_path):
    found = case(tmp_path, "a", slice(8, 20), orientation)
    expected = [2 * 4 * 20, 2 * 12 * 20]  # rows 12 to 27 are inside
    np.testing.assert_array_equal(coverage.count(found, 3), expected)
    found.original_label_map[found.original_label_map == 0] = 3  # ignored
    np.testing.assert_array_equal(coverage.count(found, 3), expected)
    second = dataclasses.replace(
        found, other_original_label_maps=found.original_label_map[None]
    )
    np.testing.assert_array_equal(coverage.count(second, 3), np.multiply(expected, 2))


def test_a_voxel_is_inside_where_its_centre_is_in_a_pixel_at_the_edge(tmp_path):
    settings = dataclasses.replace(SETTINGS, size=(16, 6), pixel_mm=3.0)  # 48 x 18 mm
    found = case(tmp_path, "a", slice(7, 20), settings=settings)
    inside = 12 * 10  # of rows 8 to 31 and columns 15 to 24
    np.testing.assert_array_equal(
        coverage.count(found, 3), [2 * (13 * 20 - inside), 2 * 13 * 20]
    )


def test_subjects_are_named_and_over_five_per_cent_refused(tmp_path, capsys):
    inside = case(tmp_path, "inside", slice(12, 28))
    coverage.check([inside], SETTINGS, refuse=True)
    assert not capsys.readouterr().err
    cases = [inside, case(tmp_path, "cut", slice(11, 13))]
    coverage.check(cases[1:], SETTINGS, refuse=False)
    assert "50 % of the labels" in capsys.readouterr().err
    with pytest.raises(
        DataError, match="5.6 % of .* 16 x 32 pixels of 2 mm .cut 50 %.; .*--size"
    ):
        coverage.check(cases, SETTINGS, refuse=True)
    coverage.check([inside, *cases], SETTINGS, refuse=True)  # 2.9 %
    assert "2.9 % of the labels" in capsys.readouterr().err


def test_all_subjects_are_named_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(coverage, "count", lambda case, _: np.array([case.cut, 100]))
    cases = [types.SimpleNamespace(subject=f"p{k}", cut=k) for k in range(9)]
    cases.append(types.SimpleNamespace(subject="p8", cut=0))  # another volume of p8
    coverage.check(cases, SETTINGS, refuse=True)
    named = ", ".join(
        f"p{k} {share} %"
        for k, share in zip((7, 6, 5, 4, 8, 3, 2, 1), (7, 6, 5, 4, 4, 3, 2, 1), strict=True)
    )
    assert f"({named})\n" in capsys.readouterr().err
