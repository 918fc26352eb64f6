import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from report_runs import annotate, kept_figures, write_run

from bwcr_tf import boundary
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.report import against_annotators, contents, figures, names, scored_runs


@pytest.fixture
def drawn(monkeypatch):
    yield from kept_figures(monkeypatch, figures)


def test_binary_loss_is_eq_1_by_hand():
    assert figures.binary_loss(0.0, 3.0, 0.0) == pytest.approx(math.log(2))
    assert figures.binary_loss(2.0, -1.0, 0.1) == pytest.approx(math.log1p(math.exp(-2)) + 0.9)


def test_figure_2_shows_the_weight_of_eq_3_at_each_distance(drawn, tmp_path):
    figures.weight_maps(tmp_path)
    distance, weight = (axis.images[0].get_array() for axis in drawn[0].axes[2:4])
    volume = phantom.make_volume(0, 4, "ED")
    label_map = volume.label_map[len(volume.label_map) // 2]
    np.testing.assert_array_equal(distance, boundary.distance(label_map, 4))
    radius = 10 * max(label_map.shape) / 192  # R of the paper's grid on this one
    assert distance.min() == 0 and distance.max() > radius
    expected = np.where(distance < radius, 1.01 - distance / radius, 0.01)
    np.testing.assert_allclose(weight, expected, atol=1e-6)


def test_figure_3_says_for_how_many_subjects_the_error_falls(drawn, tmp_path):
    """Subject a has two volumes, b one; CR is better on average, but for b alone."""
    write_run(tmp_path, "da", 1, [0.2, 0.3, 0.5])
    write_run(tmp_path, "cr", 1, [0.3, 0.3, 0.1])
    write_run(tmp_path, "bwcr", 1, [0.1, 0.39, 0.1])
    (figure,) = figures.improvement(tmp_path, "acdc", scored_runs.load(tmp_path))
    assert figure.caption.endswith(
        "Subjects whose ECE falls: CR 50% (N_tr = 5), BWCR 100% (N_tr = 5)."
    )
    boxes = [to_hex(patch.get_facecolor()) for patch in drawn[0].axes[0].patches]
    assert boxes == [names.line(method)["color"].lower() for method in ("cr", "bwcr")]


def test_methods_without_a_run_in_common_are_not_compared(tmp_path):
    for method, run in ("da", 1), ("bwcr", 2):
        annotate(write_run(tmp_path, method, run, [0.2, 0.3, 0.5]), [0.1, 0.2, 0.3])
    found = scored_runs.load(tmp_path)
    assert figures.improvement(tmp_path, "acdc", found) == []
    assert list(contents.verdicts(found)) == []
    assert list(against_annotators.verdicts(found)) == []  # nor is "not told apart" said
    assert contents.test_tables("", scored_runs.group(found, "label")) == []
