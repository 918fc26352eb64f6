import dataclasses
import os

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart

from bwcr_tf.data import cache, datasets, subjects
from bwcr_tf.data.preprocess import Settings
from bwcr_tf.system.errors import DataError

SETTINGS = Settings(num_classes=4, size=32, pixel_mm=2.1, n4_shrink=0)


def test_prepare_caches_and_rebuilds_what_is_broken(acdc, tmp_path):
    subjects = datasets.find("acdc", acdc).pool[:1]
    cases = cache.prepare(subjects, SETTINGS, tmp_path, workers=1)
    files = sorted(tmp_path.iterdir())
    assert [case.name for case in cases] == ["patient001_ED", "patient001_ES"]
    assert len(files) == 2 and all(file.suffix == ".npz" for file in files)
    assert cases[0].image.shape == (3, 32, 32, 1) and cases[0].image.dtype == np.float32
    stamps = [file.stat().st_mtime_ns for file in files]
    cache.prepare(subjects, SETTINGS, tmp_path, workers=1)
    assert [file.stat().st_mtime_ns for file in files] == stamps
    files[0].write_bytes(files[0].read_bytes()[:5000])
    flipped = bytearray(files[1].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    files[1].write_bytes(flipped)
    again = cache.prepare(subjects, SETTINGS, tmp_path, workers=1)
    for old, new in zip(cases, again, strict=True):
        np.testing.assert_array_equal(old.image, new.image)
        np.testing.assert_array_equal(old.original_label_map, new.original_label_map)
        assert old.grid == new.grid and old.original_grid == new.original_grid


def test_a_scan_larger_than_the_grid_is_kept_whole(acdc, tmp_path):
    subjects = datasets.find("acdc", acdc).pool[:1]
    settings = dataclasses.replace(SETTINGS, size=16)
    for _ in range(2):
        case = cache.prepare(subjects, settings, tmp_path, workers=1)[0]
        rows, columns = case.plane.shape[1:3]
        assert case.image.shape == (3, 16, 16, 1)
        assert case.plane_grid.size == (columns, rows, 3) and (rows, columns) > (16, 16)
        inner = np.s_[:, rows // 2 - 8 : rows // 2 + 8, columns // 2 - 8 : columns // 2 + 8]
        np.testing.assert_allclose(case.plane[inner], case.image, atol=1e-6)


@pytest.mark.parametrize("cores, expected", [(3, 3), (128, 61)])
def test_as_many_processes_as_this_one_may_use(cores, expected, monkeypatch):
    monkeypatch.setattr(
        cache.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False
    )
    assert cache._cores() == expected
    monkeypatch.delattr(cache.os, "sched_getaffinity")
    monkeypatch.setattr(cache.os, "cpu_count", lambda: cores)  # macOS, Windows
    assert cache._cores() == expected


def test_cache_key_depends_on_content_and_settings(acdc):
    first, second = datasets.find("acdc", acdc).pool[0].volumes
    key = cache._key(first, SETTINGS)
    assert key == cache._key(first, dataclasses.replace(SETTINGS))
    assert key != cache._key(second, SETTINGS)
    for change in ({"size": 48}, {"pixel_mm": 1.0}, {"n4_shrink": 4}, {"orientation": "RAS"}):
        assert key != cache._key(first, dataclasses.replace(SETTINGS, **change))


@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
def test_cache_key_depends_on_pixels_in_a_file_of_their_own(acdc, tmp_path, ending):
    volume = datasets.find("acdc", acdc).pool[0].volumes[0]
    label = tmp_path / f"label.{ending}"
    sitk.WriteImage(sitk.ReadImage(volume.label), label)
    volume = dataclasses.replace(volume, label=label)
    pixels = next(path for path in tmp_path.iterdir() if path != label)
    assert volume.files == [volume.image, label, pixels]
    key = cache._key(volume, SETTINGS)
    pixels.write_bytes(pixels.read_bytes()[::-1])
    assert key != cache._key(volume, SETTINGS)


def test_prepare_names_the_file_that_is_broken(acdc, tmp_path):
    volume = datasets.find("acdc", acdc).pool[0].volumes[0]
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(volume.image.read_bytes()[:500])
    subject = subjects.Subject("s", "", (dataclasses.replace(volume, image=bad),))
    with pytest.raises(DataError, match="bad.nii.gz: cannot be read"):
        cache.prepare([subject], SETTINGS, tmp_path / "cache", workers=1)
    assert not list((tmp_path / "cache").iterdir())


def test_volumes_cut_across_their_slices_are_told_of_whenever_they_are_used(tmp_path, capsys):
    image, label_map = heart(1, (6, 40, 40))
    cut = []
    for degrees in (35, 55):  # the orientation of 55 degrees is coronal
        sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
        for what, array in (("i", image), ("l", label_map)):
            found = sitk.GetImageFromArray(array)
            found.SetSpacing((2, 2, 8))
            found.SetDirection((1, 0, 0, 0, cos, -sin, 0, sin, cos))
            sitk.WriteImage(found, tmp_path / f"{what}{degrees}.nii.gz")
        files = (tmp_path / f"{what}{degrees}.nii.gz" for what in "il")
        cut.append(subjects.Subject("s", "", (subjects.Volume(f"v{degrees}", *files),)))
    for _ in range(2):
        cache.prepare(cut, SETTINGS, tmp_path / "cache", workers=1)
        told = capsys.readouterr().err
        assert (
            "warning: 1 of 2 volumes seem to be sliced in another plane" in told
            and "v55" in told
        )
    cache.prepare(cut[:1], SETTINGS, tmp_path / "cache", workers=1)
    assert "warning" not in capsys.readouterr().err


def _killed(*_):
    os._exit(9)


def test_a_process_that_is_killed_ends_preprocessing_in_one_line(acdc, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_prepare_one", _killed)
    pool = datasets.find("acdc", acdc).pool[:1]
    with pytest.raises(DataError, match="^preprocessing volumes: a process was killed.*$"):
        cache.prepare(pool, SETTINGS, tmp_path, workers=1)
