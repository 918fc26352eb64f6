import dataclasses
import re

import numpy as np
import pytest
from report_runs import annotate, of_method, write_run, write_runs

from bwcr_tf.report import contents, scored_runs, supplementary_tables


def test_temperature_leakage_and_truth_average_the_runs(tmp_path):
    for run, shift in (1, 0.0), (2, 0.1):
        for k, method in enumerate(("da", "cr", "bwcr")):
            write_run(
                tmp_path, method, run, [0.3 - 0.1 * k] * 3, "phantom",
                temperature=1.1 + shift,
                scores_calibrated={"all": {"ece": {"mean": 0.1 + shift}}},
                leakage={c: {"on": 0.02 + shift, "off": None} for c in ("RV", "LV", "mean")},
                truth={"variation": [0.1, 0.3, 0.2][k] + shift, "rms": 0.4, "label_variation": 0.2},
            )  # fmt: skip
    methods = scored_runs.group(scored_runs.load(tmp_path), "label")
    table = supplementary_tables.calibration_table("", methods)
    assert table.rows[0][:3] == ["DA", "1.15", "30.0 → 15.0"]
    assert "temperature of runs of earlier versions" in table.note
    for run, kind in zip(methods["DA"], ("beta", "none"), strict=True):
        run.summary["calibration"] = {"kind": kind}
        del run.summary["temperature"]
    assert supplementary_tables.calibration_table("", methods).rows[0][1] == "beta, none"
    later = supplementary_tables.calibration_table("", {"DA": methods["DA"]})
    assert later.note == "Before → after the map that each run exports."
    assert supplementary_tables.leakage_table("", methods).rows[2] == ["BWCR"] + ["7.00 ()"] * 3
    table = supplementary_tables.truth_table("", methods)
    assert [row[1] for row in table.rows] == ["15.00 (1)", "35.00 (3)", "25.00 (2)"]
    assert [row[3] for row in table.rows] == ["30.00 (3)", "20.00 (2)", "10.00 (1)"]
    assert "itself 20.0 off" in table.note and "ECE −0.50" in table.note


@pytest.mark.parametrize("classes, shown", [(("RV", "LV"), True), (("RV",), False)])
def test_leakage_is_shown_where_there_are_other_classes(tmp_path, classes, shown):
    leakage = {name: {"on": 0.02, "off": 0.01} for name in ("RV", "LV", "mean")}
    write_run(tmp_path, "da", 1, [0.3] * 3, leakage=leakage)
    (run,) = scored_runs.load(tmp_path)
    run = run._replace(spec=dataclasses.replace(run.spec, classes=classes))
    blocks = contents.setting_blocks("", {"DA": [run]}, tmp_path)
    assert any("leakage" in getattr(block, "title", "") for block in blocks) == shown


def test_selection_is_shown_beside_the_last_step(tmp_path):
    results = write_runs(tmp_path)
    folder = results / "acdc/ntr5/da/run1"
    changed = re.sub(r"(?<=,all,0.8,,)[\d.]+", "0.5", (folder / "scores.csv").read_text())
    (folder / "scores_last.csv").write_text(changed)
    row = supplementary_tables.selection_table("", {"DA": of_method(results, "da")[:1]}).rows[0]
    assert row == ["DA", "80.0 → 80.0", "20.0 → 50.0", "10.0 → 10.0", "15.0 → 15.0"]


def test_hd95_is_compared_on_the_structures_that_no_method_missed(tmp_path):
    """DA misses the structure on which it would be worst, which must not make it the best."""
    results = write_runs(tmp_path)
    for run, lost in (1, "a,a_ED,LV"), (2, "b,b_ED,RV"):
        path = results / f"acdc/ntr5/da/run{run}/scores.csv"
        lines = path.read_text().splitlines()
        lines = [
            re.sub(r",0.8,[35].0,", ",0.0,nan,", x) if x.startswith(lost) else x for x in lines
        ]
        path.write_text("\n".join(lines) + "\n")
    found = [run for run in scored_runs.load(results) if run.scale == 1]
    table = supplementary_tables.further_table("acdc", found)
    at = table.header.index("5: HD95 mm ↓")
    cells = {row[0]: row[at : at + 2] for row in table.rows}
    # of RV 3, 3, 3 and LV 5, 5, 5 mm, an LV and an RV are left out for all
    expected = f"{np.mean([3, 3, 5, 5]):.1f} ± {np.std([3, 3, 5, 5]):.1f}"
    assert cells["DA"] == [f"**{expected}**", "2 of 6"]
    assert cells["BWCR"] == [expected, "0 of 6"] and cells["CR"] == [expected, "0 of 6"]


def test_data_without_any_structure_have_no_hd95(tmp_path):
    for method in ("da", "cr"):
        path = write_run(tmp_path, method, 1, [0.1] * 3) / "scores.csv"
        path.write_text(re.sub(r",0\.8\d*,[\d.]+,", ",nan,nan,", path.read_text()))
    table = supplementary_tables.further_table("acdc", scored_runs.load(tmp_path))
    at = table.header.index("5: HD95 mm ↓")
    assert [row[at : at + 2] for row in table.rows] == [["", ""], ["", ""]]


def test_a_structure_that_is_rightly_left_out_is_not_missed(tmp_path):
    """Nobody has LV in a_ED; CR finds some there, and misses that of a_ES."""
    for method, a_ed, a_es in (("da", "nan,nan", "0.8,5.0"), ("cr", "0.0,nan", "0.0,nan")):
        path = write_run(tmp_path, method, 1, [0.1] * 3) / "scores.csv"
        text = path.read_text().replace("a,a_ED,LV,0.8,5.0", f"a,a_ED,LV,{a_ed}")
        path.write_text(text.replace("a,a_ES,LV,0.8,5.0", f"a,a_ES,LV,{a_es}"))
    table = supplementary_tables.further_table("acdc", scored_runs.load(tmp_path))
    assert [row[-1] for row in table.rows] == ["0 of 5", "2 of 6"]
    assert table.rows[0][-2] == f"**{np.mean([3, 3, 3, 5]):.1f} ± {np.std([3, 3, 3, 5]):.1f}**"


def test_the_truth_of_several_annotators_is_called_theirs(tmp_path):
    annotate(write_run(tmp_path, "da", 1, [0.1] * 3), [0.1] * 3)
    methods = scored_runs.group(scored_runs.load(tmp_path), "label")
    table = supplementary_tables.truth_table("here", methods)
    assert table.title == "Error against the fractions of annotators, here"
    assert "Annotator 1 is itself 10.0 off" in table.note
