import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from bwcr_tf.data import preprocess
from bwcr_tf.evaluation import figures
from bwcr_tf.report import __main__ as report
from bwcr_tf.report import (
    cells,
    conventions,
    illustrations,
    page,
    paper_figures,
    published,
    scored_runs,
    supplementary_tables,
    tables,
)
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder

ROOT = pathlib.Path(__file__).parents[2]
COLUMNS = "subject,volume,class,dice,hd95_mm,ece,ece_all,tace,tace_paper,nll,brier"
BANDS = {"edges": [0, 5], "count": [9, 9, 0], "gap": [0.2, 0.1, None], "ece": [0.3, 0.1, None]}
TABLE = {"count": [0, 4, 6], "confidence": [0.0, 2.0, 5.4], "correct": [0, 1, 6]}


def write_run(root, method, run, ece, dataset="acdc", scale=1.0, ntr=5, data_dir="d", **more):
    """A scored run of subjects a (two volumes) and b; `ece` [3] are the volumes' ECE."""
    folder = root / dataset / f"ntr{ntr}" / method / f"run{run}"
    folder.mkdir(parents=True)
    lines = [COLUMNS]
    for volume, value in zip(("a_ED", "a_ES", "b_ED"), ece, strict=True):
        for name, hd95 in ("RV", 3.0), ("LV", 5.0):
            lines.append(f"{volume[0]},{volume},{name},0.8,{hd95},,,0.15,0.01,,")
        lines.append(f"{volume[0]},{volume},all,0.8,,{value},0.02,0.15,0.01,0.3,0.1")
    for table in ("scores", *(["scores_calibrated"] if "scores_calibrated" in more else [])):
        (folder / f"{table}.csv").write_text("\n".join(lines) + "\n")
    given = {"method": method, "dataset": dataset, "ntr": ntr, "run": run, "data_dir": data_dir}
    given |= {"steps": 2000, "consistency_scale": scale}
    settings = preprocess.Settings(num_classes=3, size=96, pixel_mm=2.66)
    spec = run_folder.RunSpec(dataset, ("RV", "LV"), settings, ("c",), ("d",), ("a", "b"))
    run_folder.claim(folder, given, spec)
    average = {"ece": {"mean": float(np.mean(ece))}, "tace": {"mean": 0.15}}
    summary = {"scores": {"all": average}, "reliability": TABLE, "distance": BANDS, **more}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


@pytest.fixture
def results(tmp_path):
    root = tmp_path / "results"
    for run, shift in (1, 0.0), (2, 0.02):
        write_run(root, "da", run, [0.20 + shift, 0.30, 0.10])
        write_run(root, "bwcr", run, [0.10 + shift, 0.10, 0.05])
    write_run(root, "cr", 1, [0.15, 0.2, 0.08])
    write_run(root / "lambda10", "cr", 1, [0.12, 0.1, 0.08], scale=10.0)
    return root


def of_method(results, method):
    return [run for run in scored_runs.load(results) if run.method == method and run.scale == 1]


def test_papers_values_are_read_as_printed():
    row = {"Dice": (68, 14), "ECE": (22, 10), "TACE×10": (11, 4)}
    assert published.SCORES["nci", 12]["mls"] == row
    assert list(published.SCORES["acdc", 95]["bwcr"].values()) == [(89, 3), (8, 2), (4, 1)]
    assert list(published.SCORES["acdc", 5]["10"].values()) == [(70, 12), (16, 11), (1, 0)]
    assert published.SCORES["nci", 6]["0"]["Dice"] == (66, 13)  # lambda = 0 is DA
    assert [len(rows) for rows in published.SCORES.values()] == [11, 8, 8, 11, 8, 8]


