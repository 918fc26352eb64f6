import json

from report_runs import write_run

from bwcr_tf.evaluation import calibration, calibration_record
from bwcr_tf.report import contents, scored_runs


def test_a_sweep_alone_has_its_table_and_no_empty_ones(tmp_path):
    write_run(tmp_path, "cr", 1, [0.1] * 3, scale=10.0)
    heading, sweep = contents.dataset_blocks("acdc", scored_runs.load(tmp_path), tmp_path)
    assert heading == "## acdc" and sweep.title == "Table 1, acdc, 5 training subjects"


def test_scores_of_another_calibration_than_the_run_s_are_left_out(tmp_path, capsys):
    none, of_volumes = (
        calibration_record.to_json(calibration.identity(3)),
        {"rules": {"RV": {}}},
    )
    kept = {"calibration": {"kind": "none", "choice": "auto", "map": none}}
    folder = write_run(tmp_path, "da", 1, [0.2] * 3, scores_calibrated={}, **kept)
    record = {"choice": "auto", "kind": "none", "volumes": None}
    calibration_record.save(folder, record)
    (run,) = scored_runs.load(tmp_path)
    assert run.calibrated and not capsys.readouterr().err
    calibration_record.save(
        folder, record | {"kind": "beta", "weights": [[1.0] * 3] * 6, "bias": [0.0] * 3}
    )
    (run,) = scored_runs.load(tmp_path)
    assert not run.calibrated and not {"calibration", "scores_calibrated"} & {*run.summary}
    told = f"warning: {folder}: exported with another calibration after it was scored; "
    assert f"{told}calibration and scores_calibrated of summary.json" in capsys.readouterr().err
    calibration_record.save(folder, record)
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"volumes": of_volumes}))
    (run,) = scored_runs.load(tmp_path)
    assert run.calibrated and "volumes" not in run.summary
    assert f"{told}volumes of summary.json are left out" in capsys.readouterr().err


def test_a_temperature_of_1_is_no_scaling(tmp_path):
    given = {
        "da": {"temperature": 1.0},
        "svls": {"calibration": {"choice": "none"}},
        "cr": {"temperature": 1.5},
        "mls": {"calibration": {"choice": "auto"}},
        "bwcr": {"temperature": 1.0},
    }
    for method, its_map in given.items():
        same = its_map | {"scores_calibrated": {}}
        write_run(tmp_path, method, 1, [0.1] * 3, **same)
    found = contents.test_tables("", scored_runs.group(scored_runs.load(tmp_path), "label"))
    assert {row[0] for row in found[-1].rows} == {
        f"BWCR − ({m} calibrated)" for m in ("CR", "MLS")
    }


def test_the_last_step_is_tested_where_both_runs_are_scored_with_it(tmp_path):
    for method, ece, of_last in ("da", 0.3, 0.5), ("cr", 0.2, 0.1), ("bwcr", 0.1, 0.2):
        folder = write_run(tmp_path, method, 1, [ece] * 3)
        if method != "cr":
            text = (folder / "scores.csv").read_text().replace(f",,{ece},", f",,{of_last},")
            (folder / "scores_last.csv").write_text(text)
    found = contents.test_tables("x", scored_runs.group(scored_runs.load(tmp_path), "label"))
    shown = {
        table.title: [(row[0], row[4].split(" ")[0]) for row in table.rows] for table in found
    }
    assert shown == {
        "Tests of BWCR, x": [("BWCR − DA", "−20.0"), ("BWCR − CR", "−10.0")],
        "Tests of BWCR at the last step, x": [("BWCR − DA", "−30.0")],
        "Tests of CR, x": [("CR − DA", "−10.0")],
    }
