"""Files written plane by plane against those that ITK writes of the whole array."""

import gzip
import re
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from bwcr_tf.data import grids
from bwcr_tf.predict import image_files

ENDINGS = (".nii.gz", ".nrrd", ".mha")
ARRAYS = {
    "labels": np.random.default_rng(0).integers(0, 255, (3, 5, 7), np.uint8),
    "many classes": np.random.default_rng(1).integers(0, 999, (1, 5, 7), np.uint16),
    "entropy": np.random.default_rng(2).random((4, 1, 6), np.float32),
    "probabilities": np.random.default_rng(3).random((2, 3, 5, 7), np.float32),
}
OBLIQUE = (0.6, 0.0, 0.8, 0.8, 0.0, -0.6, 0.0, 1.0, 0.0)


def itk_image(array):
    """The sitk.Image of an array [(C,) Z, Y, X] on an oblique grid, by SimpleITK alone."""
    image = sitk.GetImageFromArray(array, isVector=False)
    direction = np.eye(array.ndim)
    direction[:3, :3] = np.reshape(OBLIQUE, (3, 3))
    image.SetSpacing((0.7, 0.9, 3.1, 1.0)[: array.ndim])
    image.SetOrigin((-12.5, 3.25, 80.125, 0.0)[: array.ndim])
    image.SetDirection(direction.ravel().tolist())
    return image


def parts(path):
    """(header, voxels) of a file: what is compressed in it, as it was before."""
    content = path.read_bytes()
    if path.name.endswith(".nii.gz"):
        return gzip.decompress(content)[:352], gzip.decompress(content)[352:]
    if path.name.endswith(".nrrd"):
        header, _, voxels = content.partition(b"\n\n")
        return header, gzip.decompress(voxels)
    header, _, voxels = content.partition(b"ElementDataFile = LOCAL\n")
    size = int(re.search(rb"CompressedDataSize = (\d+)", header).group(1))
    assert size == len(voxels)
    return header.replace(str(size).encode(), b"N"), zlib.decompress(voxels)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("what", ARRAYS)
def test_files_are_what_itk_writes(what, ending, tmp_path):
    array = ARRAYS[what]
    expected = itk_image(array)
    sitk.WriteImage(expected, tmp_path / f"itk{ending}", useCompression=True)
    grid = grids.Grid.of(itk_image(array if array.ndim == 3 else array[0]))
    path = tmp_path / f"own{ending}"
    image_files.write(path, array, grid)
    assert parts(path) == parts(tmp_path / f"itk{ending}")
    found = sitk.ReadImage(path)
    assert sitk.Hash(found) == sitk.Hash(expected)
    assert found.GetPixelID() == expected.GetPixelID()
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"itk{ending}", f"own{ending}"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_strided_array_is_written_as_its_copy(ending, tmp_path):
    array = np.moveaxis(np.random.default_rng(4).random((3, 5, 7, 2), np.float32), -1, 0)
    grid = grids.Grid.of(itk_image(array[0]))
    image_files.write(tmp_path / f"a{ending}", array, grid)
    found = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / f"a{ending}"))
    np.testing.assert_array_equal(found, array)
