"""SNOMED CT codes of structures, from the optional entry `codes` of a dataset.json.

    "codes": {"LV": ["87878005", "Left ventricle"],
              "tumour": ["4147007", "Mass", "Morphologically Abnormal Structure"]}

A class has its code, the code's meaning, and, unless it is an Anatomical Structure, its category.
"""

import json
import re

from bwcr_tf.system.errors import DataError

CATEGORIES = {  # DICOM PS3.16, CID 7150
    "Anatomical Structure": "91723000",
    "Morphologically Abnormal Structure": "49755003",
    "Tissue": "85756007",
}


def read_codes(path):
    """{class: [code, meaning, category]} of a dataset.json; empty without it or its entry.

    Raises:
      DataError: not of this form, a class that is no label, or a code whose check digit is wrong.
    """
    try:
        info = json.loads(path.read_text("utf-8-sig"))
        entries, labels = info.get("codes", {}).items(), dict(info.get("labels", {}))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON with 'codes': {{name: [code, ...]}}") from error
    if unknown := sorted({name for name, _ in entries} - set(labels)):
        raise DataError(f"{path}: codes of {unknown[0]!r}; expected one of the labels")
    return {name: _complete(path, name, entry) for name, entry in entries}


def _complete(path, name, entry):
    """[code, meaning, category] of an entry; its category is the first one where none is given."""
    texts = isinstance(entry, list) and all(isinstance(text, str) for text in entry)
    if not (texts and len(entry) in (2, 3) and _fits_dicom(entry[1])):
        raise DataError(
            f"{path}: code of {name!r}; expected [code, meaning] or a category, too"
        )
    code, meaning, category = [*entry, next(iter(CATEGORIES))][:3]
    if not (re.fullmatch("[1-9][0-9]{5,15}", code) and is_checked(code)):
        raise DataError(f"{path}: code {code[:20]!r} of {name!r}; expected one of SNOMED CT")
    if category not in CATEGORIES:
        raise DataError(f"{path}: category {category!r}; expected {', '.join(CATEGORIES)}")
    return [code, meaning, category]


def _fits_dicom(meaning):
    """Whether a text is one value of a DICOM Long String (PS3.5, 6.2), in bytes of UTF-8."""
    printable = meaning.isprintable() and "\\" not in meaning
    return printable and 0 < len(meaning.encode()) <= 64


def is_checked(code):
    """Whether the last digit of a SNOMED CT identifier checks the others (Verhoeff, 1969)."""
    found = 0
    for place, digit in enumerate(map(int, reversed(code))):
        for _ in range(place % 8):
            digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
        found = _product(found, digit)
    return found == 0


def _product(a, b):
    """Of the dihedral group of a pentagon: rotations are 0 to 4, reflections 5 to 9."""
    if a < 5:
        return (a + b) % 5 + 5 * (b >= 5)
    return (a - b) % 5 + 5 * (b < 5)
