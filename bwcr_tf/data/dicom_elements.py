"""The elements of a DICOM file, in sequences, too, where ITK does not look (PS3.5, section 7)."""

import math
import struct

from bwcr_tf.data.formats import Mismatch

# Value representations by the width of their length in explicit files (DICOM PS3.5, 7.1.2)
_SHORT = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_IMPLICIT, _BIG, _DEFLATED = (b"1.2.840.10008.1.2" + end for end in (b"", b".2", b".1.99"))
# Functional groups (shared, by frame), and plane position, orientation, pixel measures and value
# transformation in them (PS3.3, C.7.6.16), which implicit files do not call sequences
SEQUENCES = 0x52009229, 0x52009230, 0x00209113, 0x00209116, 0x00289110, 0x00289145
PIXELS, ITEM, _ENDS = 0x7FE00010, 0xFFFEE000, (0xFFFEE00D, 0xFFFEE0DD)


def elements(content):
    """Yields (path, value) of each element of a DICOM file whose data set is not compressed.

    `path` has the tags of the sequences that it is in, then its own, each as group << 16 | number.
    Sequences and their items (ITEM) come before what is in them, with an empty value. Raises as
    `_check`: GDCM makes room for up to 4 GiB.
    """
    at = 132 if content[128:132] == b"DICM" else 0
    syntax = b"" if at or content[4:6] in _SHORT else _IMPLICIT
    inside = []  # (where it ends, its tag) of each sequence and item
    fragments = False  # whether items hold pieces of compressed pixels
    content += bytes(4)  # so that a last header of 8 bytes is read as one of 12
    while at + 12 <= len(content):
        while inside and at >= inside[-1][0]:
            inside.pop()
        meta = content[at : at + 2] == b"\2\0"
        if syntax == _DEFLATED and not meta:
            return  # nothing to go through
        order = ">" if syntax == _BIG and not meta else "<"
        tag, kind, length, at = _element(content, at, order, syntax == _IMPLICIT and not meta)
        endless = length == 0xFFFFFFFF
        if tag == PIXELS or tag in _ENDS:
            fragments = endless
        if tag in _ENDS:
            if inside and inside[-1][0] == math.inf:
                inside.pop()
            continue
        outer = [tag for _, tag in inside]
        _check(tag, outer, 0 if endless else length, max(len(content) - 4 - at, 0))
        path = (*(each for each in outer if each != ITEM), tag)
        if endless or kind == b"SQ" or tag in SEQUENCES or tag == ITEM and not fragments:
            inside.append((math.inf if endless else at + length, tag))
            yield path, b""
            continue
        if tag == 0x00020010:
            syntax = content[at : at + length].rstrip(b"\0 ")
        yield path, content[at : at + length]
        at += length


def _check(tag, outer, length, left):
    """Raises on an element for which GDCM would allocate memory though its value is missing."""
    if tag == ITEM and (not outer or outer[-1] == ITEM):
        raise Mismatch("an item outside of a sequence; expected elements")
    if length > left:
        named = f"element ({tag >> 16:04x},{tag & 0xFFFF:04x})"
        raise Mismatch(f"{named} of {length} bytes; {left} follow")


def _element(content, at, order, implicit):
    """Tag, value representation, length of an element's value, and where the value begins."""
    group, number, kind = struct.unpack_from(order + "HH2s", content, at)
    if group == 0xFFFE or implicit:
        kind = b""
    where, width, header = (
        (6, "H", 8) if kind in _SHORT else (8, "I", 12) if kind in _LONG else (4, "I", 8)
    )
    (length,) = struct.unpack_from(order + width, content, at + where)
    return group << 16 | number, kind, length, at + header
