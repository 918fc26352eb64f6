import dataclasses
import itertools
import types

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, write_image

from bwcr_tf.data import grids, preprocess
from bwcr_tf.predict import orientation, segmentation

SETTINGS = preprocess.Settings(num_classes=2, size=(32, 48), pixel_mm=1.5, n4_shrink=0)
STORED = ["LPS", "LAS", "RPS", "RAS", "PLS", "PRS", "ALS", "ARS"]


def arrow(shape=(4, 30, 46)):
    """An image [Z, H, W] that looks the same in no two of the eight orientations."""
    array = np.random.default_rng(0).normal(0, 2, shape)
    array[:, 13:17, 6:40] += 100
    array[:, 17:22, 33:39] += 100
    return array.astype(np.float32)


def knows_the_arrow(images):
    """Probabilities of a model that is sure where an image is as `arrow` and not sure elsewhere."""
    images = np.asarray(images)
    y, x = np.mgrid[:32, :48]
    hook = images[:, (y >= 18) & (y < 23) & (x >= 34) & (x < 40)].mean(axis=(1, 2))
    sure = 0.5 + 0.49 * hook[:, None, None]
    p = np.where(images[..., 0] > 0.5, sure, 0.01)
    return np.stack([1 - p, p], axis=-1)


def model(directions_known):
    found = segmentation.Model(
        ("arrow",),
        SETTINGS,
        None,
        "",
        {},
        class_frequencies=(0.5, 0.5),
        directions_known=directions_known,
    )
    object.__setattr__(found, "probabilities", knows_the_arrow)
    return found


def held(code, array=None):
    """The arrow as an array whose axes are those of `code`, with a header that says LPS."""
    image = sitk.GetImageFromArray(arrow() if array is None else array)
    image.SetSpacing((1.5, 1.5, 8.0))
    image = sitk.DICOMOrient(image, code)
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, 1))
    return image


def chosen(image, mode, known):
    return segmentation.predict_oriented([image], model(known), mode, "scan")[1]


def test_the_eight_orientations_keep_the_slices():
    codes = {"".join(c) for c in itertools.permutations("LRPAIS", 3)}
    for code in "LPS", "PIR":
        expected = {
            c
            for c in codes
            if set(c[:2]) & set("LR") and set(c[:2]) & set("PA") and c[2] == "S"
        }
        if code == "PIR":
            expected = {
                c
                for c in codes
                if set(c[:2]) & set("IS") and set(c[:2]) & set("PA") and c[2] == "R"
            }
        found = orientation.in_plane(code)
        assert found[0] == code and set(found) == expected and len(found) == 8


@pytest.mark.parametrize("code", STORED)
def test_search_finds_how_a_scan_is_held_and_its_output_lies_where_it_does(code, capsys):
    image = held(code)
    found, taken, _ = segmentation.predict_oriented([image], model(True), "search", "scan")
    place = grids.Grid.of(image).place
    foreground = place(sitk.GetImageFromArray(np.ascontiguousarray(found[..., 1])))
    expected = sitk.GetArrayFromImage(image) > 50
    np.testing.assert_array_equal(sitk.GetArrayFromImage(foreground) > 0.5, expected)
    assert found[..., 1].max() > 0.95  # as sure as of an arrow that is held right
    assert (taken == "LPS") == (code == "LPS") == (not capsys.readouterr().err)


def test_auto_takes_another_orientation_only_where_the_training_headers_mean_nothing(capsys):
    for known, taken in (False, "PLS"), (True, "LPS"), (None, "LPS"):
        assert chosen(held("PLS"), "auto", known) == taken
        said = capsys.readouterr().err
        assert (
            "scan: " in said
            and "axes PLS" in said
            and ("predicted" in said) == (not known and known is not None)
        )
    assert chosen(held("LPS"), "auto", False) == "LPS"
    assert chosen(held("PLS"), "header", False) == "LPS"
    assert not capsys.readouterr().err


def test_a_header_that_cuts_across_the_slices_is_seen_through(capsys):
    image = held("PRS")
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))  # says that slices are cut along x
    assert chosen(image, "stored", False) == "PSL"
    taken = chosen(image, "auto", False)
    assert orientation.same_slices(taken, "PSL") and f"axes {taken}" in capsys.readouterr().err
    found = segmentation.predict_oriented([image], model(False), "auto", "scan")[0]
    np.testing.assert_array_equal(found[..., 1] > 0.5, sitk.GetArrayFromImage(image) > 50)


def test_orientations_are_equally_likely_to_a_network_that_sees_no_direction(
    intensity_model, tmp_path, capsys
):
    settings = preprocess.Settings(num_classes=4, size=48, pixel_mm=1.5, n4_shrink=0)
    loaded = segmentation.load(intensity_model(settings))
    assert loaded.directions_known is None
    path = write_image(tmp_path / "a.nii.gz", heart(1)[0])
    blind = dataclasses.replace(loaded, directions_known=False)
    assert not segmentation.predict_all({"a": path}, blind, tmp_path / "out", "auto")
    assert "warning" not in capsys.readouterr().err


def test_large_slices_are_compared_in_the_batches_that_predict_them():
    """Sixteen of 512 x 512 in one took more memory than all else of a scan of 300."""
    batches = []

    def network(images):
        batches.append(len(images))
        return np.full((*images.shape[:3], 2), 0.5, np.float32)

    settings = dataclasses.replace(SETTINGS, size=(512, 512))
    loaded = types.SimpleNamespace(settings=settings, probabilities=network)
    image = sitk.GetImageFromArray(arrow())
    own, codes = grids.Grid.of(image), orientation.in_plane("LPS")
    found = orientation.uncertainties([image], own, loaded, codes, 2)
    assert batches == [1] * 16
    assert found == pytest.approx(dict.fromkeys(codes, np.log(2)))


def test_orientations_are_compared_on_slices_from_all_over_the_scan():
    seen = []

    def network(images):
        seen.extend(np.round(images[:, 16, 24, 0]).tolist())
        return np.full((*images.shape[:3], 2), 0.5, np.float32)

    loaded = types.SimpleNamespace(settings=SETTINGS, probabilities=network)
    image = sitk.GetImageFromArray(np.float32(np.ones((16, 60, 60)) * np.c_[:16][..., None]))
    orientation.uncertainties([image], grids.Grid.of(image), loaded, ["LPS", "LAS"], 2)
    assert seen == [5, 10] * 2  # thirds of 0 to 15


@pytest.mark.parametrize(
    ("code", "mode", "images"),
    [("LPS", "auto", 8), ("RAS", "auto", 8 + 16), ("LPS", "search", 16), ("LPS", "header", 0)],
)
def test_a_scan_held_as_its_header_says_is_compared_on_one_slice(code, mode, images, capsys):
    seen = []
    loaded, image = model(False), held(code)
    network = loaded.probabilities
    object.__setattr__(
        loaded, "probabilities", lambda images: seen.append(len(images)) or network(images)
    )
    taken = orientation.choose(
        image, preprocess.normalized([image], SETTINGS), loaded, mode, "scan"
    )
    assert sum(seen) == images and taken == code
    assert ("predicted with axes RAS" in capsys.readouterr().err) == (code == "RAS")


def test_one_slice_in_which_nothing_is_found_does_not_decide():
    array = arrow((5, 30, 46))
    array[2] = 0  # the middle
    assert chosen(held("PLS", array), "auto", False) == "PLS"
