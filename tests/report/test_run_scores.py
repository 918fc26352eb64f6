import numpy as np
from report_runs import of_method, write_runs

from bwcr_tf.report import run_scores


def test_scores_by_volume_are_those_of_all_structures(tmp_path):
    results = write_runs(tmp_path)
    path = results / "acdc/ntr5/cr/run1/scores.csv"
    path.write_text(path.read_text().replace(",RV,0.8,", ",RV,0.2,"))
    found = of_method(results, "cr")
    assert set(run_scores.by_volume(found, "dice").values()) == {0.8}
    assert run_scores.by_volume(found, "ece")["a", "a_ES", "1"] == 0.2


def test_differences_pair_runs_and_volumes_of_a_subject(tmp_path):
    results = write_runs(tmp_path)
    found = run_scores.differences(of_method(results, "bwcr"), of_method(results, "da"))
    np.testing.assert_allclose(found["ECE"], [-15, -5])
    only_run_1 = run_scores.differences(of_method(results, "bwcr"), of_method(results, "cr"))
    np.testing.assert_allclose(only_run_1["ECE"], [(-5 - 10) / 2, -3])
    scaled = [run._replace(calibrated=run.rows, rows=[]) for run in of_method(results, "da")]
    found = run_scores.differences(of_method(results, "bwcr"), scaled, ("rows", "calibrated"))
    np.testing.assert_allclose(found["ECE"], [-15, -5])
