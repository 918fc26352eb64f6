"""Whether a file of a scan holds what its header claims, where ITK trusts it or crashes.

`scans` puts the file's name before what is wrong.
"""

import collections
import itertools
import math
import os
import re
import zlib

import numpy as np
import SimpleITK as sitk

from bwcr_tf.data import dicom_elements, formats
from bwcr_tf.data.formats import Mismatch

_FIELD = rb".*\0|(?!#|[^:]*:=).{500}"  # no text, or long and neither a comment nor a key
_MANY = rb"\W*NDims(?!\W*\d\s)"
_CRASH = {".nrrd": _FIELD, ".nhdr": _FIELD, ".mha": _MANY, ".mhd": _MANY}  # lines that end ITK


def check_header(path):
    """Raises on a header that would crash ITK, or make it allocate memory for missing pixels."""
    if kind := formats.other_format(path):
        raise Mismatch(f"{kind} is not read; expected {formats.READ}")
    name = path.name.lower()
    if name.endswith(formats.TEXT):
        with open(path, "rb") as file:
            for line in itertools.takewhile(bytes.strip, file):
                if re.match(_CRASH[path.suffix.lower()], line):
                    raise Mismatch(f"strange line {line[:20]}... in its header")
    elif not name.endswith(formats.NIFTI):
        collections.deque(dicom_elements.elements(path.read_bytes()), maxlen=0)


def check_pixels(path, reader):
    """Raises unless the file holds the pixels of its header, which ITK's `reader` has read.

    Returns:
      Which pixels of a NIfTI file are NaN, as an array of bool; ITK takes them for zero.
    """
    missing = np.zeros(0, bool)
    name, count = path.name.lower(), math.prod(reader.GetSize())
    most = 1032 * path.stat().st_size  # what deflate can pack into the file
    if name.endswith(formats.NIFTI):
        size = int(reader.GetMetaData("bitpix")) // 8
        found, missing = _nifti_pixels(path, reader, min(count * size, most))
    elif name.endswith(formats.TEXT):
        size = sitk.Image(1, 1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
        found = _text_pixels(path, count * size)
    else:
        size, found = 1, most  # as compressed pixels may have
        if found >= count:
            size, found = _dicom_pixels(path, reader, most)
    if found < count * size:
        raise Mismatch(f"{found} bytes of pixels; its header says {count * size}")
    return missing


def data_file(path):
    """The file with the pixels of a scan: `path`, or what its NRRD or MetaImage header names."""
    if path.name.lower().endswith(formats.TEXT) and path.is_file():
        start = head(path.read_bytes())
        apart = re.search(rb"(?im)^(?:ElementDataFile *[=:]|data ?file:) *([^\r\n]*)", start)
        if apart and (file := path.parent / os.fsdecode(apart[1].strip())).is_file():
            return file
    return path


def nearest_axes(axes):
    """The nearest matrix [3, 3] of unit vectors at right angles to axes [3, 3], in its columns.

    Raises where two axes are off a right angle by more than 1e-2, the sine.
    """
    lean = np.abs(axes.T @ axes - np.eye(3)).max()
    if not lean < 0.0105:  # 1e-2 and the rounding of float32
        raise Mismatch(
            f"axes {math.degrees(math.asin(min(lean, 1))):.1f} degrees off right angles, a "
            "sheared grid; expected right angles: resample the scan"
        )
    left, _, right = np.linalg.svd(axes)
    return left @ right


def _nifti_pixels(path, reader, size):
    """Bytes of pixels in a NIfTI file, where `size` are needed, and which pixels are NaN.

    Raises on what ITK is silent about: a gzip file cut short, a spacing of zero, which it takes
    for 1 mm, and values that are infinite, which it takes for zero.
    """
    with formats.open_unpacked(path) as file:
        header = file.read(348)
        order = "<" if header[:4] == b"\x5c\x01\0\0" else ">"  # sizeof_hdr is 348
        file.seek(max(348, int(np.frombuffer(header, order + "f4", 1, 108)[0])))  # vox_offset
        pixels = file.read(size + 2**20)  # past the end, where gzip checks its sum
    spacing_mm = np.frombuffer(header, order + "f4", 3, 80)
    if not 0 < spacing_mm.min() <= spacing_mm.max() < np.inf:
        raise Mismatch(f"spacing {spacing_mm.tolist()} mm; expected above zero")
    missing = np.zeros(0, bool)
    if kind := {"16": "f4", "64": "f8"}.get(reader.GetMetaData("datatype")):
        values = np.frombuffer(pixels, order + kind, min(size, len(pixels)) // int(kind[1]))
        missing = np.isnan(values)
        if wrong := np.count_nonzero(np.isinf(values)):
            raise Mismatch(f"{wrong} pixels are infinite")
    return len(pixels), missing


def _dicom_pixels(path, reader, most):
    """Bytes a pixel of a DICOM file, and bytes of pixels, or `most` if they are compressed."""
    found = most
    for tags, value in dicom_elements.elements(path.read_bytes()):
        if tags == (dicom_elements.PIXELS,) and value:
            found = len(value)
    bits = reader.GetMetaData("0028|0100") if reader.HasMetaDataKey("0028|0100") else "8"
    return (1 if found == most else int(bits) // 8), found


def _text_pixels(path, size):
    """Bytes of pixels in a NRRD or MetaImage file or the one it names, where `size` are needed."""
    content, file = path.read_bytes(), data_file(path)
    start = head(content)
    pixels = content[len(start) :] if file == path else file.read_bytes()
    if file == path and re.search(
        rb"(?im)^HeaderSize *[=:] *[-1-9]", start
    ):  # ITK reads the header
        raise Mismatch("HeaderSize, but its pixels follow its header; expected none, or 0")
    scale = rb"(?im)^\s*ElementToIntensityFunction(Slope|Offset) *[=:] *(\S*)"
    for what, value in re.findall(scale, start):
        usual = b"1" if what.lower() == b"slope" else b"0"
        if not re.fullmatch(usual + rb"(\.0*)?", value):  # ITK reads the values without it
            found = f"{what.decode()} of values is {value.decode()}"
            raise Mismatch(f"{found}; expected none, or {usual.decode()}")
    if re.search(rb"(?im)^(CompressedData *[=:] *[t1]|encoding: *gz)", start):
        stated = re.search(rb"(?im)^CompressedDataSize *[=:] *([1-9]\d*)", start)
        if not stated and file == path and not start.startswith(b"NRRD"):
            raise Mismatch("CompressedData without a CompressedDataSize in its header")
        pixels = pixels[: int(stated[1])] if stated else pixels
        pixels = _unpacked(pixels, size)
    return len(pixels)


def _unpacked(content, size):
    """What zlib or gzip packed, up to `size` bytes, if all of it is there and undamaged."""
    stream = zlib.decompressobj(47)
    unpacked = stream.decompress(content, size)
    beyond = stream.decompress(stream.unconsumed_tail, 1)  # checks the sum, after the last byte
    if beyond:
        raise Mismatch(f"over {size} bytes of pixels; its header says {size}")
    if len(unpacked) == size and not stream.eof:
        raise Mismatch("compressed pixels that do not end; expected a whole file")
    return unpacked


def head(content):
    """The header of a NRRD or MetaImage file, without the pixels that may follow it."""
    return re.match(rb"(?s).*?(\n\r?\n|ElementDataFile[^\n]*\n|\Z)", content)[0]