def test_table_2_by_hand(results):
    table = tables.main_table("acdc", [r for r in scored_runs.load(results) if r.scale == 1])
    assert table.header[1:] == ["5: Dice ↑", "5: ECE ↓", "5: TACE×10 ↓", "5: TACE ↓"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["DA", "CR", "BWCR"]
    ece = 100 * np.array([0.2, 0.3, 0.1, 0.22, 0.3, 0.1])
    assert rows["DA"][1] == f"{ece.mean():.1f} ± {ece.std():.1f} (20 ± 14)"
    assert rows["BWCR"][1] == "**8.7 ± 2.7** (11 ± 10)"
    # tace_paper 0.01 is 1 per cent, which the paper prints as 10; tace 0.15 is 15 per cent
    assert rows["CR"][2:] == ["10.0 ± 0.0 (5 ± 2)", "15.0 ± 0.0"]
    assert "CR at 5: 1" in table.note and "another" in table.note


def test_the_papers_setting_is_compared_without_a_warning(results):
    settings = preprocess.Settings(num_classes=3, size=192, pixel_mm=1.33)
    spec = run_folder.RunSpec("acdc", ("RV", "LV"), settings, ("c",), ("d",), ("a", "b"))
    found = [
        run._replace(flags=run.flags | {"steps": "50000"}, spec=spec)
        for run in scored_runs.load(results)
    ]
    assert "another" not in tables.paper_note(found)
    assert "another" in tables.paper_note(found[:-1] + scored_runs.load(results)[-1:])


def test_winner_of_equal_means_has_the_lower_sd():
    a, b, c = ("", 5.0, 2.0), ("", 5.0, 1.0), ("", 6.0, 9.0)
    assert cells.winner_of([a, b, c, ("", math.nan, 0.0)], -1) == b
    assert cells.winner_of([a, b, c], 1) == c and cells.winner_of([], 1) is None


def test_table_1_has_da_as_0_and_a_row_for_each_lambda(results):
    table = tables.sweep_table(scored_runs.load(results))
    assert [row[0] for row in table.rows] == ["0 (DA)", "1", "10"]
    assert table.rows[2][2] == "**10.0 ± 1.6** (16 ± 11)"
    assert "2 run(s). Fewer runs: 1: 1, 10: 1. " in table.note


def test_another_methods_lambda_is_a_row_of_its_own(results):
    write_run(results / "half", "bwcr", 1, [0.12, 0.1, 0.08], scale=0.5)
    table = tables.sweep_table(scored_runs.load(results))
    assert [row[0] for row in table.rows] == ["0 (DA)", "1", "10", "BWCR × 0.5"]
    assert table.rows[3][2] == "10.0 ± 1.6"  # the paper has none


def test_hd95_is_the_mean_of_the_classes_and_ece_of_the_whole(results):
    found = of_method(results, "cr")
    assert set(scored_runs.by_volume(found, "hd95_mm").values()) == {4.0}
    assert scored_runs.by_volume(found, "ece")["a", "a_ES", "1"] == 0.2


def test_differences_pair_runs_and_volumes_of_a_subject(results):
    found = scored_runs.differences(of_method(results, "bwcr"), of_method(results, "da"))
    np.testing.assert_allclose(found["ECE"], [-15, -5])
    only_run_1 = scored_runs.differences(of_method(results, "bwcr"), of_method(results, "cr"))
    np.testing.assert_allclose(only_run_1["ECE"], [(-5 - 10) / 2, -3])
    scaled = [run._replace(calibrated=run.rows, rows=[]) for run in of_method(results, "da")]
    found = scored_runs.differences(of_method(results, "bwcr"), scaled, "calibrated")
    np.testing.assert_allclose(found["ECE"], [-15, -5])


def test_tests_mark_what_bwcr_is_better_in_after_holm():
    draw = np.random.default_rng(0).normal(size=(2, 20))
    low, none = -3 + draw[0], draw[1] - draw[1].mean()
    found = {"x": dict(zip(scored_runs.TESTED, (low, low, none), strict=True))}
    found["y"] = dict(zip(scored_runs.TESTED, (-low, none, low), strict=True))
    x, y = tables.test_table("title", found).rows
    assert x[1].startswith("−") and y[1].startswith("**+")  # a higher Dice is better
    assert x[4].startswith("**−") and not y[4].startswith("**")
    assert (x[5], x[6]) == ("0.0001", "0.0002")
    assert y[5] == y[6] == "1.0000"
    alike, none = np.full(6, -1.0), np.array([-1.0, 1, -1, 1, -1, 1])
    found = {
        "x": dict.fromkeys(scored_runs.TESTED, alike),
        "y": dict.fromkeys(scored_runs.TESTED, none),
    }
    x = tables.test_table("title", found).rows[0]
    assert x[5:7] == ["0.0312", "0.0625"] and not x[4].startswith("**")


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
    table = supplementary_tables.temperature_table("", methods)
    assert table.rows[0][:3] == ["DA", "1.15", "30.0 → 15.0"]
    assert supplementary_tables.leakage_table("", methods).rows[2] == ["BWCR"] + ["7.00 ()"] * 3
    table = supplementary_tables.truth_table("", methods)
    assert [row[1] for row in table.rows] == ["15.00 (1)", "35.00 (3)", "25.00 (2)"]
    assert [row[3] for row in table.rows] == ["30.00 (3)", "20.00 (2)", "10.00 (1)"]
    assert "off by 20.0" in table.note and "ECE −0.50" in table.note


def test_a_temperature_of_1_is_no_scaling(tmp_path):
    for method, value in ("da", 1.0), ("cr", 1.5), ("bwcr", 1.0):
        same = {"temperature": value, "scores_calibrated": {}}
        write_run(tmp_path, method, 1, [0.1] * 3, **same)
    found = report.test_tables("", scored_runs.group(scored_runs.load(tmp_path), "label"))
    assert [row[0] for row in found[-1].rows] == ["BWCR − (CR with T)"]


def test_selection_is_shown_beside_the_last_step(results):
    folder = results / "acdc/ntr5/da/run1"
    changed = re.sub(r"(?<=,all,0.8,,)[\d.]+", "0.5", (folder / "scores.csv").read_text())
    (folder / "scores_last.csv").write_text(changed)
    row = supplementary_tables.selection_table("", {"DA": of_method(results, "da")[:1]}).rows[0]
    assert row == ["DA", "80.0 → 80.0", "20.0 → 50.0", "10.0 → 10.0", "15.0 → 15.0"]


def test_a_custom_data_set_goes_by_the_name_of_its_folder(tmp_path):
    write_run(tmp_path, "da", 1, [0.1] * 3, "nnunet", data_dir="../data/hippocampus")
    assert scored_runs.load(tmp_path)[0].dataset == "hippocampus"


def test_a_custom_data_set_is_not_taken_for_a_known_one(tmp_path):
    write_run(tmp_path, "da", 1, [0.1] * 3, "nnunet", data_dir="/data/acdc")
    run = scored_runs.load(tmp_path)[0]
    assert run.dataset == "acdc (nnunet)" and not run.reported


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a,a_ED,all", "c,a_ED,all"),  # a subject of no one's
        ("b,b_ED,LV", "b,b_ED,RV"),  # twice
        ("b,b_ED,LV", "b,b_ED,XX"),
        (",0.02,", ",inf,"),
        (",0.02,", ",high,"),
        (",ece,", ",other,"),
    ],
)
def test_scores_that_are_not_those_of_the_split_are_refused(old, new, results):
    path = results / "acdc/ntr5/da/run1/scores.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match="da/run1: not a whole run"):
        scored_runs.load(results)


