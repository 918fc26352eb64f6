"""Spacings and units in the headers of NRRD and MetaImage, where ITK takes 1 mm for granted."""

import math
import re

from bwcr_tf.data import header_checks
from bwcr_tf.data.formats import Mismatch

_MM = {
    **dict.fromkeys(("mm", "millimeter", "millimeters", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometers"), 1e-6),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), 10.0),
    **dict.fromkeys(("m", "meter", "meters"), 1e3),
}
_ANATOMICAL = {
    *("left-posterior-superior", "lps", "right-anterior-superior", "ras"),
    *("left-anterior-superior", "las"),
}


def unit_mm(path):
    """The length in mm of the unit of a file's spacings and origin.

    Raises:
      formats.Mismatch: the header has no spacings, or in an unknown unit or several.
    """
    head = _head(path)
    if path.suffix.lower() in (".mha", ".mhd"):
        if not re.search(r"(?im)^\s*Element(Spacing|Size)\s*[=:]", head):
            raise Mismatch("no ElementSpacing in its header; expected one in mm")
        units = re.findall(r"(?im)^\s*DistanceUnits\s*[=:]\s*(\S+)", head)
        return _length_mm(set(units) - {"?"}, ", ".join(units))
    return _nrrd_unit_mm(_fields(head))


def _head(path):
    with open(path, "rb") as file:
        return header_checks.head(file.read(2**20)).decode("utf-8", "replace")


def _fields(head):
    lines = re.findall(r"(?m)^([A-Za-z ]+): *(.*?)\s*$", head)
    return {name.lower(): value for name, value in lines}


def doubts(path):
    """What a header leaves in doubt about how its scan lies, in words, or ''."""
    head = _head(path)
    if path.suffix.lower() in (".mha", ".mhd"):
        told = re.search(r"(?im)^\s*(TransformMatrix|Rotation|Orientation)\s*[=:]", head)
        return "" if told else "no TransformMatrix in its header; its axes are taken as LPS"
    space = _fields(head).get("space", "")
    if space.lower().removesuffix("-time") in _ANATOMICAL:
        return ""
    return f"its space is {space or 'not said'}; its axes are taken as LPS"


def _nrrd_unit_mm(fields):
    """`unit_mm` of a dict of the fields of a NRRD header to their texts."""
    numbers = re.findall(
        r"[^\s(),]+", fields.get("space directions") or fields.get("spacings", "")
    )
    count = 9 if "space directions" in fields else 3
    if len(numbers) != count or not all(map(_is_finite, numbers)):
        raise Mismatch("no 'space directions' or 'spacings' of three axes; expected them in mm")
    names = fields.get("space units" if count == 9 else "units", "")
    return _length_mm(set(re.findall(r'"([^"]*)"', names)) - {""}, names)


def _length_mm(units, names):
    """The length in mm of the one unit in a set, 1 if it is empty; `names` is the header's text."""
    if len(units) > 1 or units - set(_MM):
        raise Mismatch(f"spacings in {names}; expected one unit of {', '.join(_MM)}")
    return _MM[units.pop()] if units else 1.0


def _is_finite(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
