import types

import numpy as np
import pytest

from bwcr_tf.evaluation import volumes
from bwcr_tf.predict import volumetry
from bwcr_tf.system.errors import DataError

P = np.array([0.98, 0.6, 0.45, 0.02]).reshape(1, 2, 2)
PROBABILITIES = np.stack([1 - P, P], axis=-1)


def test_row_has_the_columns_in_order_with_volumes_counted_by_hand():
    rule = volumes.Rule(0.4, 1.0, "nested", 1.0, 2 / 3)  # from p 0.27 to 0.73
    row = volumetry.of_scan(PROBABILITIES, 0.5, ("LV",), [rule])
    assert {name: round(value, 6) for name, value in row.items()} == {
        "LV_ml": 1.0,
        "LV_calibrated_ml": 1.015,
        "LV_low_ml": 0.5,
        "LV_high_ml": 1.5,
        "LV_coverage": 0.666,  # and not 0.667
    }
    assert list(row) == [f"LV_{what}" for what in volumetry.VOLUMES]


def test_each_class_has_the_interval_and_the_coverage_of_its_own_rule():
    p = np.array([(0.1, 0.8, 0.1), (0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.8, 0.1, 0.1)])
    rules = [volumes.Rule(None, f, "relative", f / 10, f / 4) for f in (1.0, 2.0)]  # of ten
    row = volumetry.of_scan(p.reshape(1, 2, 2, 3), 0.5, ("A", "B"), rules)
    expected = {"A": (1.0, 1.0, 0.5, 1.5, 0.25), "B": (0.5, 1.0, 0.0, 1.5, 0.5)}
    for name, values in expected.items():
        found = [row[f"{name}_{what}"] for what in volumetry.VOLUMES]
        assert found == pytest.approx(values)


def test_model_without_rules_leaves_all_but_the_labels_volume_empty():
    row = volumetry.of_scan(PROBABILITIES, 0.5, ("LV",))
    assert row.pop("LV_ml") == 1.0 and set(row.values()) == {""} and len(row) == 4


def test_classes_that_share_a_column_are_refused(tmp_path):
    volumetry.check_classes(("glioma", "glioma_core", "low", "glioma low"), tmp_path)
    for names in ["glioma", "glioma_low"], ["a_calibrated", "a"], ["a", "b", "a"]:
        with pytest.raises(
            DataError, match=f"{tmp_path}: column '.*_ml' of volumes.csv is of two"
        ):
            volumetry.check_classes(names, tmp_path)


def test_a_table_that_another_program_saved_in_its_own_encoding_is_refused(tmp_path):
    model = types.SimpleNamespace(classes=("LV",), name="m")
    volumetry.write_volumes(
        tmp_path, [{"scan": "é"} | volumetry.of_scan(PROBABILITIES, 1, ["LV"]) | {"model": "m"}]
    )
    assert list(volumetry.read_volumes(tmp_path, model)) == ["é"]
    path = tmp_path / "volumes.csv"
    path.write_bytes(path.read_text("utf-8").encode("cp1252"))
    with pytest.raises(DataError, match="volumes.csv: no table in UTF-8"):
        volumetry.read_volumes(tmp_path, model)


def test_small_volumes_keep_their_digits_and_a_byte_order_mark_is_read(tmp_path):
    """A lesion of three voxels of 0.5 x 0.5 x 1.25 mm, and one of micrometres."""
    model = types.SimpleNamespace(classes=("LV",), name="m")
    row = {"LV_ml": 0.0009375, "LV_calibrated_ml": 5.67e-12, "LV_low_ml": 0.0}
    row |= {"LV_high_ml": 1234.5, "LV_coverage": 0.9}
    volumetry.write_volumes(tmp_path, [{"scan": "a"} | row | {"model": "m"}])
    path = tmp_path / "volumes.csv"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    found = volumetry.read_volumes(tmp_path, model)["a"]
    assert {name: float(found[name]) for name in row} == row


@pytest.mark.parametrize("cells", [",", ",a note"])
def test_a_row_that_was_given_more_cells_is_refused(cells, tmp_path):
    """Those of the first row would be a column without a name in the next table."""
    model = types.SimpleNamespace(classes=("LV",), name="m")
    row = volumetry.of_scan(PROBABILITIES, 1, ["LV"]) | {"model": "m"}
    volumetry.write_volumes(tmp_path, [{"scan": name} | row for name in "ab"])
    path = tmp_path / "volumes.csv"
    path.write_text(path.read_text().rstrip() + cells + "\n")
    with pytest.raises(DataError, match="volumes.csv: b has more cells than there are columns"):
        volumetry.read_volumes(tmp_path, model)
