"""DICOM files of a few elements, put together by hand (PS3.5, explicit little endian)."""

import struct

import numpy as np

ENHANCED_MR, MR = "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4"
_LONG = ("OW", "OB", "SQ")


def element(tag, kind, value):
    """The bytes of one element; `value` is bytes, a text or numbers for DS, or an int for US."""
    if isinstance(value, int):
        value = struct.pack("<h" if kind == "SS" else "<H", value)
    elif not isinstance(value, bytes):
        text = value if isinstance(value, str) else "\\".join(f"{v:.10g}" for v in value)
        value = text.encode()
    value += (b"\0" if kind == "UI" else b" ") * (len(value) % 2) if kind != "SQ" else b""
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, kind.encode())
    length = struct.pack("<HI" if kind in _LONG else "<H", *[0] * (kind in _LONG), len(value))
    return head + length + value


def sequence(tag, *items):
    """The bytes of a sequence of items, each the bytes of its elements."""
    parts = (struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in items)
    return element(tag, "SQ", b"".join(parts))


def place(position, axes=(1, 0, 0, 0, 1, 0)):
    """Elements of a slice: {tag: (kind, value)}."""
    return {
        0x00200032: ("DS", position),
        0x00200037: ("DS", axes),
        0x00280030: ("DS", (2, 2)),
        0x00180050: ("DS", (6,)),
    }


def write(path, pixels, elements, sop=MR):
    """Writes pixels [Y, X] or [Z, Y, X] int16 with further elements {tag: (kind, value)}, of which
    None leaves one out."""
    meta = element(0x00020002, "UI", sop) + element(0x00020003, "UI", f"1.2.3.{path.stem}")
    meta += element(0x00020010, "UI", "1.2.840.10008.1.2.1")
    found = {
        0x00080016: ("UI", sop),
        0x00080018: ("UI", f"1.2.3.{path.stem}"),
        0x00080060: ("CS", "MR"),
        0x0020000D: ("UI", "1.2.3"),
        0x0020000E: ("UI", "1.2.3.100"),
        0x00280002: ("US", 1),
        0x00280004: ("CS", "MONOCHROME2"),
        0x00280010: ("US", pixels.shape[-2]),
        0x00280011: ("US", pixels.shape[-1]),
        0x00280100: ("US", 16),
        0x00280101: ("US", 16),
        0x00280102: ("US", 15),
        0x00280103: ("US", 1),
        **elements,
        0x7FE00010: ("OW", pixels.astype("<i2").tobytes()),
    }
    content = [element(tag, *found[tag]) for tag in sorted(found) if found[tag]]
    head = element(0x00020000, "UL", struct.pack("<I", len(meta)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + head + meta + b"".join(content))
    return path


def write_series(
    folder, volume, position=lambda k: (-10, -20, 6 * k), edit=lambda k: {}, **axes
):
    """Writes a file for each slice of a volume [Z, Y, X]; `edit` gives further elements."""
    for k, pixels in enumerate(volume):
        write(folder / f"{k}.dcm", pixels, place(position(k), **axes) | edit(k))
    return folder


def write_frames(path, volume, positions, measures=True, rescale=None):
    """Writes an enhanced file of which frame k of [Z, Y, X] lies at positions[k]."""

    def frame(k):
        found = [sequence(0x00209113, element(0x00200032, "DS", positions[k]))]
        if rescale:
            slope, intercept = (element(0x00281053 - i, "DS", (rescale[k][i],)) for i in (0, 1))
            found.append(sequence(0x00289145, intercept + slope))
        return b"".join(found)

    shared = sequence(0x00209116, element(0x00200037, "DS", (1, 0, 0, 0, 1, 0)))
    if measures:
        thickness, spacing = element(0x00180050, "DS", (6,)), element(0x00280030, "DS", (2, 3))
        shared += sequence(0x00289110, thickness + spacing)
    groups = {
        0x00280008: ("IS", str(len(volume))),
        0x52009229: ("SQ", sequence(0, shared)[12:]),
        0x52009230: ("SQ", sequence(0, *map(frame, range(len(positions))))[12:]),
    }
    return write(path, np.asarray(volume), groups, ENHANCED_MR)
