from report_runs import write_run

from bwcr_tf.report import contents, scored_runs


def test_a_temperature_of_1_is_no_scaling(tmp_path):
    for method, value in ("da", 1.0), ("cr", 1.5), ("bwcr", 1.0):
        same = {"temperature": value, "scores_calibrated": {}}
        write_run(tmp_path, method, 1, [0.1] * 3, **same)
    found = contents.test_tables("", scored_runs.group(scored_runs.load(tmp_path), "label"))
    assert [row[0] for row in found[-1].rows] == ["BWCR − (CR with T)"]
