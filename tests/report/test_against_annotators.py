import numpy as np
from report_runs import annotate, write_run, write_runs

from bwcr_tf.report import against_annotators, contents, page, scored_runs, tables


def annotated_runs(tmp_path):
    for method, run, ece in ("da", 1, 0.2), ("da", 2, 0.3), ("bwcr", 1, 0.1), ("bwcr", 2, 0.12):
        folder = write_run(tmp_path, method, run, [0.9] * 3)  # which must not count
        annotate(folder, [ece, ece + 0.1, ece], pooled_error=ece / 2)
    annotate(write_run(tmp_path, "ls", 1, [0.9] * 3), [0.4] * 3, pooled_error=0.05)
    return scored_runs.load(tmp_path)


def test_scores_against_the_annotators_by_hand(tmp_path):
    ((setting, methods),) = against_annotators.settings(annotated_runs(tmp_path)).items()
    table = against_annotators.score_table(setting, methods)
    assert setting == "acdc, 5 training subjects"
    assert table.header == [
        *("Method", "Pooled error ↓", "Error where they disagree ↓", "ECE ↓", "TACE ↓"),
        *("NLL×10³ ↓", "Brier×10³ ↓", "Dice ↑", "CRPS of the volume ↓", "Volume error ↓"),
    ]
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["DA", "BWCR", "Label smoothing", "One annotator"]
    ece = 100 * np.array([0.2, 0.3, 0.2, 0.3, 0.4, 0.3])
    assert rows["DA"][:3] == ["12.5", "**30.0**", f"{ece.mean():.1f} ± {ece.std():.1f}"]
    assert rows["BWCR"][0] == "5.5" and rows["Label smoothing"][0] == "**5.0**"
    assert rows["BWCR"][2].startswith("**14.3")
    assert rows["BWCR"][4:6] == ["300.0 ± 0.0", "100.0 ± 0.0"]  # equal: the first is in bold
    assert rows["BWCR"][6:] == ["80.0 ± 0.0", "1.50 ± 0.00", "25.0 ± 0.0"]
    assert rows["One annotator"] == ["", "", "24.0 ± 8.0", "", "", "", "79.0 ± 11.0", "", ""]
    assert "2 run(s). Fewer runs: Label smoothing: 1." in table.note


def test_the_note_says_how_many_volumes_have_several_annotators(tmp_path):
    runs = annotated_runs(tmp_path)
    assert "test volumes" not in against_annotators.score_table("", {"DA": runs[:2]}).note
    for run in runs:
        path = run.folder / "scores_annotators.csv"
        lines = [line for line in path.read_text().splitlines() if ",b_ED," not in line]
        path.write_text("\n".join(lines) + "\n")
    (methods,) = against_annotators.settings(scored_runs.load(tmp_path)).values()
    assert "Of 2 of 3 test volumes:" in against_annotators.score_table("", methods).note


def test_differences_are_those_of_the_scores_against_the_annotators(tmp_path):
    (methods,) = against_annotators.settings(annotated_runs(tmp_path)).values()
    found = tables.tests("BWCR", methods, "annotators", against_annotators.TESTED)["BWCR"]
    assert list(found) == ["BWCR − DA", "BWCR − Label smoothing"]
    np.testing.assert_allclose(found["BWCR − DA"]["ECE"], [-14, -14])
    np.testing.assert_allclose(found["BWCR − Label smoothing"]["ECE"], [-25, -30])
    np.testing.assert_allclose(found["BWCR − DA"]["NLL×10³"], [0, 0])


def test_selection_is_shown_beside_the_last_step_where_all_runs_of_a_method_have_it(tmp_path):
    runs = annotated_runs(tmp_path)
    for run in runs:
        if run.method == "da" or run.number == "2":
            text = (run.folder / "scores_annotators.csv").read_text()
            (run.folder / "scores_annotators_last.csv").write_text(
                text.replace(",0.2,", ",0.5,")
            )
    blocks = against_annotators.make_blocks(scored_runs.load(tmp_path), tmp_path, tmp_path)
    titled = {block.title: block for block in blocks if isinstance(block, page.Table)}
    table = titled["Selection, acdc, 5 training subjects, against the annotators"]
    assert not any("at the last step" in title for title in titled)  # BWCR's is not known
    assert table.header[:2] == ["Method", "ECE ↓"] and [row[0] for row in table.rows] == ["DA"]
    # ECE of run 1 is 0.2, 0.3, 0.2 and then 0.5, 0.3, 0.5; of run 2 it is 0.3, 0.4, 0.3
    assert table.rows[0][1] == f"{100 * 1.7 / 6:.1f} → {100 * 2.3 / 6:.1f}"


