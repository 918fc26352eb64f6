import json

import pytest
from report_runs import annotate, kept_figures, write_run

from bwcr_tf.report import scored_runs, shift_scores
from bwcr_tf.system.errors import DataError


@pytest.fixture
def figures(monkeypatch):
    yield from kept_figures(monkeypatch, shift_scores)


def write_shift(folder, name, severity, dice, ece, calibrated=None):
    path = folder / "shifts" / f"{name}-{severity}"
    path.mkdir(parents=True)
    (path / "scores.csv").write_text("subject\n")  # of a shift: not a run
    summary = {"shift": [name, severity]}
    summary["scores"] = {"all": {"dice": {"mean": dice}, "ece": {"mean": ece}}}
    summary["scores_calibrated"] = {"all": {"ece": {"mean": calibrated}}}
    (path / "summary.json").write_text(json.dumps(summary))
    return path


def blocks(root):
    found = scored_runs.load(root)
    return shift_scores.make_blocks(root, "acdc", scored_runs.group(found, "label"))


def test_scores_are_drawn_and_listed_by_severity_as_means_over_runs(tmp_path, figures):
    for run, shift in (1, 0.0), (2, 0.1):
        kept = {"calibration": {"kind": "beta", "choice": "auto"}}
        kept["scores_calibrated"] = {"all": {"ece": {"mean": 0.05}}}
        folder = write_run(tmp_path, "da", run, [0.2 + shift] * 3, **kept)
        write_shift(folder, "noise", 3, 0.6, 0.3 + shift, 0.1)
        write_shift(folder, "blur", 1, 0.7, 0.2)
    folder = write_run(tmp_path, "bwcr", 1, [0.1] * 3)
    write_shift(folder, "noise", 1, 0.8, 0.15)
    figure, table = blocks(tmp_path)
    rows = {tuple(row[:3]): row[3:] for row in table.rows}
    assert rows["noise", "ECE", "DA"] == ["25.0", "", "", "35.0", "", ""]
    assert rows["noise", "ECE", "DA, calibrated"] == ["5.0", "", "", "10.0", "", ""]
    assert rows["noise", "ECE", "BWCR"] == ["10.0", "15.0", "", "", "", ""]
    assert rows["blur", "Dice", "DA"][1] == "70.0"
    assert [row[0] for row in table.rows] == sorted((r[0] for r in table.rows), reverse=True)
    axes = figures[0].axes
    assert [axis.get_title() for axis in axes[:2]] == ["noise", "blur"]
    assert axes[-1].get_xticks().tolist() == [0, 1, 2, 3, 4, 5]
    (da,) = [line for line in axes[2].lines if line.get_label() == "DA"]
    assert da.get_xydata().round(6).tolist() == [[0, 25], [3, 35]]


def test_a_curve_starts_at_the_scores_of_the_runs_that_were_shifted(tmp_path, figures):
    for run, ece in (1, 0.2), (2, 0.4):
        folder = write_run(tmp_path, "da", run, [ece] * 3)
        write_shift(folder, "blur", 2, 0.7, ece)
        if run == 1:
            write_shift(folder, "noise", 3, 0.6, 0.3)
    rows = {tuple(row[:3]): row[3:] for row in blocks(tmp_path)[1].rows}
    assert rows["noise", "ECE", "DA"] == ["20.0", "", "", "30.0", "", ""]
    assert rows["blur", "ECE", "DA"] == ["30.0", "", "30.0", "", "", ""]


def test_a_line_is_of_the_same_runs_at_all_its_severities(tmp_path, figures):
    severities = {
        "da": ((1, 3, 5), (1, 3), (5,)),
        "bwcr": ((1, 2), (2,), ()),
        "cr": ((1,), (2,)),
    }
    for method, of_runs in severities.items():
        for run, some in enumerate(of_runs, start=1):
            folder = write_run(tmp_path, method, run, [run / 10] * 3)
            for severity in some:
                write_shift(folder, "noise", severity, 0.5, run / 10 + severity / 100)
    write_shift(tmp_path / "acdc/ntr5/bwcr/run1", "blur", 4, 0.5, 0.1)
    table = blocks(tmp_path)[1]
    rows = {row[2]: row[3:] for row in table.rows if row[:2] == ["noise", "ECE"]}
    # severities 0, 1 and 3 of runs 1 and 2 are six values; all four of run 1 are but four
    assert rows["DA"] == ["15.0", "16.0", "", "18.0", "", ""]
    assert rows["BWCR"] == ["15.0", "", "17.0", "", "", ""]  # four; three of run 1
    assert rows["CR"] == ["10.0", "11.0", "", "", "", ""]
    fewer = "CR: 1, BWCR, Dice with blur: 1, BWCR, ECE with blur: 1."
    assert f"over volumes and 2 run(s). Fewer runs: {fewer}" in table.note


def test_shifted_scores_after_another_map_than_the_run_s_are_left_out(tmp_path, capsys):
    kept = {"calibration": {"kind": "beta", "choice": "auto", "map": [[[1.0]], [0.0]]}}
    kept["scores_calibrated"] = {"all": {"ece": {"mean": 0.05}}}
    folder = write_run(tmp_path, "da", 1, [0.2] * 3, **kept)
    for severity, bias in (1, 0.0), (2, 0.5):
        path = write_shift(folder, "noise", severity, 0.6, 0.3, 0.1) / "summary.json"
        calibration = {"calibration": {"map": [[[1.0]], [bias]]}}
        path.write_text(json.dumps(json.loads(path.read_text()) | calibration))
    rows = {tuple(row[:3]): row[3:] for row in blocks(tmp_path)[1].rows}
    assert rows["noise", "ECE", "DA, calibrated"] == ["5.0", "10.0", "", "", "", ""]
    assert rows["noise", "ECE", "DA"][2] == "30.0"
    assert (
        "by another map than its others; left out, until evaluate.py --shift=noise:2 "
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("human", [True, False])
def test_scores_against_annotators_are_shown_where_there_are_some(tmp_path, figures, human):
    folder = write_run(tmp_path, "da", 1, [0.2] * 3)
    annotate(folder, [0.1] * 3, human)
    path = write_shift(folder, "noise", 1, 0.6, 0.3) / "summary.json"
    for each in (path, folder / "summary.json"):
        summary = json.loads(each.read_text())
        of_one = {"all": {"ece": {"mean": 0.24}}}
        summary["annotators"] = {"scores": of_one, "human": of_one if human else {}}
        each.write_text(json.dumps(summary))
    measures = [row[1] for row in blocks(tmp_path)[1].rows]
    assert ("ECE against the annotators" in measures) == human


def test_a_run_without_shifts_has_no_such_section_and_a_broken_summary_is_named(tmp_path):
    folder = write_run(tmp_path, "da", 1, [0.2] * 3)
    assert blocks(tmp_path) == []
    path = write_shift(folder, "noise", 3, 0.6, 0.3)
    for content in "{", '["snow", 1]', '["noise", 9]', '["noise", 0]', '["noise", "1"]':
        (path / "summary.json").write_text('{"shift": ' + content + "}")
        with pytest.raises(DataError, match="noise-3/summary.json: not the summary of a shift"):
            blocks(tmp_path)
