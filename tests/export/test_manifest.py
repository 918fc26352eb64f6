import json

from bwcr_tf.data import preprocess
from bwcr_tf.export import manifest
from bwcr_tf.training import run_folder


def test_model_json_names_the_channels_and_their_windows():
    settings = preprocess.Settings(2, windows=(None, (-100.0, 240.0)))
    spec = run_folder.RunSpec(
        "nnunet", ("a",), settings, ("a",), ("b",), ("c",), channels=("T1", "CT")
    )
    found = manifest.describe(spec, {"dataset": "nnunet"})
    assert found["channels"] == ("T1", "CT")
    assert found["input"] == "image [N, H, W, 2] float32 in [0, 1]"
    assert found["preprocessing"]["windows"] == (None, (-100.0, 240.0))


def test_codes_are_those_of_the_data_set_at_the_time_of_export(tmp_path):
    spec = run_folder.RunSpec("nnunet", ("LV",), preprocess.Settings(2), ("a",), ("b",), ("c",))
    flags = {"dataset": "nnunet", "data_dir": str(tmp_path)}
    assert manifest.describe(spec, flags)["codes"] == {}
    content = {
        "labels": {"background": 0, "LV": 1},
        "codes": {"LV": ["87878005", "Left ventricle"]},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    expected = {"LV": ["87878005", "Left ventricle", "Anatomical Structure"]}
    assert manifest.describe(spec, flags)["codes"] == expected
