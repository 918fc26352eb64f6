"""Files of formats that are not read, made by the libraries that write them, and hidden ones."""

import bz2
import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, write_image

from bwcr_tf.data import formats, scans
from bwcr_tf.predict import scan_folder
from bwcr_tf.system.errors import DataError

IMAGE, AFFINE = heart(1)[0], np.diag([-2, -2, 6, 1.0])
NRRD = b"NRRD0004\ntype: int16\ndimension: 3\nsizes: 44 40 3\nspacings: 1 1 1\nendian: little\n"
IMAGE_ITK = sitk.GetImageFromArray(IMAGE)


def nifti_bytes(path):
    nibabel.save(nibabel.Nifti1Image(IMAGE.T, AFFINE), path.with_name("plain.nii"))
    return path.with_name("plain.nii").read_bytes()


def freesurfer(path):
    nibabel.save(nibabel.MGHImage(IMAGE.T.astype(np.float32), AFFINE), path)


def pair(path):
    nibabel.save(nibabel.Nifti1Pair(IMAGE.T, AFFINE), path)


def nifti_2(path):
    nibabel.save(nibabel.Nifti2Image(IMAGE.T, AFFINE), path)


def tiff(path):
    sitk.WriteImage(IMAGE_ITK, path.with_name("b.tif"))
    path.with_name("b.tif").rename(path)


def picture(path):
    sitk.WriteImage(IMAGE_ITK[:, :, 0] > 0, path)


def array(path):
    np.save(path, IMAGE)


def bzip2_nrrd(path):
    path.write_bytes(NRRD + b"encoding: bzip2\n\n" + bz2.compress(IMAGE.tobytes()))


def packed_nifti(path):
    path.write_bytes(gzip.compress(nifti_bytes(path)))


def bzip2_nifti(path):
    path.write_bytes(bz2.compress(nifti_bytes(path)))


FORMATS = {
    "a.mgz": ("FreeSurfer", freesurfer),
    "a.img": ("Analyze, or NIfTI", pair),
    "a.hdr": ("Analyze, or NIfTI", pair),
    "a.tif": ("TIFF", tiff),
    "no ending": ("TIFF", tiff),
    "a.png": ("a picture", picture),
    "a.npy": ("an array", array),
    "a.nrrd": ("NRRD in bzip2", bzip2_nrrd),
    "a.nii.gz": ("NIfTI-2", nifti_2),
    "b.nii": ("NIfTI-2", nifti_2),
    "c.nii": ("NIfTI in gzip", packed_nifti),
    "a.nii.bz2": ("NIfTI in another compression", bzip2_nifti),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_named_beside_those_that_are_read(name, tmp_path):
    kind, make = FORMATS[name]
    make(tmp_path / name)
    with pytest.raises(DataError) as caught:
        scans.read_image(tmp_path / name)
    expected = f"is not read; expected {formats.READ}"
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: {kind}") and message.endswith(expected)


def test_a_folder_says_what_in_it_is_not_read(tmp_path, capsys):
    write_image(tmp_path / "in" / "a.nii.gz", IMAGE)
    for name in ("b.mgz", "c.MGZ", "._d.mgz", "notes.txt", ".DS_Store"):
        (tmp_path / "in" / name).touch()
    assert list(scan_folder.find_scans(tmp_path / "in", tmp_path / "out")) == ["a"]
    assert "b.mgz: 2 such files are not read; expected NIfTI-1" in capsys.readouterr().err


def test_hidden_paths_are_those_with_a_dot_before_any_part(tmp_path):
    for name in ("._a", ".DS_Store", ".git/a", "a/.b/c"):
        assert formats.is_hidden(tmp_path / name, tmp_path)
    assert not formats.is_hidden(tmp_path / "a" / "b._c", tmp_path)
    assert not formats.is_hidden(tmp_path / ".x" / "a", tmp_path / ".x")
