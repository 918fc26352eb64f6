import types

from report_runs import annotate, write_runs

from bwcr_tf.evaluation import scores
from bwcr_tf.report import against_annotators, notes, scored_runs, supplementary_tables, tables


def lose(path, *volumes):
    """Makes TACE of volumes undefined in a table of scores, as where nothing is predicted."""
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines):
        if line.split(",")[1] in volumes:
            lines[i] = line.replace(",0.15,0.01,", ",nan,nan,")
    path.write_text("\n".join(lines) + "\n")


def test_the_notes_of_tables_count_the_values_that_are_in_no_mean(tmp_path):
    results = write_runs(tmp_path)
    for folder in (results / "acdc/ntr5").glob("*/*"):
        annotate(folder, [0.1] * 3)
        for name in "scores_last.csv", "scores_calibrated.csv":
            (folder / name).write_text((folder / "scores.csv").read_text())
    lose(results / "acdc/ntr5/da/run1/scores.csv", "a_ED", "a_ES")
    lose(results / "acdc/ntr5/da/run2/scores.csv", "a_ED")
    lose(results / "acdc/ntr5/cr/run1/scores_last.csv", "b_ED")
    lose(results / "acdc/ntr5/cr/run1/scores_calibrated.csv", "a_ED", "b_ED")
    lose(results / "acdc/ntr5/bwcr/run2/scores_annotators.csv", "b_ED")
    plain = [run for run in scored_runs.load(results) if run.scale == 1]
    methods = scored_runs.group(plain, "label")
    both = "Undefined, in no mean: TACE×10 and TACE (no pixel has a probability over the threshold)"
    assert f"{both}: DA at 5 3 of 6." in tables.main_table("acdc", plain).note
    assert f"{both}: 0 (DA) 3 of 6." in tables.sweep_table(plain).note
    note = supplementary_tables.selection_table("", methods).note
    assert f"{both}: DA 3 → 0 of 6, CR 0 → 1 of 3." in note
    note = supplementary_tables.calibration_table("", methods).note
    assert "mean: TACE×10 (" in note and "): DA 3 → 0 of 6, CR 0 → 2 of 3." in note
    note = against_annotators.score_table("", methods).note
    assert "mean: TACE (no pixel" in note and "): BWCR 1 of 6." in note
    del methods["DA"]
    assert "Undefined" not in tables.main_table("acdc", methods["CR"]).note


def test_runs_are_named_where_as_many_are_not_the_same():
    def runs(*numbers):
        return [types.SimpleNamespace(number=number) for number in numbers]

    said = "Per cent, mean ± sd over volumes and 3 run(s)."
    assert notes.runs({"a": runs("1", "2", "3"), "b": runs("3", "1", "2")}) == said
    fewer = f"{said} Fewer runs: b: 1."
    assert notes.runs({"a": runs("1", "2", "3"), "b": runs("1")}) == fewer
    other = f"{said} Runs: a 1, 2, 3; b 1, 2, 4."
    assert notes.runs({"a": runs("1", "2", "3"), "b": runs("1", "2", "4")}) == other


def test_what_is_undefined_alike_is_said_once(tmp_path):
    results = write_runs(tmp_path)
    for path in results.glob("acdc/ntr5/*/run1/scores.csv"):
        lose(path, "b_ED")
    found = [run for run in scored_runs.load(results) if run.number == "1" and run.scale == 1]
    note = notes.undefined(scored_runs.group(found, "label"), [scores.METRICS["tace"]])
    assert note.endswith("threshold): each 1 of 3.")
