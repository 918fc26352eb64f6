import json
import types

import numpy as np
import pytest
import tensorflow as tf
from conftest import heart, write_image

from bwcr_tf.data import cache, preprocess
from bwcr_tf.data.settings import Settings
from bwcr_tf.data.subjects import Volume
from bwcr_tf.evaluation import __main__ as evaluation
from bwcr_tf.evaluation import calibration, calibration_record, inference, scores, scoring
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, run_folder


def predict(slices):
    """Any function of the image."""
    p = np.concatenate([1 - slices, slices, slices**2, slices**3], axis=-1) + 0.1
    return p / p.sum(axis=-1, keepdims=True)


def test_scores_of_shifted_scans_have_a_folder_of_their_own(tmp_path):
    settings = Settings(num_classes=4, size=32, pixel_mm=2.0, n4_shrink=0)
    paths = [write_image(tmp_path / f"{k}.nii.gz", array) for k, array in enumerate(heart(1))]
    case = preprocess.preprocess(Volume("a_ED", *paths), settings, "a", ("noise", 3))
    classes = ("RV", "MYO", "LV")

    (tmp_path / "scores.csv").write_text("as it was")
    its_map = calibration.scaled(4, 2.0)
    written = scoring.score_all(predict, its_map, [case], classes)
    result = scoring.write_shifted(tmp_path, ("noise", 3), written, its_map, classes)
    folder = tmp_path / "shifts" / "noise-3"
    assert (tmp_path / "scores.csv").read_text() == "as it was"
    found = {path.name for path in folder.iterdir()}
    assert found == {"scores.csv", "scores_calibrated.csv", "summary.json"}
    assert json.loads((folder / "summary.json").read_text()) == result
    assert result["shift"] == ["noise", 3]
    for name, p in (
        ("scores", predict(case.image)),
        ("scores_calibrated", calibration.apply(its_map, predict(case.image))),
    ):
        expected = inference.score(p, case, classes)
        rows = scores.read(folder / f"{name}.csv")
        assert [row["class"] for row in rows] == [*classes, "all"]
        for row, one in zip(rows, expected, strict=True):
            for metric in scores.METRICS.keys() & one.keys():
                np.testing.assert_allclose(row[metric], one[metric], atol=1e-6)
    assert (
        result["scores"]["all"]["ece"]["mean"]
        != result["scores_calibrated"]["all"]["ece"]["mean"]
    )


def test_last_weights_have_a_table_of_their_own(tmp_path, monkeypatch):
    """Of two networks, which see one shifted scan."""
    settings = Settings(num_classes=4, size=32, pixel_mm=2.0, n4_shrink=0)
    paths = [write_image(tmp_path / f"{k}.nii.gz", array) for k, array in enumerate(heart(1))]
    case = preprocess.preprocess(Volume("a_ED", *paths), settings, "a", ("noise", 3))
    spec = run_folder.RunSpec("acdc", ("RV", "MYO", "LV"), settings, ("a",), ("b",), ("c",))
    monkeypatch.setattr(cache, "prepare", lambda *_, shift: [case])
    monkeypatch.setattr(
        calibration_record, "load", lambda *_: (None, calibration.scaled(4, 2.0))
    )
    monkeypatch.setattr(checkpoints, "load_best", lambda folder: 1)
    monkeypatch.setattr(checkpoints, "load_last", lambda folder: 3)
    monkeypatch.setattr(
        inference, "predictor", lambda power: lambda image: predict(image**power)
    )
    for weights in ("last", "best"):
        evaluation.evaluate_shifted(tmp_path, [], spec, "", [("noise", 3)], weights)
    for name, power in (("scores_last.csv", 3), ("scores.csv", 1)):
        rows = scores.read(tmp_path / "shifts" / "noise-3" / name)
        (expected,) = inference.score(predict(case.image**power), case, spec.classes)[-1:]
        assert rows[-1]["nll"] == pytest.approx(expected["nll"], abs=1e-6)


def test_shifts_of_mri_are_refused_for_a_run_with_ct(tmp_path, monkeypatch):
    settings = Settings(num_classes=2, size=32, windows=(None, (-100.0, 200.0)))
    spec = run_folder.RunSpec("nnunet", ("a",), settings, ("a",), ("b",), ("c",))
    run_folder.claim(tmp_path, {"dataset": "nnunet"}, spec)
    given = {"run_dir": str(tmp_path), "data_dir": "d", "cache_dir": "c", "weights": "best"}
    monkeypatch.setattr(
        evaluation, "FLAGS", types.SimpleNamespace(**given, shift=["noise:1", "bias:5"])
    )
    monkeypatch.setattr(run_folder.RunSpec, "subjects", lambda *_: [])
    monkeypatch.setattr(evaluation.quiet, "import_tensorflow", lambda: None)
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    with pytest.raises(DataError, match="shift=bias:5: not of CT"):
        evaluation.main([])
