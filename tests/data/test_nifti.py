"""Where NIfTI files say that they lie: nibabel writes them and knows what is right."""

import nibabel
import numpy as np
import pytest
from conftest import heart

from bwcr_tf.data import measured, nifti, scans
from bwcr_tf.system.errors import DataError

IMAGE = heart(1)[0]
AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.25, 0, 40], [0, 0, 8, -50], [0, 0, 0, 1.0]])
LPS = np.diag([-1, -1, 1, 1])


def save(path, sform, sform_code, qform_code=0, qform=AFFINE, units="mm", array=IMAGE):
    file = nibabel.Nifti1Image(array.T, AFFINE)
    file.set_sform(sform, sform_code)
    file.set_qform(qform, qform_code)
    file.header.set_xyzt_units(units)
    nibabel.save(file, path)
    return path


def found_affine(image):
    """The matrix from voxels to mm of a sitk.Image, in DICOM's axes."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


def sheared(shear):
    affine = AFFINE.copy()
    affine[0, 1] = shear * 1.25
    return affine


def test_a_scan_lies_where_its_sform_says_and_a_qform_elsewhere_is_told(tmp_path, capsys):
    moved = AFFINE.copy()
    moved[:3, 3] += 10, -20, 5
    path = save(tmp_path / "a.nii.gz", moved, 2, 1)
    np.testing.assert_allclose(found_affine(scans.read_image(path)), LPS @ moved, atol=1e-5)
    assert f"{path}: its sform and qform are up to 22.9 mm apart" in capsys.readouterr().err
    mirrored = np.diag([-1, 1, 1, 1]) @ AFFINE
    path = save(tmp_path / "b.nii.gz", mirrored, 2, 1)
    np.testing.assert_allclose(found_affine(scans.read_image(path)), LPS @ mirrored, atol=1e-5)
    assert "mirror each other" in capsys.readouterr().err


@pytest.mark.parametrize("codes", [(1, 1), (2, 0), (0, 1)])
def test_forms_that_agree_or_stand_alone_are_read_without_a_word(codes, tmp_path, capsys):
    image = scans.read_image(save(tmp_path / "a.nii", AFFINE, *codes))
    np.testing.assert_allclose(found_affine(image), LPS @ AFFINE, atol=1e-5)
    assert not capsys.readouterr().err


def test_an_sform_with_other_spacings_than_pixdim_is_told(tmp_path, capsys):
    """Of nibabel, for one: `Nifti1Image(array, np.eye(4))`, then `header.set_zooms`."""
    file = nibabel.Nifti1Image(IMAGE.T, np.eye(4))
    file.header.set_zooms((0.5, 0.5, 3))
    nibabel.save(file, tmp_path / "a.nii")
    assert scans.read_image(tmp_path / "a.nii").GetSpacing() == (1, 1, 1)
    told = (
        "a.nii: its sform has voxels of 1 x 1 x 1 mm and its pixdim of 0.5 x 0.5 x 3 mm; the sf"
    )
    assert told in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_form_that_is_not_finite_is_refused_or_told(value, tmp_path, capsys):
    path = save(tmp_path / "a.nii", AFFINE, 1, 1)
    header = nibabel.Nifti1Header(path.read_bytes()[:348])
    header["qoffset_y"] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    np.testing.assert_allclose(found_affine(scans.read_image(path)), LPS @ AFFINE, atol=1e-5)
    assert f"{path}: its qform is not finite" in capsys.readouterr().err
    header["srow_x"][1] = value
    path.write_bytes(header.binaryblock + path.read_bytes()[348:])
    with pytest.raises(DataError, match=rf"{path.name}: .*origin and axes .*nan"):
        scans.read_image(path)


def test_a_scan_with_neither_form_is_told(tmp_path, capsys):
    image = scans.read_image(save(tmp_path / "a.nii", None, 0, 0))
    assert image.GetSpacing() == (1.5, 1.25, 8) and scans.orientation(image) == "LPS"
    assert "neither sform nor qform" in capsys.readouterr().err


@pytest.mark.parametrize("sform_code", [0, 1])
def test_a_qform_whose_qfac_is_0_is_read_as_of_1(sform_code, tmp_path, capsys):
    """As nifti1.h says; nibabel, which reads the forms, refuses it."""
    path = save(tmp_path / "a.nii", AFFINE, sform_code, 1)
    content = bytearray(path.read_bytes())
    assert content[76:80] == np.float32(1).tobytes()  # pixdim[0]
    content[76:80] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_allclose(found_affine(scans.read_image(path)), LPS @ AFFINE, atol=1e-4)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("shear", [1e-6, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("qform_code", [0, 1])
def test_nearly_right_angles_are_read_as_the_nearest_right_ones(shear, qform_code, tmp_path):
    path = save(tmp_path / "a.nii.gz", sheared(shear), 2, qform_code)
    image = scans.read_image(path)
    axes = np.reshape(image.GetDirection(), (3, 3))
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=2e-4 if shear <= 1e-4 else 1e-6)
    given = LPS @ sheared(shear)
    np.testing.assert_allclose(found_affine(image)[:3, :3], given[:3, :3], atol=shear)
    assert scans.read_header(path)[1:] == (image.GetSize(), image.GetSpacing())


@pytest.mark.parametrize("qform_code", [0, 1])
def test_a_sheared_grid_is_refused(qform_code, tmp_path):
    path = save(tmp_path / "a.nii.gz", sheared(0.05), 2, qform_code)
    with pytest.raises(DataError, match="a.nii.gz: axes 2.9 degrees off right angles"):
        scans.read_image(path)


def test_micrometres_and_metres_are_read_as_such(tmp_path):
    for units, scale in (("micron", 1000), ("meter", 0.001)):
        affine = np.diag([scale, scale, scale, 1]) @ AFFINE
        image = scans.read_image(save(tmp_path / "a.nii", affine, 1, 1, affine, units))
        np.testing.assert_allclose(found_affine(image), LPS @ AFFINE, atol=1e-4)


def test_a_margin_of_nan_is_padding_and_a_hole_is_refused(tmp_path):
    array = IMAGE.astype(np.float32)
    array[:, :5] = np.nan
    image = scans.read_image(save(tmp_path / "a.nii", AFFINE, 1, array=array))
    mask = measured.mask(image, measured.padding(image))
    np.testing.assert_array_equal(mask, ~np.isnan(array))
    array[1, 20:22, 20] = np.nan
    with pytest.raises(DataError, match="a.nii: 2 pixels are NaN or infinite"):
        scans.read_image(save(tmp_path / "a.nii", AFFINE, 1, array=array))


def test_forms_are_copied_bit_by_bit(tmp_path):
    odd = sheared(0.004)
    scan = save(tmp_path / "a.nii.gz", odd, 2, 1, AFFINE + np.eye(4, k=3), "micron")
    header = nifti.read_header(scan)
    plane = save(tmp_path / "b.nii", AFFINE, 1, 1, array=IMAGE[:1])
    content = nifti.with_forms(plane.read_bytes()[:352], IMAGE.shape[::-1], header)
    (tmp_path / "c.nii").write_bytes(content + IMAGE.tobytes())
    copy, original = nibabel.load(tmp_path / "c.nii"), nibabel.load(scan)
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "qoffset_x", "xyzt_units"):
        np.testing.assert_array_equal(copy.header[field], original.header[field])
    np.testing.assert_array_equal(copy.affine, original.affine)
    np.testing.assert_array_equal(copy.header["pixdim"][:4], original.header["pixdim"][:4])
    np.testing.assert_array_equal(np.asarray(copy.dataobj), IMAGE.T)
