import math

import pytest

from bwcr_tf.evaluation import scores
from bwcr_tf.system.errors import DataError

HEADER = "subject,volume,class,dice,hd95_mm,ece,ece_all,tace,tace_paper,nll,brier"


def row(volume, name, **measured):
    return {"subject": volume, "volume": volume, "class": name} | measured


def test_rows_are_written_with_six_decimals_and_read_again(tmp_path):
    rows = [row("a", "LV", dice=0.5, hd95_mm=math.nan), row("a", "all", dice=2 / 3, nll=0.0)]
    path = tmp_path / "scores.csv"
    scores.write(path, rows)
    lines = [HEADER, "a,a,LV,0.500000,nan,,,,,,", "a,a,all,0.666667,,,,,,0.000000,"]
    assert path.read_text() == "\n".join(lines) + "\n"
    lv, whole = scores.read(path)
    assert math.isnan(lv.pop("hd95_mm")) and lv == row("a", "LV", dice=0.5)
    assert whole == row("a", "all", dice=0.666667, nll=0.0)
    assert scores.read(tmp_path / "other.csv") == []


def test_a_table_that_a_spreadsheet_has_saved_is_read(tmp_path):
    scores.write(tmp_path / "scores.csv", [row("a", "all", dice=0.5)])
    content = (tmp_path / "scores.csv").read_bytes()
    (tmp_path / "scores.csv").write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert scores.read(tmp_path / "scores.csv") == [row("a", "all", dice=0.5)]


@pytest.mark.parametrize("name", ["a\u2028b", "a\u0085b", "a\nb", 'a"b', "a,b"])
def test_a_subject_may_have_any_name(name, tmp_path):
    scores.write(tmp_path / "scores.csv", [row(name, "all", dice=0.5)])
    assert scores.read(tmp_path / "scores.csv") == [row(name, "all", dice=0.5)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column subject"),
        (HEADER.replace(",nll", ""), "no column nll"),
        (f"{HEADER}\na,a,LV,0.5,1.0,,,,,,\na,a,LV,0.5", "line 3: another number of cells"),
        (f"{HEADER}\na,a,LV,0.5,1.0,,,,,,,0.7", "line 2: another number of cells"),
        (f"{HEADER}\na,a,LV,high,1.0,,,,,,", "line 2: dice is high"),
        (f"{HEADER}\na,a,LV,0.5,-inf,,,,,,", "line 2: hd95_mm is -inf"),
        (f"{HEADER}\n\udcff", "not a table of scores"),
    ],
)
def test_a_broken_table_is_an_error_that_names_the_line(text, message, tmp_path):
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=f"scores.csv.*{message}"):
        scores.read(path)


def test_summary_leaves_out_and_names_what_is_undefined():
    rows = [
        row("a", "LV", dice=0.5, hd95_mm=math.nan),
        row("b", "LV", dice=0.7, hd95_mm=math.nan),
        row("a", "all", dice=math.nan, ece=0.1),
        row("b", "all", dice=0.7, ece=0.3),
    ]
    summary = scores.summarize(rows, ("LV",))
    assert summary["scores"]["LV"]["dice"] == {
        "mean": pytest.approx(0.6), "sd": pytest.approx(0.1), "volumes": 2
    }  # fmt: skip
    assert summary["scores"]["all"]["dice"]["volumes"] == 1
    assert summary["scores"]["LV"]["hd95_mm"] == {"mean": None, "sd": None, "volumes": 0}
    assert "tace" not in summary["scores"]["LV"]
    assert len(summary["undefined"]) == 3
    assert "a LV hd95_mm: no surface of the class" in summary["undefined"][0]


def test_dice_alone_is_better_where_it_is_higher():
    assert [name for name, metric in scores.ALL_METRICS.items() if metric.sign > 0] == ["dice"]


def test_terminal_shows_the_papers_units():
    rows = [
        row(volume, "all", dice=0.5, hd95_mm=math.nan, tace_paper=tace, nll=0.0304)
        for volume, tace in (("a", 0.010), ("b", 0.014))
    ]
    head, line, legend = scores.to_text(scores.summarize(rows, ())["scores"]).splitlines()
    assert head.split() == ["class", *HEADER.split(",")[3:]]
    # 0.012 is 1.2 per cent, which the paper prints as 12
    expected = "all 50.0 +- 0.0 undefined 12.0 +- 2.0 0.030 +- 0.000"
    assert line.split() == expected.split()
    assert "; dice, ece, ece_all, tace in %; hd95_mm in mm; tace_paper in % x 10" in legend
    assert scores.to_text({"all": {}}, ["nll"]).splitlines()[0].split() == ["class", "nll"]


def test_scores_annotators_has_the_columns_of_volume_after_the_others(tmp_path):
    rows = [row("a", "LV", dice=0.5, volume_crps_ml=1.25, volume_error=math.nan)]
    path = tmp_path / "scores_annotators.csv"
    scores.write(path, rows, scores.ALL_METRICS)
    lines = [f"{HEADER},volume_crps_ml,volume_error", "a,a,LV,0.500000,,,,,,,,1.250000,nan"]
    assert path.read_text() == "\n".join(lines) + "\n"
    (found,) = scores.read(path, scores.ALL_METRICS)
    assert found["volume_crps_ml"] == 1.25 and math.isnan(found["volume_error"])
    summary = scores.summarize(rows, ("LV",))
    assert summary["undefined"] == ["a LV volume_error: no annotator drew the class"]
    assert "volume_crps_ml in ml" in scores.to_text(summary["scores"], scores.VOLUME_METRICS)
