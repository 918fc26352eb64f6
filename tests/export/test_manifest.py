import json

from bwcr_tf.data import preprocess
from bwcr_tf.export import manifest
from bwcr_tf.training import run_folder


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