def test_a_split_that_was_changed_is_refused(results):
    path = results / "acdc/ntr5/da/run1/split.json"
    path.write_text(path.read_text().replace("2.66", "1.33"))
    with pytest.raises(DataError, match="da/run1/split.json: it or flags.txt was changed"):
        scored_runs.load(results)


def test_the_same_run_twice_is_refused(results):
    shutil.copytree(results / "acdc/ntr5/da/run1", results / "copy")
    with pytest.raises(DataError, match="copy: the same run as .*da/run1"):
        scored_runs.load(results)


def test_no_runs_and_broken_runs_are_errors_that_name_the_folder(results):
    with pytest.raises(DataError, match="nowhere"):
        scored_runs.load(results / "nowhere")
    (results / "acdc/ntr5/da/run1/summary.json").write_text("{")
    with pytest.raises(DataError, match="da/run1"):
        scored_runs.load(results)


def test_ours_equals_each_library_whose_convention_we_report():
    rows = conventions.compare()
    for name, library, ours, sure_library, sure_ours, _ in rows:
        if ours is not None:
            assert ours == pytest.approx(library, abs=1e-6), name
        if None not in (sure_library, sure_ours) and "netcal" in name:
            assert sure_ours == pytest.approx(sure_library, abs=1e-6), name
    sure = {name: row for name, *row in rows}["ECE, torchmetrics"]
    assert sure[3] < sure[2]  # its bin of its own for confidence 1