def test_the_last_step_is_tested_by_its_own_scores(tmp_path):
    for run in annotated_runs(tmp_path):
        text = (run.folder / "scores_annotators.csv").read_text()
        for ece in "0.1", "0.12", "0.2":  # of BWCR's runs, and in part of DA's run 1
            text = text.replace(f",,{ece},", ",,0.25,")
        (run.folder / "scores_annotators_last.csv").write_text(text)
    blocks = against_annotators.make_blocks(scored_runs.load(tmp_path), tmp_path, tmp_path)
    titled = {block.title: block for block in blocks if isinstance(block, page.Table)}
    title = "Tests of BWCR against the annotators at the last step, acdc, 5 training subjects"
    row = titled[title].rows[0]
    # of subject a: BWCR 25, 25, 25, 22, DA 25, 30, 30, 40; of subject b: BWCR 25, DA 25 and 30
    a = np.mean([25 - 25, 25 - 30, 25 - 30, 22 - 40])
    assert row[:2] == ["BWCR − DA", f"−4.8 [{a:.1f}, −2.5]".replace("-", "−")]


def test_the_verdict_names_what_is_better_and_worse():
    draw = np.random.default_rng(0).normal(size=(3, 40))
    shifts = np.array([[-3], [2], [0]]) - draw.mean(axis=1, keepdims=True)
    low, high, none = draw + shifts
    tests = [
        {"ECE": low, "TACE": high, "NLL×10³": low},
        {"ECE": high, "TACE": high, "NLL×10³": low},
        {"ECE": none, "TACE": none, "NLL×10³": low},
    ]
    text = against_annotators.ranking(["DA", "NACL", "CR"], tests)
    assert text == (
        "Against 3 other method(s), at Holm's p < 0.05, BWCR's ECE is lower than that of 1, "
        "higher than that of 1 (NACL), not told apart from that of 1 (CR); its TACE is higher "
        "than that of 2 (DA; NACL), not told apart from that of 1 (CR); its NLL is lower than "
        "that of 3."
    )


def test_the_verdict_gives_the_difference_from_da_with_its_sign(tmp_path):
    (line,) = against_annotators.verdicts(annotated_runs(tmp_path))
    assert line.startswith("**acdc, 5 training subjects, against the annotators.** ")
    assert "minus DA's is −14.0 [−14.0, −14.0] points, at a Dice difference of +0.0" in line
    assert "not told apart from that of 2 (DA; Label smoothing)" in line  # of two subjects


def test_runs_that_were_not_scored_against_several_annotators_are_left_out(tmp_path):
    results = write_runs(tmp_path)
    folder = write_run(results, "da", 1, [0.1] * 3, "phantom")
    annotate(folder, [0.1] * 3, human=False)  # true probabilities, of no annotators
    found = scored_runs.load(results)
    assert against_annotators.make_blocks(found, results, tmp_path) == []
    assert list(against_annotators.verdicts(found)) == []
    annotate(results / "acdc/ntr5/da/run1", [0.1] * 3)
    (methods,) = against_annotators.settings(scored_runs.load(results)).values()
    assert [run.number for run in methods["DA"]] == ["1"] and list(methods) == ["DA"]


def test_the_section_is_in_the_report(tmp_path):
    found = annotated_runs(tmp_path / "runs")
    blocks = contents.make_blocks(found, tmp_path / "runs", tmp_path)
    assert "## Against the annotators" in blocks
    written = {path.name for path in tmp_path.glob("*.png")}
    assert {"annotators_acdc_ntr5.png", "agreement_acdc_ntr5.png"} <= written
