import json

import pytest

from bwcr_tf.data import coding
from bwcr_tf.system.errors import DataError

# From the International Edition of SNOMED CT, as DICOM PS3.16 lists them
KNOWN = ["87878005", "53085002", "41216001", "5366008", "4147007", "91723000", "49755003"]


def description(tmp_path, codes):
    path = tmp_path / "dataset.json"
    path.write_text(
        json.dumps({"labels": {"background": 0, "LV": 1, "mass": 2}, "codes": codes})
    )
    return path


def test_codes_have_a_meaning_and_a_category(tmp_path):
    given = {
        "LV": ["87878005", "Left ventricle"],
        "mass": ["4147007", "Mass", "Morphologically Abnormal Structure"],
    }
    assert coding.read_codes(description(tmp_path, given)) == {
        "LV": ["87878005", "Left ventricle", "Anatomical Structure"],
        "mass": ["4147007", "Mass", "Morphologically Abnormal Structure"],
    }
    assert coding.read_codes(tmp_path / "none.json") == {}


@pytest.mark.parametrize("code", KNOWN)
def test_check_digit_knows_every_single_error_and_swap(code):
    assert coding.is_checked(code)
    for i in range(len(code)):
        for digit in set("0123456789") - {code[i]}:
            assert not coding.is_checked(code[:i] + digit + code[i + 1 :])
        swapped = code[:i] + code[i : i + 2][::-1] + code[i + 2 :]
        assert swapped == code or not coding.is_checked(swapped)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ({"RV": ["53085002", "Right ventricle"]}, "codes of 'RV'"),
        ({"LV": ["87878006", "Left ventricle"]}, "'87878006' of 'LV'"),
        ({"LV": ["T-32600", "Left ventricle"]}, "'T-32600' of 'LV'"),
        ({"LV": "87878005"}, r"code of 'LV'; expected \[code, meaning\]"),
        ({"LV": [87878005, "Left ventricle"]}, "code of 'LV'"),
        ({"LV": ["87878005", ""]}, "code of 'LV'"),
        ({"LV": ["87878005", "\ud800"]}, "code of 'LV'"),
        ({"LV": ["87878005", "Left\nventricle"]}, "code of 'LV'"),
        ({"LV": ["87878005", "Left\\ventricle"]}, "code of 'LV'"),  # two values in DICOM
        ({"LV": ["87878005", "Left ventricle", "organ"]}, "category 'organ'"),
        (["LV"], "expected JSON"),
    ],
)
def test_codes_that_say_nothing_are_refused(codes, message, tmp_path):
    with pytest.raises(DataError, match=f"dataset.json: .*{message}"):
        coding.read_codes(description(tmp_path, codes))
