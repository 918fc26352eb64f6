from report_runs import write_run

from bwcr_tf.report import contents, page, scored_runs, volume_table


def of_class(label, calibrated, covered, inside=None):
    return {
        "level": 2 / 3, "kind": "nested", "volume": "label", "label_error": label,
        "calibrated_error": calibrated, "covered": covered, "subjects": 2, "width_ml": 1.5,
        "annotators_inside": inside,
    }  # fmt: skip


def test_volumes_are_averaged_over_structures_and_runs(tmp_path):
    for run, shift in (1, 0.0), (2, 0.1):
        classes = {"RV": of_class(0.3 + shift, 0.2, 1), "LV": of_class(0.4, None, 2, 0.75)}
        write_run(tmp_path, "da", run, [0.1] * 3, volumes={"classes": classes})
    write_run(tmp_path, "bwcr", 1, [0.1] * 3)
    methods = scored_runs.group(scored_runs.load(tmp_path), "label")
    table = volume_table.make("x", {"DA": methods["DA"]})
    assert table.rows == [["DA", "37.5 → 20.0", "66.6", "75.0", "75.0", "1.50", "nested"]]
    shown = [block for block in contents.setting_blocks("x", methods, tmp_path)
             if isinstance(block, page.Table) and block.title == "Volumes, x"]  # fmt: skip
    assert [row[0] for row in shown[0].rows] == ["DA"]  # runs without records have no row
