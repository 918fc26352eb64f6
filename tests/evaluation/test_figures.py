import numpy as np
import pytest

from bwcr_tf.evaluation import figures


def test_reliability_of_no_foreground_is_an_empty_diagram(tmp_path):
    table = {name: np.zeros(15) for name in ("count", "confidence", "correct")}
    figures.reliability_diagram({"da": table}, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_axes_of_a_diagram_start_below_its_least_value(monkeypatch):
    kept = []
    monkeypatch.setattr(figures, "save", lambda figure, path: kept.append(figure))
    table = {"count": [0, 2, 4], "confidence": [0, 1.1, 3.6], "correct": [0, 0.9, 4]}
    table = {key: np.array(values) for key, values in table.items()}
    figures.reliability_diagram({"da": table}, None)
    upper, lower = kept[0].axes
    assert upper.get_xlim() == upper.get_ylim() == lower.get_xlim() == pytest.approx((0.4, 1))
    np.testing.assert_allclose(lower.lines[0].get_ydata(), [2 / 6, 4 / 6])


def test_the_fullest_slice_counts_pixels_and_not_classes():
    label_map = np.zeros((3, 2, 2), np.uint8)
    label_map[1, 0] = 1
    label_map[2, 0, 0] = 3
    assert figures.fullest_slice(label_map, 4) == 1
    label_map[1, 0] = 4  # ignored
    assert figures.fullest_slice(label_map, 4) == 2


def test_ignored_pixels_are_not_painted_as_a_structure():
    label_map = np.array([[0, 1, 2, 3]], np.uint8)  # of three classes: 3 is ignored
    shown = figures.strip(np.ones((1, 4)), label_map, np.full((1, 4, 3), 1 / 3), label_map)
    grey = np.ptp(shown[0, 4:8], axis=-1) == 0  # the second picture
    assert grey.tolist() == [True, False, False, True]
