from types import SimpleNamespace

import numpy as np
import pytest
from report_runs import kept_figures

from bwcr_tf.report import curves


@pytest.fixture
def drawn(monkeypatch):
    yield from kept_figures(monkeypatch, curves)


def run(method="da", **summary):
    return SimpleNamespace(
        dataset="acdc", ntr=5, method=method, labels="first", summary=summary
    )


def runs(*gaps):
    """Runs whose confidence minus accuracy by band is `gaps`, and whose ECE is twice that."""
    for gap in gaps:
        ece = [value and 2 * value for value in gap]
        yield run(distance={"edges": [0, 5], "gap": gap, "ece": ece})


def test_curves_by_distance_are_means_over_runs_in_points(drawn, tmp_path):
    found = list(runs([0.2, 0.1, None], [0.4, None, None]))
    figure = curves.by_distance(tmp_path, "acdc, 5 training subjects", {"DA": found})
    assert figure.path == tmp_path / "distance_acdc_ntr5.png"
    gap, ece = (axis.lines[-1].get_ydata() for axis in drawn[0].axes)
    np.testing.assert_allclose(gap, [30, 10, np.nan])
    np.testing.assert_allclose(ece, [60, 20, np.nan])
    names = [label.get_text() for label in drawn[0].axes[0].get_xticklabels()]
    assert names == ["0-5", "over 5", "none in\nthe slice"]


def levels(fraction, count, probability, error):
    columns = {"fraction": fraction, "count": count, "probability": probability, "error": error}
    return run(truth={"levels": columns})


def test_levels_of_agreement_are_pooled_over_runs_by_their_pixels(drawn, tmp_path):
    found = [
        levels([0.0, 0.5, 1.0], [90, 10, 5], [0.0, 0.3, 0.8], [0.0, 0.2, 0.2]),
        levels([0.0, 0.5, 1.0], [90, 30, 5], [0.1, 0.7, 1.0], [0.1, 0.4, 0.0]),
    ]
    figure = curves.by_agreement(tmp_path, "acdc, 5 training subjects", {"DA": found})
    assert figure.path == tmp_path / "agreement_acdc_ntr5.png"
    mean, error = (axis.lines[-1] for axis in drawn[0].axes)
    np.testing.assert_allclose(mean.get_xdata(), [0, 0.5, 1])
    np.testing.assert_allclose(mean.get_ydata(), [0.05, (3 + 21) / 40, 0.9])
    np.testing.assert_allclose(error.get_ydata(), [0.05, (2 + 12) / 40, 0.1])


def validated(*dice):
    rows = [
        {"step": 10 * step, "dice": d, "ece": d / 10} for step, d in enumerate(dice, start=1)
    ]
    return SimpleNamespace(**vars(run()), validations=rows)


def test_validations_are_means_over_runs_marked_where_weights_were_selected(drawn, tmp_path):
    found = [validated(0.1, 0.6, 0.5), validated(0.3, 0.2, 0.5, 0.4)]  # one has a step more
    curves.by_step(tmp_path, "", {"DA": found})
    dice, ece = (axis.lines[-1] for axis in drawn[0].axes)
    np.testing.assert_array_equal(dice.get_xdata(), [10, 20, 30])
    np.testing.assert_allclose(dice.get_ydata(), [20, 40, 50])
    np.testing.assert_allclose(ece.get_ydata(), [2, 4, 5])
    assert dice.get_markevery() == [1, 2]


def test_runs_selected_before_a_tenth_of_the_training_are_in_the_caption(drawn, tmp_path):
    early = validated(0.1, 0.9, *[0.5] * 28)  # step 20 of 300
    late = validated(*np.linspace(0.1, 1, 30))
    methods = {"DA": [early, late], "CR": [late], "BWCR": [early, early]}
    figure = curves.by_step(tmp_path, "here", methods)
    assert figure.caption.endswith(
        "selected: here. Runs selected at steps that are not shown: DA 1; BWCR 2."
    )
    assert drawn[0].axes[0].lines[0].get_markevery() == [27]
    assert curves.by_step(tmp_path, "", {"CR": [late]}).caption.endswith("selected: .")


def test_the_first_tenth_of_the_training_is_left_out():
    steps, chosen, dice, _ = curves.validation_means([validated(*np.linspace(0.1, 1, 30))])
    assert steps[0] == 30 and steps[-1] == 300 and chosen == [27]
    assert dice[-1] == pytest.approx(100)


def test_reliability_is_the_sum_of_bins_of_what_is_asked_for(monkeypatch, tmp_path):
    kept = []
    monkeypatch.setattr(curves, "reliability_diagram", lambda *given: kept.append(given))
    bins = {"count": [1, 2], "confidence": [0.1, 1.8], "correct": [0, 2]}
    of_fractions = {"reliability": {key: [10 * v for v in bins[key]] for key in bins}}
    methods = {"DA": [run(reliability=bins, truth=of_fractions)] * 2}
    curves.reliability(tmp_path, "", methods)
    curves.reliability_of_fractions(tmp_path, "", methods)
    np.testing.assert_allclose(kept[0][0]["DA"]["confidence"], [0.2, 3.6])
    np.testing.assert_allclose(kept[1][0]["DA"]["confidence"], [2, 36])
    assert [path.name for _, path, *_ in kept] == [
        "reliability_acdc_ntr5.png",
        "annotators_acdc_ntr5.png",
    ]


def test_the_names_of_many_methods_stand_beside_the_axes(drawn, tmp_path):
    found = [levels([0.0, 1.0], [9, 9], [0.0, 0.9], [0.0, 0.1])]
    for count in (3, 15):
        curves.by_agreement(tmp_path, "", {f"method {i}": found for i in range(count)})
    few, many = drawn
    assert few.axes[0].get_legend() and not few.legends
    assert many.legends and not many.axes[0].get_legend()
    assert len(many.legends[0].get_texts()) == 16  # and the diagonal
