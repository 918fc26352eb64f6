"""Images written plane by plane: the files that ITK writes, in less memory."""

import errno
import itertools
import os
import pathlib
import re
import shutil
import tempfile
import zlib

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import formats, nifti

_ZLIB, _GZIP = 15, 31  # wbits of zlib.compressobj


def write(path, array, grid, header=None):
    """Writes an array [(C,) Z, Y, X] on a grids.Grid as .nii.gz, .nrrd or .mha.

    A NIfTI file has the forms of the scan's `header`, if there is one.

    Raises:
      OSError: it could not be written whole.
    """
    shape = array.shape[::-1]
    planes = (np.ascontiguousarray(array[index]) for index in np.ndindex(array.shape[:-2]))
    first = _of_one_voxel(path, array, grid)
    with open(path, "wb") as file:
        if formats.has_ending(path, ".nii.gz"):
            start = nifti.with_forms(_up_to(first, b"n+1\0") + bytes(4), shape, header)
            _compress(itertools.chain([start], planes), file, _GZIP)
        elif formats.has_ending(path, ".nrrd"):
            start = _up_to(first, b"\n\n")
            file.write(_with(start, b"sizes: ", *shape))
            _compress(planes, file, _GZIP)
        else:
            start = _up_to(first, b"ElementDataFile = LOCAL\n")
            _write_metaimage(file, _with(start, b"DimSize = ", *shape), planes)


def placed(array, grid):
    """A sitk.Image of an array [Z, Y, X] on a Grid, or of [C, Z, Y, X]: then the class is 4th."""
    if array.ndim == 3:
        return grid.place(sitk.GetImageFromArray(array))
    return sitk.JoinSeries([placed(part, grid) for part in array])


def _of_one_voxel(path, array, grid):
    """The bytes of ITK's file of the first voxel of an array: its header is as the array's."""
    voxel = placed(np.ascontiguousarray(array[..., :1, :1, :1]), grid)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        name = pathlib.Path(folder, path.name.removesuffix(".gz"))
        sitk.WriteImage(voxel, name, useCompression=True)
        return name.read_bytes()


def _up_to(content, end):
    """The bytes of a file up to the end of its header."""
    head, end, _ = content.partition(end)
    if not end:
        raise OSError(errno.EIO, "ITK did not write a whole header")
    return head + end


def _with(start, field, *numbers):
    """A text header with other numbers in the line of a field."""
    line = field + " ".join(map(str, numbers)).encode()
    return re.sub(rb"(?m)^" + field + rb".*$", line, start)


def _write_metaimage(file, start, planes):
    """Writes a .mha, whose header says how many bytes its compressed voxels are."""
    with tempfile.TemporaryFile(dir=os.path.dirname(file.name)) as data:
        _compress(planes, data, _ZLIB)
        file.write(_with(start, b"CompressedDataSize = ", data.tell()))
        data.seek(0)
        shutil.copyfileobj(data, file)


def _compress(blocks, file, wbits):
    """Writes arrays or bytes compressed, at the fastest level."""
    stream = zlib.compressobj(1, wbits=wbits)
    for block in blocks:
        file.write(stream.compress(block))
    file.write(stream.flush())
