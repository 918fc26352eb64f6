"""Whether a file of a scan holds what its header claims, where ITK believes it or ends the process.

`scans` puts the file's name before what is wrong.
"""

import gzip
import itertools
import math
import os
import re
import struct
import zlib

import numpy as np
import SimpleITK as sitk


class Mismatch(ValueError):
    """A file does not hold what its header claims, or claims what no scan has."""


_NIFTI = (".nii", ".nii.gz")
_FIELD = rb".*\0|(?!#|[^:]*:=).{500}"  # no text, or long and neither a comment nor a key
_MANY = rb"\W*NDims(?!\W*\d\s)"
_CRASH = {".nrrd": _FIELD, ".nhdr": _FIELD, ".mha": _MANY, ".mhd": _MANY}  # lines that end ITK
_TEXT = tuple(_CRASH)


def check_header(path):
    """Raises on a header that ITK must not see: one that ends it, or that it makes room for."""
    name = path.name.lower()
    if name.endswith(_TEXT):
        with open(path, "rb") as file:
            for line in itertools.takewhile(bytes.strip, file):
                if re.match(_CRASH[path.suffix.lower()], line):
                    raise Mismatch(f"strange line {line[:20]}... in its header")
    elif not name.endswith(_NIFTI):
        _check_dicom(path.read_bytes())


def check_pixels(path, reader):
    """Raises unless the file holds the pixels of its header, which ITK's `reader` has read."""
    name, count = path.name.lower(), math.prod(reader.GetSize())
    most = 1032 * path.stat().st_size  # what deflate can pack into the file
    if name.endswith(_NIFTI):
        size = int(reader.GetMetaData("bitpix")) // 8
        found = _nifti_pixels(path, reader, min(count * size, most))
    elif name.endswith(_TEXT):
        size = sitk.Image(1, 1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
        found = _text_pixels(path, count * size)
    else:
        size, found = 1, most
    if found < count * size:
        raise Mismatch(f"{found} bytes of pixels; its header says {count * size}")


def data_file(path):
    """The file with the pixels of a scan: `path`, or what its NRRD or MetaImage header names."""
    if path.name.lower().endswith(_TEXT) and path.is_file():
        head = _head(path.read_bytes())
        apart = re.search(rb"(?im)^(?:ElementDataFile *=|data ?file:) *([^\r\n]*)", head)
        if apart and (file := path.parent / os.fsdecode(apart[1].strip())).is_file():
            return file
    return path


def check_finite(pixels):
    """Raises where an array has values that are NaN or infinite."""
    if wrong := np.count_nonzero(~np.isfinite(pixels)):
        raise Mismatch(f"{wrong} pixels are NaN or infinite")


def _nifti_pixels(path, reader, size):
    """Bytes of pixels in a NIfTI file, where `size` are needed. Raises on what ITK is silent about.

    That is a gzip file cut short, a spacing of zero, which it takes for 1 mm, and values that
    are not finite, which it takes for zero.
    """
    with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
        header = file.read(348)
        order = "<" if header[:4] == b"\x5c\x01\0\0" else ">"  # sizeof_hdr is 348
        file.seek(max(348, int(np.frombuffer(header, order + "f4", 1, 108)[0])))  # vox_offset
        pixels = file.read(size + 2**20)  # past the end, where gzip checks its sum
    spacing_mm = np.frombuffer(header, order + "f4", 3, 80)
    if not 0 < spacing_mm.min() <= spacing_mm.max() < np.inf:
        raise Mismatch(f"spacing {spacing_mm.tolist()} mm; expected above zero")
    if kind := {"16": "f4", "64": "f8"}.get(reader.GetMetaData("datatype")):
        check_finite(
            np.frombuffer(pixels, order + kind, min(size, len(pixels)) // int(kind[1]))
        )
    return len(pixels)


def _text_pixels(path, size):
    """Bytes of pixels in a NRRD or MetaImage file or the one it names, where `size` are needed."""
    content, file = path.read_bytes(), data_file(path)
    head = _head(content)
    pixels = content[len(head) :] if file == path else file.read_bytes()
    if re.search(rb"(?im)^(CompressedData *= *[t1]|encoding: *gz)", head):
        pixels = zlib.decompressobj(47).decompress(pixels, size)  # zlib's format or gzip's
    return len(pixels)


def _head(content):
    """The header of a NRRD or MetaImage file, without the pixels that may follow it."""
    return re.match(rb"(?s).*?(\n\r?\n|ElementDataFile[^\n]*\n|\Z)", content)[0]


# Value representations by the width of their length in explicit files (DICOM PS3.5, 7.1.2)
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_IMPLICIT, _BIG, _DEFLATED = (b"1.2.840.10008.1.2" + end for end in (b"", b".2", b".1.99"))


def _check_dicom(content):
    """Raises on an element longer than the rest of its file: GDCM makes room for it, up to 4 GiB.

    Goes into sequences and their items and past the value of every other element.
    """
    at = 132 if content[128:132] == b"DICM" else 0
    syntax = b"" if at or content[4:6] in _SHORT else _IMPLICIT
    fragments = False  # whether items hold pieces of compressed pixels
    while at + 12 <= len(content):
        meta = content[at : at + 2] == b"\2\0"
        if syntax == _DEFLATED and not meta:
            return  # nothing to go through
        order = ">" if syntax == _BIG and not meta else "<"
        group, number, kind = struct.unpack_from(order + "HH2s", content, at)
        if group == 0xFFFE or syntax == _IMPLICIT and not meta:
            kind = b""
        where, width, header = (
            (6, "H", 8) if kind in _SHORT else (8, "I", 12) if kind in _LONG else (4, "I", 8)
        )
        (length,) = struct.unpack_from(order + width, content, at + where)
        at += header
        endless = length == 0xFFFFFFFF
        item = (group, number) == (0xFFFE, 0xE000)
        if (group, number) == (0x7FE0, 0x0010) or group == 0xFFFE and not item:
            fragments = endless
        if endless or kind == b"SQ" or item and not fragments:
            continue
        if length > len(content) - at:
            raise Mismatch(
                f"element ({group:04x},{number:04x}) of {length} bytes; {len(content) - at} follow"
            )
        if (group, number) == (0x0002, 0x0010):
            syntax = content[at : at + length].rstrip(b"\0 ")
        at += length
