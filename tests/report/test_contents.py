from report_runs import write_run

from bwcr_tf.report import contents, scored_runs


def test_a_sweep_alone_has_its_table_and_no_empty_ones(tmp_path):
    write_run(tmp_path, "cr", 1, [0.1] * 3, scale=10.0)
    heading, sweep = contents.dataset_blocks("acdc", scored_runs.load(tmp_path), tmp_path)
    assert heading == "## acdc" and sweep.title == "Table 1, acdc, 5 training subjects"


def test_a_temperature_of_1_is_no_scaling(tmp_path):
    given = {
        "da": {"temperature": 1.0},
        "svls": {"calibration": {"choice": "none"}},
        "cr": {"temperature": 1.5},
        "mls": {"calibration": {"choice": "auto"}},
        "bwcr": {"temperature": 1.0},
    }
    for method, calibration in given.items():
        same = calibration | {"scores_calibrated": {}}
        write_run(tmp_path, method, 1, [0.1] * 3, **same)
    found = contents.test_tables("", scored_runs.group(scored_runs.load(tmp_path), "label"))
    assert {row[0] for row in found[-1].rows} == {
        f"BWCR − ({m} calibrated)" for m in ("CR", "MLS")
    }
