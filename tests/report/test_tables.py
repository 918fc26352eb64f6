import math

import numpy as np
from report_runs import write_run, write_runs

from bwcr_tf.data import preprocess
from bwcr_tf.report import notes, run_scores, scored_runs, tables
from bwcr_tf.training import run_folder


def test_table_2_by_hand(tmp_path):
    results = write_runs(tmp_path)
    table = tables.main_table("acdc", [r for r in scored_runs.load(results) if r.scale == 1])
    assert table.header[1:] == ["5: Dice ↑", "5: ECE ↓", "5: TACE×10 ↓", "5: TACE ↓"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["DA", "CR", "BWCR"]
    ece = 100 * np.array([0.2, 0.3, 0.1, 0.22, 0.3, 0.1])
    assert rows["DA"][1] == f"{ece.mean():.1f} ± {ece.std():.1f} (20 ± 14)"
    assert rows["BWCR"][1] == "**8.7 ± 2.7** (11 ± 10)"
    # tace_paper 0.01 is 1 per cent, which the paper prints as 10; tace 0.15 is 15 per cent
    assert rows["CR"][2:] == ["10.0 ± 0.0 (5 ± 2)", "15.0 ± 0.0"]
    assert "CR at 5: 1" in table.note and "differs" in table.note


def test_the_papers_setting_is_compared_without_a_warning(tmp_path):
    results = write_runs(tmp_path)
    settings = preprocess.Settings(num_classes=3, size=192, pixel_mm=1.33)
    spec = run_folder.RunSpec("acdc", ("RV", "LV"), settings, ("c",), ("d",), ("a", "b"))
    found = [
        run._replace(flags=run.flags | {"steps": "50000"}, spec=spec)
        for run in scored_runs.load(results)
    ]
    assert "differs" not in notes.paper(found)
    assert "differs" in notes.paper(found[:-1] + scored_runs.load(results)[-1:])


def test_a_method_without_r_is_not_another_setting(tmp_path):
    table = tables.settings_table(scored_runs.load(write_runs(tmp_path)))
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["radius"] == "10.0" and row["width"] == "" and row["steps"] == "2000"


def test_runs_of_another_precision_are_another_setting(tmp_path):
    earlier, other = scored_runs.load(write_runs(tmp_path))[:2]
    other = other._replace(flags=other.flags | {"mixed_precision": "True", "labels": "mean"})
    table = tables.settings_table([earlier, other])
    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["mixed_precision"] == "False and True" and row["labels"] == "first and mean"


def test_ensembles_are_compared_with_ensembles_of_as_many_members(tmp_path):
    for method in ("bwcr", "bwcrx3", "da", "dax3", "dax2", "cr"):
        write_run(tmp_path, method, 1, [0.1] * 3)
    write_run(tmp_path / "mean", "bwcr", 1, [0.1] * 3, labels="mean")
    methods = scored_runs.group(scored_runs.load(tmp_path), "label")
    expected = [("BWCR", "BWCR, labels mean"), ("BWCR", "CR"), ("BWCR", "DA")]
    expected.append(("BWCR × 3", "DA × 3"))
    assert sorted(tables.pairs("BWCR", methods)) == expected
    del methods["BWCR"]
    assert tables.pairs("BWCR", methods) == []


def test_holm_corrects_networks_and_ensembles_apart(tmp_path):
    for method, ece in {"da": 0.3, "cr": 0.2, "bwcr": 0.1, "dax3": 0.2, "bwcrx3": 0.1}.items():
        write_run(tmp_path, method, 1, [ece] * 3)
    methods = scored_runs.group(scored_runs.load(tmp_path), "label")
    networks, ensembles = tables.test_tables(", x", "BWCR", methods)
    assert (networks.title, ensembles.title) == ("Tests of BWCR, x", "Tests of BWCR × 3, x")
    assert [row[0] for row in networks.rows] == ["BWCR − DA", "BWCR − CR"]
    assert [row[0] for row in ensembles.rows] == ["BWCR × 3 − DA × 3"]
    # of two subjects who differ alike, two of the four flips of signs are as extreme
    assert [row[4:7] for row in networks.rows] == [
        ["−20.0 [−20.0, −20.0]", "0.5000", "1.0000"],
        ["−10.0 [−10.0, −10.0]", "0.5000", "1.0000"],
    ]
    assert ensembles.rows[0][4:7] == ["−10.0 [−10.0, −10.0]", "0.5000", "0.5000"]


def test_of_equal_means_that_of_the_lower_sd_is_in_bold():
    cells = [("a", 5.0, 2.0), ("b", 5.0, 1.0), ("c", 6.0, 9.0), ("", math.nan, 0.0)]
    assert tables.best_in_bold(cells, -1) == ["a", "**b**", "c", ""]
    assert tables.best_in_bold(cells, 1) == ["a", "b", "**c**", ""]
    assert tables.best_in_bold(cells[3:], 1) == [""]


def test_cells_leave_out_what_is_undefined_and_intervals_start_at_their_lower_end():
    assert tables.mean_sd([math.nan, 0.5, 0.7], 100, 1) == ("60.0 ± 10.0", 60.0, 10.0)
    assert tables.interval(np.array([1.0, 3.0])) == "+2.0 [+1.0, +3.0]"  # of means 1, 2, 2, 3
    assert (tables.show(0.1234), tables.show(-0.05), tables.show(math.nan)) == (
        "12.3",
        "−5.0",
        "",
    )


def test_table_1_has_da_as_0_and_a_row_for_each_lambda(tmp_path):
    results = write_runs(tmp_path)
    table = tables.sweep_table(scored_runs.load(results))
    assert [row[0] for row in table.rows] == ["0 (DA)", "1", "10"]
    assert table.rows[2][2] == "**10.0 ± 1.6** (16 ± 11)"
    assert "2 run(s). Fewer runs: 1: 1, 10: 1. In" in table.note


def test_cr_with_lambda_0_is_no_run_of_da(tmp_path):
    write_run(tmp_path, "da", 1, [0.2] * 3)
    write_run(tmp_path / "lambda0", "cr", 1, [0.6] * 3, scale=0.0)
    rows = tables.sweep_table(scored_runs.load(tmp_path)).rows
    assert [row[0] for row in rows] == ["0 (DA)", "CR × 0"]
    assert [row[2].split(" ±")[0].strip("*") for row in rows] == ["20.0", "60.0"]


def test_another_methods_lambda_is_a_row_of_its_own(tmp_path):
    results = write_runs(tmp_path)
    write_run(results / "half", "bwcr", 1, [0.12, 0.1, 0.08], scale=0.5)
    table = tables.sweep_table(scored_runs.load(results))
    assert [row[0] for row in table.rows] == ["0 (DA)", "1", "10", "BWCR × 0.5"]
    assert table.rows[3][2] == "10.0 ± 1.6"  # the paper has none


def test_tests_mark_what_bwcr_is_better_in_after_holm():
    titles = [metric.title for metric in run_scores.TESTED]
    draw = np.random.default_rng(0).normal(size=(2, 20))
    low, none = -3 + draw[0], draw[1] - draw[1].mean()
    found = {"x": dict(zip(titles, (low, low, none, low), strict=True))}
    found["y"] = dict(zip(titles, (-low, none, low, none), strict=True))
    x, y = tables.test_table("title", found).rows
    assert x[1].startswith("−") and y[1].startswith("**+")  # a higher Dice is better
    assert x[4].startswith("**−") and not y[4].startswith("**")
    assert tables.test_table("title", found).header[10] == "NLL×10³ [95 %]"
    assert x[10].startswith("**−") and not y[10].startswith("**")
    assert (x[5], x[6]) == ("0.0001", "0.0002")
    assert y[5] == y[6] == "1.0000"
    alike, none = np.full(6, -1.0), np.array([-1.0, 1, -1, 1, -1, 1])
    found = {"x": dict.fromkeys(titles, alike), "y": dict.fromkeys(titles, none)}
    x = tables.test_table("title", found).rows[0]
    assert x[5:7] == ["0.0312", "0.0625"] and not x[4].startswith("**")