def test_binary_loss_is_eq_1_by_hand():
    assert paper_figures.binary_loss(0.0, 3.0, 0.0) == pytest.approx(math.log(2))
    assert paper_figures.binary_loss(2.0, -1.0, 0.1) == pytest.approx(
        math.log1p(math.exp(-2)) + 0.9
    )


def test_weight_of_figure_2_is_that_of_the_method():
    methods = pytest.importorskip("bwcr_tf.methods")
    distance = np.array([[0.0, 0.5, 9.9], [10.0, 11.0, np.inf]], np.float32)
    expected = methods.METHODS["bwcr"].consistency_weight(distance, 10.0)
    np.testing.assert_allclose(illustrations.boundary_weight(distance), expected, rtol=1e-6)
    assert published.METHODS == list(methods.METHODS)


def test_reliability_of_no_foreground_is_an_empty_diagram(tmp_path):
    table = {name: np.zeros(15) for name in ("count", "confidence", "correct")}
    figures.reliability_diagram({"da": table}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_markdown_becomes_html():
    assert page.inline("**8 ± 3** (11 ± 10)") == (
        "<strong>8 ± 3</strong><br><small>(11 ± 10)</small>"
    )
    assert page.inline("a < b `c`") == "a &lt; b <code>c</code>"
    assert page.inline("1.2 (3)") == "1.2 <small>(3)</small>"
    assert page.block_html("## A") == "<h2>A</h2>" and page.block_html("A") == "<p>A</p>"


def test_command_writes_a_page_of_its_own_without_tensorflow(results, tmp_path):
    program = (
        "import sys, runpy; sys.modules['tensorflow'] = sys.modules['keras'] = None; "
        "runpy.run_module('bwcr_tf.report', run_name='__main__')"
    )
    output = tmp_path / "out"
    arguments = [f"--runs_dir={results}", f"--output={output}"]
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    page, text = ((output / f"report.{end}").read_text("utf-8") for end in ("html", "md"))
    assert len(page) < 5e6
    assert not re.search(r"https?://|<link|<script|url\(", page)
    assert all(
        s.startswith("data:image/png;base64,") for s in re.findall(r'src="([^"]+)', page)
    )
    links = re.findall(r"\]\((.+?\.png)\)", text)
    assert len(links) == page.count("<img") == 5  # Fig. 1, 2, 3, reliability, distance
    assert all((output / link).exists() for link in links)
    for words in ("Table 2, acdc", "Table 1, acdc", "Tests, acdc", "every convention"):
        assert words in page and words in text
    assert "| CR − DA | +0.0 [+0.0, +0.0] | 1.0000 | 1.0000 | −4.8 [−7.5, −2.0] |" in text
    assert "BWCR minus DA: Dice +0.0 [+0.0, +0.0]; ECE −10.0 [−15.0, −5.0]" in text
    assert "| CR | 80.0 ± 0.0 (75 ± 12) | 14.3 ± 4.9 (13 ± 12) |" in text  # without lambda = 10
    assert str(tmp_path) not in text + page
