import json

from bwcr_tf.data import preprocess
from bwcr_tf.export import manifest
from bwcr_tf.training import run_folder


def test_model_json_names_the_channels_and_their_windows():
    settings = preprocess.Settings(2, windows=(None, (-100.0, 240.0)))
    spec = run_folder.RunSpec(
        "nnunet", ("a",), settings, ("a",), ("b",), ("c",), channels=("T1", "CT")
    )
    found = manifest.describe(spec, {"dataset": "nnunet"}, {})
    assert found["channels"] == ("T1", "CT")
    assert found["input"] == "image [N, H, W, 2] float32 in [0, 1]"
    assert found["preprocessing"]["windows"] == (None, (-100.0, 240.0))


def test_codes_are_those_of_the_data_set_at_the_time_of_export(tmp_path):
    """Without a data set, those of the last export."""
    exported = tmp_path / "saved_model"
    assert manifest.class_codes(tmp_path, exported) == {}
    content = {
        "labels": {"background": 0, "LV": 1},
        "codes": {"LV": ["87878005", "Left ventricle"]},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    expected = {"LV": ["87878005", "Left ventricle", "Anatomical Structure"]}
    assert manifest.class_codes(tmp_path, exported) == expected
    exported.mkdir()
    (exported / "model.json").write_text(json.dumps({"codes": {"LV": ["1", "Old", "Tissue"]}}))
    assert manifest.class_codes(str(tmp_path), exported) == expected
    assert manifest.class_codes(tmp_path / "moved", exported) == {"LV": ["1", "Old", "Tissue"]}
    (tmp_path / "dataset.json").write_text(json.dumps(content | {"codes": {}}))
    assert manifest.class_codes(tmp_path, exported) == {}
