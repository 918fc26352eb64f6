import math

import pytest

from bwcr_tf.evaluation import summary


def row(volume, name, **scores):
    return {"subject": volume, "volume": volume, "class": name} | scores


def test_summary_leaves_out_and_names_what_is_undefined():
    rows = [
        row("a", "LV", dice=0.5, hd95_mm=math.nan),
        row("b", "LV", dice=0.7, hd95_mm=math.nan),
        row("a", "all", dice=math.nan, ece=0.1),
        row("b", "all", dice=0.7, ece=0.3),
    ]
    result = summary.summarize(rows, ("LV",))
    assert result["scores"]["LV"]["dice"] == {
        "mean": pytest.approx(0.6), "sd": pytest.approx(0.1), "volumes": 2
    }  # fmt: skip
    assert result["scores"]["all"]["dice"]["volumes"] == 1
    assert result["scores"]["LV"]["hd95_mm"] == {"mean": None, "sd": None, "volumes": 0}
    assert "tace" not in result["scores"]["LV"]
    assert len(result["undefined"]) == 3 and "a LV hd95_mm: the class" in result["undefined"][0]
    table = summary.to_table(result["scores"])
    assert "60.00 +- 10.00" in table and "undefined" in table and "20.00 +- 10.00" in table
