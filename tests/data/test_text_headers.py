"""Spacings in NRRD and MetaImage headers that are there, absent, or in another unit."""

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, shared

from bwcr_tf.data import scans
from bwcr_tf.system.errors import DataError


def nrrd(path, *fields):
    """A NRRD file of `heart` with further lines in its header."""
    image = heart(1)[0]
    lines = ["NRRD0004", "type: int16", "dimension: 3", "sizes: 44 40 3", "endian: little"]
    head = "\n".join([*lines, "encoding: raw", *fields, "", ""])
    path.write_bytes(head.encode() + image.astype("<i2").tobytes())
    return path


SPACE = "space: left-posterior-superior"
DIRECTIONS = "space directions: (1500,0,0) (0,1250,0) (0,0,8000)"


@pytest.mark.parametrize(
    "fields",
    [
        (SPACE, DIRECTIONS, 'space units: "um" "um" "um"', "space origin: (2000,3000,4000)"),
        (SPACE, DIRECTIONS, 'space units: "microns" "microns" "microns"'),
        (
            SPACE,
            "space directions: (.15,0,0) (0,.125,0) (0,0,.8)",
            'space units: "cm" "cm" "cm"',
        ),
        ("spacings: 1500 1250 8000", 'units: "µm" "µm" "µm"'),
        ("spacings: 1.5 1.25 8",),
        (
            SPACE,
            "space directions: (1.5,0,0) (0,1.25,0) (0,0,8)",
            'space units: "mm" "mm" "mm"',
        ),
    ],
)
def test_spacings_are_read_in_their_unit(fields, tmp_path):
    path = nrrd(tmp_path / "a.nrrd", *fields)
    image = scans.read_image(path)
    np.testing.assert_allclose(image.GetSpacing(), (1.5, 1.25, 8))
    assert scans.read_header(path)[2] == image.GetSpacing()
    if "origin" in str(fields):
        np.testing.assert_allclose(image.GetOrigin(), (2, 3, 4))


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("spacings: nan nan nan",),
        ("spacings: 1.5 1.25 nan",),
        (SPACE, DIRECTIONS, 'space units: "um" "um" "mm"'),
        (SPACE, DIRECTIONS, 'space units: "s" "s" "s"'),
        (SPACE, "space directions: (1,0,0) (0,1,0.2) (0,0,1)"),
    ],
)
def test_a_nrrd_without_spacings_in_one_unit_at_right_angles_is_refused(fields, tmp_path):
    with pytest.raises(DataError, match="a.nrrd: .*expected") as caught:
        scans.read_image(nrrd(tmp_path / "a.nrrd", *fields))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ((SPACE, DIRECTIONS), ""),
        (("space: RAS", DIRECTIONS), ""),
        (
            ("space: scanner-xyz", DIRECTIONS),
            "its space is scanner-xyz; its axes are taken as LPS",
        ),
        (("spacings: 1 1 8",), "its space is not said; its axes are taken as LPS"),
    ],
)
def test_a_nrrd_without_the_patients_axes_is_told(fields, told, tmp_path, capsys):
    scans.read_image(nrrd(tmp_path / "a.nrrd", *fields))
    said = capsys.readouterr().err
    assert (f"a.nrrd: {told}" in said) if told else not said


def test_a_metaimage_without_axes_is_told(tmp_path, capsys):
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(heart(1)[0]), path)
    scans.read_image(path)
    assert not capsys.readouterr().err
    path.write_bytes(path.read_bytes().replace(b"TransformMatrix = 1 0 0 0 1 0 0 0 1\n", b""))
    scans.read_image(path)
    assert "a.mha: no TransformMatrix in its header; its axes" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_compressed_pixels_are_read_whole_and_undamaged_or_not_at_all(name, tmp_path):
    image, path = sitk.GetImageFromArray(heart(1)[1].astype(np.uint8)), tmp_path / name
    sitk.WriteImage(image, path, useCompression=True)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(scans.read_image(path)), heart(1)[1])
    for lost in 1, 4:
        path.write_bytes(whole[:-lost])
        with pytest.raises(DataError, match=name):
            scans.read_image(path)
    start, refused = len(whole) // 2, 0
    for place in rng.integers(start, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = sitk.GetArrayFromImage(scans.read_image(path))
        except DataError:
            refused += 1
        else:
            np.testing.assert_array_equal(found, heart(1)[1])
    assert refused > 50


@pytest.mark.parametrize("end", [".mha", ".mhd"])
def test_a_metaimage_without_spacing_is_refused(end, tmp_path):
    image = sitk.GetImageFromArray(heart(1)[0])
    image.SetSpacing((1.5, 1.25, 8))
    path = tmp_path / f"a{end}"
    sitk.WriteImage(image, path)
    assert scans.read_image(path).GetSpacing() == (1.5, 1.25, 8)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"ElementSpacing = 1.5 1.25 8\n", b""))
    assert path.read_bytes() != content
    with pytest.raises(DataError, match=f"a{end}: no ElementSpacing in its header"):
        scans.read_image(path)


@pytest.mark.parametrize(
    "unit, expected",
    [("= um", 1.5e-3), ("= mm", 1.5), ("= cm", 15), ("= ?", 1.5), (": um", 1.5e-3)],
)
def test_the_spacing_of_a_metaimage_is_in_its_distance_units(unit, expected, tmp_path):
    image = sitk.GetImageFromArray(heart(1)[0])
    image.SetSpacing((1.5, 1.5, 1.5))
    path = tmp_path / "a.mha"
    sitk.WriteImage(image, path)
    line = f"DistanceUnits {unit}\nElementSpacing".encode()
    path.write_bytes(path.read_bytes().replace(b"ElementSpacing", line))
    assert scans.read_image(path).GetSpacing() == pytest.approx((expected,) * 3)
    path.write_bytes(path.read_bytes().replace(line[:17], b"DistanceUnits = p"))
    with pytest.raises(DataError, match="a.mha: spacings in p.*; expected one unit of mm"):
        scans.read_image(path)


def test_the_real_labels_of_nci_are_read():
    paths = sorted(shared("nci_labels").rglob("*.nrrd"))[::10]
    assert paths and all(scans.read_header(path)[2] > (0, 0, 0) for path in paths)
