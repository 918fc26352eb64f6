import math
from types import SimpleNamespace

import numpy as np
import pytest

from bwcr_tf import boundary, unet
from bwcr_tf.data.preprocess import Settings
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.report import figures


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras 3.15, NumPy 2
def test_figure_4_is_drawn_by_the_networks_of_the_runs(drawn, tmp_path):
    unet.save(unet.build_unet(32, 4, width=4), tmp_path / "best.keras")
    spec = SimpleNamespace(
        classes=("RV", "MYO", "LV"), settings=Settings(4, 32, 8.0, n4_shrink=0)
    )
    run = SimpleNamespace(
        dataset="phantom", ntr=3, number="1", scale=1, label="DA", folder=tmp_path, spec=spec
    )
    (figure,) = figures.confidence_maps(tmp_path, [run], tmp_path)
    assert figure.path == tmp_path / "confidence_maps.png"
    image, truth, predicted = (axis.images[0].get_array() for axis in drawn[0].axes[:3])
    assert image.shape == truth.shape == predicted.shape == (32, 32)
    assert 0.5 < truth.max() <= 1 and 0 < predicted.min() < predicted.max() < 1


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn instead of saved."""
    kept = []
    monkeypatch.setattr(figures, "save", lambda figure, path: kept.append(figure))
    yield kept
    for figure in kept:
        figures.plt.close(figure)


def test_binary_loss_is_eq_1_by_hand():
    assert figures.binary_loss(0.0, 3.0, 0.0) == pytest.approx(math.log(2))
    assert figures.binary_loss(2.0, -1.0, 0.1) == pytest.approx(math.log1p(math.exp(-2)) + 0.9)


def test_figure_2_shows_the_weight_of_eq_3_at_each_distance(drawn, tmp_path):
    figures.weight_maps(tmp_path)
    distance, weight = (axis.images[0].get_array() for axis in drawn[0].axes[2:4])
    volume = phantom.make_volume(0, 4, "ED")
    label_map = volume.label_map[len(volume.label_map) // 2]
    np.testing.assert_array_equal(distance, boundary.distance(label_map, 4))
    radius = 10 * label_map.shape[-1] / 192  # R of the paper's grid on this one
    assert distance.min() == 0 and distance.max() > radius
    expected = np.where(distance < radius, 1.01 - distance / radius, 0.01)
    np.testing.assert_allclose(weight, expected, atol=1e-6)


def runs(*gaps):
    """Runs whose confidence minus accuracy by band is `gaps`, and whose ECE is twice that."""
    for gap in gaps:
        ece = [value and 2 * value for value in gap]
        distance = {"edges": [0, 5], "gap": gap, "ece": ece}
        yield SimpleNamespace(dataset="acdc", ntr=5, summary={"distance": distance})


def test_curves_by_distance_are_means_over_runs_in_points(drawn, tmp_path):
    found = list(runs([0.2, 0.1, None], [0.4, None, None]))
    figure = figures.by_distance(tmp_path, "acdc, 5 training subjects", {"DA": found})
    assert figure.path == tmp_path / "distance_acdc_ntr5.png"
    gap, ece = (axis.lines[-1].get_ydata() for axis in drawn[0].axes)
    np.testing.assert_allclose(gap, [30, 10, np.nan])
    np.testing.assert_allclose(ece, [60, 20, np.nan])
    names = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert names == ["0-5", "over 5", "none in\nthe slice"]
