"""Lengths in DICOM files put together by hand (PS3.5, sections 7 and A.4)."""

import struct
import zlib

import pytest

from bwcr_tf.data import header_checks

ENDLESS = 0xFFFFFFFF
EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
BIG, DEFLATED, JPEG = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"


def short(group, number, kind, value, order="<", more=0):
    head = struct.pack(order + "HH2sH", group, number, kind, len(value) + more)
    return head + value


def long(group, number, kind, value, order="<", length=None):
    length = len(value) if length is None else length
    return struct.pack(order + "HH2sHI", group, number, kind, 0, length) + value


def implicit(group, number, value, order="<", length=None):
    return struct.pack(order + "HHI", group, number, length or len(value)) + value


def item(content, length=None):
    return implicit(0xFFFE, 0xE000, content, length=length)


def end(number):
    return struct.pack("<HHI", 0xFFFE, number, 0)


ITEM_END, SEQUENCE_END = end(0xE00D), end(0xE0DD)


def dicom(syntax, content):
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + short(2, 0x10, b"UI", uid) + content


NAME = short(0x10, 0x10, b"PN", b"AB")
INNER = item(NAME)
ENDLESS_ITEM = item(NAME + ITEM_END, length=ENDLESS)
WRONG = short(0x10, 0x10, b"PN", b"ABCD", more=2)
PIXELS = long(0x7FE0, 0x10, b"OW", bytes(16))
JUNK = b"\x10\0\x10\0OB\0\0\xff\xff\xff\x7f"  # as pixels, not as an element


@pytest.mark.parametrize(
    "content",
    [
        dicom(EXPLICIT, NAME + PIXELS),
        dicom(EXPLICIT, long(8, 0x1140, b"SQ", INNER + ENDLESS_ITEM) + PIXELS),
        dicom(EXPLICIT, long(8, 0x1140, b"SQ", INNER + SEQUENCE_END, length=ENDLESS) + PIXELS),
        dicom(
            EXPLICIT,
            long(9, 1, b"UN", item(implicit(9, 2, b"AB")) + SEQUENCE_END, length=ENDLESS)
            + PIXELS,
        ),
        dicom(IMPLICIT, implicit(0x10, 0x10, b"AB") + implicit(0x7FE0, 0x10, bytes(16708))),
        implicit(8, 0x60, b"MR") + implicit(0x7FE0, 0x10, bytes(16)),
        NAME + PIXELS,
        dicom(
            BIG,
            short(0x10, 0x10, b"PN", b"AB", ">") + long(0x7FE0, 0x10, b"OW", bytes(16), ">"),
        ),
        dicom(
            JPEG,
            long(0x7FE0, 0x10, b"OB", item(b"") + item(JUNK) + SEQUENCE_END, length=ENDLESS)
            + long(0xFFFC, 0xFFFC, b"OB", bytes(2)),
        ),
        dicom(DEFLATED, zlib.compress(JUNK)),
    ],
)
def test_lengths_that_fit_pass_and_a_cut_file_does_not(content, tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(content)
    header_checks.check_header(path)
    path.write_bytes(content[:-2])
    if b".99" not in content and not content.endswith(SEQUENCE_END):
        with pytest.raises(
            header_checks.Mismatch, match="element .* of [0-9]+ bytes; [0-9]+ follow"
        ):
            header_checks.check_header(path)


@pytest.mark.parametrize(
    "content",
    [
        dicom(EXPLICIT, WRONG),
        dicom(EXPLICIT, JUNK),
        dicom(EXPLICIT, long(8, 0x1140, b"SQ", item(JUNK)) + PIXELS),
        dicom(EXPLICIT, long(8, 0x1140, b"SQ", item(JUNK, length=ENDLESS)) + PIXELS),
        dicom(EXPLICIT, long(8, 0x1140, b"SQ", item(NAME), length=0x10000000) + PIXELS),
        dicom(IMPLICIT, implicit(0x5200, 0x9230, item(NAME), length=0x10000000) + PIXELS),
        dicom(IMPLICIT, implicit(0x10, 0x10, b"AB", length=0x10000000) + bytes(8)),
        dicom(BIG, long(0x7FE0, 0x10, b"OW", bytes(16), ">", length=18)),
        dicom(JPEG, long(0x7FE0, 0x10, b"OB", item(JUNK, length=999), length=ENDLESS)),
        dicom(
            JPEG,
            long(0x7FE0, 0x10, b"OB", item(JUNK) + SEQUENCE_END, length=ENDLESS) + JUNK,
        ),
    ],
)
def test_a_length_past_the_end_is_refused(content, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(content)
    with pytest.raises(header_checks.Mismatch, match="element .* bytes; [0-9]+ follow"):
        header_checks.check_header(path)


def test_an_item_outside_of_a_sequence_is_refused_and_a_needless_delimiter_is_not(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(dicom(EXPLICIT, INNER + PIXELS))
    with pytest.raises(header_checks.Mismatch, match="item outside of a sequence"):
        header_checks.check_header(path)
    closed = long(8, 0x1140, b"SQ", item(NAME + ITEM_END) + INNER)
    path.write_bytes(dicom(EXPLICIT, closed + SEQUENCE_END + closed + PIXELS))
    header_checks.check_header(path)
