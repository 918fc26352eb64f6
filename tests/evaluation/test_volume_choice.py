import dataclasses
import json

import numpy as np
import pytest
from scipy import stats

from bwcr_tf.data import grids, preprocess
from bwcr_tf.evaluation import (
    calibration,
    calibration_record,
    volume_choice,
    volume_estimator,
    volume_scans,
    volume_scores,
    volumes,
)
from bwcr_tf.training import run_folder

GRID = grids.Grid((6, 6, 2), (1, 1, 10), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))  # 0.01 ml
LV = ("LV",)


def case(subject, label_map, name="", others=()):
    """A Case whose image is the probability of class 1, on a grid that needs no resampling."""
    label_map = np.asarray(label_map, np.uint8)
    return preprocess.Case(
        name or subject, subject, label_map, label_map, label_map, GRID, label_map, GRID,
        other_original_label_maps=others,
    )  # fmt: skip


def drawn(subject, rng, power=1.0, name=""):
    """A Case whose labels are drawn by the `power` of its probabilities."""
    p = rng.beta(0.5, 0.8, (2, 6, 6)).astype(np.float32)
    found = case(subject, rng.random(p.shape) < p**power, name)
    return dataclasses.replace(found, image=p)


def predict(image):
    return np.stack([1 - image, image], axis=-1).astype(np.float32)


@pytest.fixture
def cases():
    rng = np.random.default_rng(0)
    return [drawn(f"s{i}", rng, 2.0, name) for i in range(6) for name in ("ED", "ES")]


def of_cases(cases):
    return [
        volume_scans.Scan(each.subject, predict(each.image), each.grid, each) for each in cases
    ]


def measured(cases):
    return [volume_choice.measure(scan) for scan in of_cases(cases)]


@pytest.mark.parametrize("true, limit", [(10.0, 0.5), (900.0, 2.0)])
def test_a_factor_is_at_least_a_half_and_at_most_two_before_it_is_drawn_to_one(true, limit):
    found = volume_estimator.factor(np.full(5, 100.0), np.full(5, true))
    assert found == pytest.approx(limit**0.5)  # 5 / (5 + 5)


def test_factor_minimises_the_mean_relative_error():
    rng = np.random.default_rng(1)
    true = rng.uniform(5, 90, 2000)
    sizes = true * rng.uniform(0.7, 2.0, 2000)
    tried = np.linspace(0.5, 2, 1501)
    errors = [volume_estimator.relative_errors(f * sizes, true).mean() for f in tried]
    found = volume_estimator.factor(sizes, true)
    assert found == pytest.approx(tried[np.argmin(errors)], abs=0.003)
    np.testing.assert_allclose(
        volume_estimator.factor(np.full(5, 100.0), np.full(5, 64.0)), 0.8
    )


def test_an_estimate_is_taken_only_if_it_is_surely_better_on_subjects_left_out():
    rng = np.random.default_rng(2)
    true = rng.uniform(20, 90, 8)
    subjects = list("aabbccdd")
    sizes = {region: true * rng.uniform(0.8, 1.2, 8) for region in volume_estimator.REGIONS}
    assert volume_estimator.choose(subjects, true, sizes)[:2] == (None, 1.0)
    sizes[0.2] = true * 1.001
    assert volume_estimator.choose(subjects, true, sizes)[:2] == (0.2, 1.0)
    sizes = {region: 2 * true for region in sizes}
    region, factor, errors = volume_estimator.choose(subjects, true, sizes)
    assert region is None and factor == pytest.approx(0.5 ** (8 / 13))
    np.testing.assert_allclose(errors["factor"], 2 * 0.5 ** (6 / 11) - 1)  # two are left out
    assert (
        volume_estimator.choose(subjects[:4], true[:4], {r: 2 * true[:4] for r in sizes})[1]
        == 1
    )


@pytest.mark.parametrize("count", [3, 4, 6])
def test_an_estimate_is_surely_better_by_a_one_sided_t_test_at_2_5_per_cent(count):
    rng = np.random.default_rng(count)
    for gain in rng.normal(1, 0.6, (40, count)):
        p = stats.ttest_1samp(gain, 0, alternative="greater").pvalue
        errors = {"label": np.full(count, 9.0), "0.2": 9 - gain}
        assert volume_estimator.best(errors) == ("0.2" if p < 0.025 else "label")


def test_the_largest_gain_is_taken_and_small_volumes_have_errors_of_ten_voxels():
    noise = np.array([0.1, 0.2, 0.3])
    errors = {"label": 3 + 0 * noise, "0.01": 2 + noise, "0.2": 1 + noise, "0.5": 2 - noise}
    assert volume_estimator.best(errors) == "0.2"
    found = volume_estimator.relative_errors(np.array([5.0, 30]), np.array([2.0, 20]))
    np.testing.assert_allclose(found, [0.3, 0.5])


def test_score_of_a_subject_is_the_largest_of_its_volumes(cases):
    each = [
        volumes.nested_score(predict(c.image), 1, np.count_nonzero(c.label_map)) for c in cases
    ]
    found = volume_choice.scores("nested", measured(cases), 1)
    np.testing.assert_allclose(found, np.reshape(each, (6, 2)).max(axis=1), rtol=1e-4)


def test_kind_is_chosen_on_other_subjects_than_the_width(cases):
    found = of_cases(cases)
    record = volume_choice.choose(found[:8], found[8:], 0.9, LV)["classes"]["LV"]
    widths = {kind: value[0] for kind, value in volume_choice.widths(found[8:], 0.9).items()}
    assert record["widths_ml"] == widths and record["kind"] == min(widths, key=widths.get)
    own = volume_choice.scores(record["kind"], measured(cases[:8]), 1)
    assert record["quantile"] == own.max() and record["level"] == 4 / 5
    alone = volume_choice.choose(found, [], 0.5, LV)["classes"]["LV"]
    assert alone["kind"] == volume_choice.DEFAULT and alone["level"] == 0.5
    assert alone["quantile"] == np.sort(volume_choice.scores("nested", measured(cases), 1))[3]


def test_widths_are_of_the_interval_with_this_coverage_of_the_same_scans(cases):
    found = of_cases(cases)
    quantile = volume_choice.scores("nested", measured(cases), 1).max()
    ends = [volumes.nested_interval(scan.probabilities(), 1, quantile) for scan in found]
    expected = 0.01 * np.mean([high - low for low, high in ends])  # ml
    assert volume_choice.widths(found, 0.9)["nested"] == [pytest.approx(expected)]


def test_rules_survive_json_and_infinite_scores():
    sure = dataclasses.replace(case("a", np.ones((2, 6, 6))), image=np.zeros((2, 6, 6)))
    record = json.loads(json.dumps(volume_choice.choose(of_cases([sure]), [], 0.9, LV)))
    (rule,) = volume_choice.rules(record, LV)
    assert rule == volumes.Rule(None, 1.0, "nested", np.inf, 0.5)
    low, high = volumes.measure(predict(sure.image), 1, rule)[2:]
    assert (low, high) == (0, 72)  # nothing is left out
    assert volume_choice.rules(None, LV) is None
    record["classes"]["LV"] |= {"region": 0.2, "factor": 0.8, "quantile": 1.5}
    assert volume_choice.rules(record, LV) == (volumes.Rule(0.2, 0.8, "nested", 1.5, 0.5),)
    record["classes"]["LV"]["kind"] = "exact"
    with pytest.raises(ValueError, match="exact"):
        volume_choice.rules(record, LV)


def of_two_classes(subject, rng):
    """A Scan of classes A and B, B the larger, whose label is drawn from its probabilities."""
    p = rng.dirichlet([0.6, 0.2, 0.5], (2, 6, 6)).astype(np.float32)
    label_map = (rng.random((2, 6, 6, 1)) > p[..., :2].cumsum(axis=-1)).sum(axis=-1)
    return volume_scans.Scan(subject, p, GRID, case(subject, label_map))


def test_each_class_has_a_rule_of_its_own():
    rng = np.random.default_rng(3)
    found, others = ([of_two_classes(f"{x}{i}", rng) for i in range(4)] for x in "st")
    record = volume_choice.choose(found, others, 0.9, ("A", "B"))["classes"]
    for c, name in enumerate("AB", start=1):

        def largest(scans, kind, c=c):
            return max(
                kind.score(s.probabilities(), c, np.count_nonzero(s.case.label_map == c))
                for s in scans
            )

        for key, kind in volumes.KINDS.items():
            widest = largest(others, kind)
            ends = [kind.interval(s.probabilities(), c, widest) for s in others]
            expected = 0.01 * np.mean([high - low for low, high in ends])
            assert record[name]["widths_ml"][key] == pytest.approx(expected)
        own = largest(found, volumes.KINDS[record[name]["kind"]])
        assert record[name]["quantile"] == pytest.approx(own)
        true = np.array([np.count_nonzero(s.case.label_map == c) for s in found])
        sizes = [np.count_nonzero(s.probabilities().argmax(-1) == c) for s in found]
        error = np.abs(sizes - true) / np.maximum(true, 10)
        np.testing.assert_allclose(record[name]["held_out_errors"]["label"], error)


def test_a_subject_does_not_shape_the_map_that_it_is_measured_with(cases):
    found = calibration.Map("temperature", 2 * np.eye(4, 2), np.zeros(2))
    maps = volume_choice.held_out_maps(found, predict, cases)
    without = volume_choice.held_out_maps(found, predict, cases[2:])  # s0 is left out
    of_all = calibration.fit("temperature", _samples(cases[2:]))
    np.testing.assert_allclose(maps["s0"].weights, of_all.weights)
    assert not np.allclose(maps["s1"].weights, without["s1"].weights)
    assert (
        volume_choice.held_out_maps(calibration.identity(2), None, cases)["s0"].kind == "none"
    )


def test_a_scan_is_measured_after_the_map_of_its_subject(cases):
    maps = {"s0": calibration.scaled(2, 2.0), "s1": calibration.identity(2)}
    found = volume_scans.scans(predict, cases, maps)
    assert [scan.subject for scan in found] == ["s0", "s0", "s1", "s1"]  # others have no pixels
    for scan, each in zip(found, cases, strict=False):
        expected = calibration.apply(maps[scan.subject], predict(each.image))
        np.testing.assert_allclose(scan.probabilities(), expected, atol=1e-6)


def _samples(cases):
    joined = volume_choice.calibration_choice.join(predict, cases)
    return [calibration.sample(*pixels) for pixels in joined.values()]


@pytest.fixture
def spec():
    settings = preprocess.Settings(2, 6, 1.0)
    return run_folder.RunSpec("acdc", LV, settings, ("t",), ("s0", "s1", "s2"), ("x",))


def test_record_has_the_map_then_the_volumes(cases, spec):
    parts = {"validation": cases, "calibration": []}
    record = calibration_record.make(predict, parts, spec, "none", 0.9)
    assert record["kind"] == "none" and record["volumes"]["part"] == "validation"
    assert record["volumes"]["classes"]["LV"]["level"] == 6 / 7
    again = calibration_record.make(predict, parts, spec, None, 0.5, record)
    assert again["volumes"]["coverage"] == 0.5 and again["choice"] == "none"
    kept = calibration_record.make(predict, parts, spec, "temperature", None, again)
    assert kept["volumes"]["coverage"] == 0.5 and kept["kind"] == "temperature"
    without = calibration_record.make(predict, None, spec, None, 0, record)
    assert without["volumes"] is None
    assert (
        calibration_record.make(predict, None, spec, "none", None, without)["volumes"] is None
    )
    earlier = {key: value for key, value in without.items() if key != "volumes"}
    made = calibration_record.make(predict, parts, spec, "none", None, earlier)
    assert made["volumes"]["coverage"] == calibration_record.COVERAGE


def test_subjects_set_aside_give_the_width_and_the_others_the_kind(cases, spec):
    parts = {"training": cases[:2], "validation": cases[2:4], "calibration": cases[4:]}
    aside = dataclasses.replace(spec, calibration=("s2", "s3", "s4", "s5"))
    found = calibration_record.make(predict, parts, aside, "none", 0.9)["volumes"]
    assert found["subjects"] == ["s2", "s3", "s4", "s5"] and found["part"] == "calibration"
    assert found["chosen_on"] == ["s0", "s1"]


def test_subjects_set_aside_do_not_choose_between_tiles_and_the_centre(cases, spec):
    parts = {"training": cases[:2], "validation": cases[2:4], "calibration": cases[4:]}
    aside = dataclasses.replace(spec, calibration=("s2", "s3", "s4", "s5"))
    asked = "none", 0, None, (0.9, 0.1)
    for part, found in parts.items():
        larger = [dataclasses.replace(c, plane=c.image, plane_grid=c.grid) for c in found]
        parts[part] = larger
    found = calibration_record.make(predict, parts, aside, *asked)["tiles"]
    assert found["subjects"] == ["s1"]
    alone = calibration_record.make(predict, parts | {"validation": []}, aside, *asked)
    assert alone["tiles"]["subjects"] == ["s0"]


@pytest.mark.parametrize("choice", [None, "none"])
def test_tiles_stay_as_they_were_chosen_where_no_subject_is_asked_again(choice, spec):
    """Else `export --coverage=0` would predict beyond the grid what the choice leaves out."""
    old = {"kind": "none", "tiles": {"max_tiles": 1, "class_frequencies": [0.9, 0.1]}}
    made = calibration_record.make(predict, None, spec, choice, 0, old, (0.9, 0.1))
    assert made["tiles"] == old["tiles"] and made["volumes"] is None


def test_test_volumes_are_held_against_annotator_1_or_their_mean_and_against_all():
    p = np.full((2, 6, 6), 0.01)
    p[0, 0, :4], p[1, 0, :2] = 0.9, 0.3  # a label of four voxels, two more from 0.3 on
    maps = np.zeros((3, 2, 6, 6), np.uint8)
    for k, size in enumerate((5, 6, 7)):
        maps[k].flat[:size] = 1
    (scan,) = of_cases([dataclasses.replace(case("a", maps[0], "ED", maps[1:]), image=p)])
    rule = volumes.Rule(0.2, 1.0, "nested", 1.0, 0.9)  # from odds of e to those of 1 / e
    (row,) = volume_scores.score(scan, [rule], LV)
    assert row == pytest.approx(
        {
            "subject": "a", "volume": "ED", "class": "LV", "true_ml": 0.05, "ml": 0.04,
            "calibrated_ml": 0.042, "low_ml": 0.04, "high_ml": 0.06, "annotators_inside": 2 / 3,
        }
    )  # fmt: skip
    (row,) = volume_scores.score(scan, [rule], LV, first=False)
    assert row["true_ml"] == pytest.approx(0.06)  # what `volume_choice.measure` calibrates on
    assert volume_choice.measure(scan).true == [6]


def test_volumes_of_each_class_are_held_against_those_that_annotators_drew_of_it():
    p = np.full((2, 6, 6, 3), (0.96, 0.02, 0.02), np.float32)
    p[0, 0, :4], p[1, 0, :3] = (0.05, 0.9, 0.05), (0.05, 0.05, 0.9)  # four voxels and three
    maps = np.zeros((3, 2, 36), np.uint8)
    for drawn, (a, b) in zip(maps, ((1, 2), (5, 4), (7, 0)), strict=True):
        drawn[0, :a], drawn[1, :b] = 1, 2
    maps = maps.reshape(3, 2, 6, 6)
    scan = volume_scans.Scan("s", p, GRID, case("s", maps[0], others=maps[1:]))
    # a quarter of ten voxels: sizes of A from 1.5 to 6.5, of B from 0.5 to 5.5
    rules = [volumes.Rule(None, 1.0, "relative", 0.25, level) for level in (0.8, 0.9)]
    found = volume_scores.score(scan, rules, ("A", "B"))
    assert [row["true_ml"] for row in found] == [0.01, 0.02]
    assert [row["ml"] for row in found] == pytest.approx([0.04, 0.03])
    assert [row["annotators_inside"] for row in found] == [1 / 3, 2 / 3]


def test_summary_counts_subjects_and_leaves_out_errors_without_a_truth():
    def row(subject, true, ml, low, high):
        keys = ("true_ml", "ml", "calibrated_ml", "low_ml", "high_ml")
        values = dict(zip(keys, (true, ml, ml + 0.5, low, high), strict=True))
        return {"subject": subject, "class": "LV"} | values

    rows = [row("a", 2.0, 1.0, 1, 3), row("a", 2.0, 1.5, 1, 1.9), row("b", 0.0, 0.5, 0, 1)]
    rows.append(row("c", 1.0, 9.0, 2, 3) | {"class": "RV"})
    fields = {"region": None, "factor": 1.0, "kind": "nested", "quantile": None, "level": 2 / 3}
    record = {"coverage": 0.9, "subjects": ["c", "d"], "part": "validation"}
    summary = volume_scores.summarize(rows, record | {"classes": {"LV": fields}}, LV)
    found = summary["classes"]["LV"]
    assert (found["covered"], found["subjects"]) == (1, 2)  # one of a's two volumes is outside
    assert found["label_error"] == (0.5 + 0.25) / 2
    assert found["calibrated_error"] == (0.25 + 0) / 2
    assert found["width_ml"] == ((2 + 0.9) / 2 + 1) / 2 and found["annotators_inside"] is None
    assert "66.6" in volume_scores.to_text(summary) and "1 of 2" in volume_scores.to_text(
        summary
    )
    for each in rows:  # of scans in micrometres
        each |= {key: 1e-9 * value for key, value in each.items() if key.endswith("ml")}
    small = volume_scores.summarize(rows, record | {"classes": {"LV": fields}}, LV)
    assert small["classes"]["LV"]["covered"] == 1


def test_volumes_are_of_the_voxels_that_are_not_ignored(cases):
    ignored = np.random.default_rng(1).random((2, 6, 6)) < 0.4
    label_map = np.where(ignored, 2, cases[0].original_label_map)
    known = dataclasses.replace(cases[0], original_label_map=label_map)
    other = dataclasses.replace(known, image=np.where(ignored, 1 - known.image, known.image))
    found, changed = of_cases([known, other])
    np.testing.assert_array_equal(found.probabilities(), changed.probabilities())
    size = np.count_nonzero(label_map == 1)
    assert found.true_sizes() == size < cases[0].original_label_map.sum()
    expected = np.count_nonzero((known.image > 0.5) & ~ignored)
    assert volumes.label_size(found.probabilities(), 1) == expected


def test_voxels_that_nothing_saw_widen_no_nested_set(cases):
    """They count as background, however frequent the class is there; true sizes hold them."""
    larger = dataclasses.replace(GRID, size=(9, 6, 2))
    beyond = np.pad(cases[0].original_label_map, ((0, 0), (0, 0), (0, 3)), constant_values=1)
    wide = dataclasses.replace(cases[0], original_grid=larger, original_label_map=beyond)
    found = [
        volume_scans.Scan("s", predict(wide.image), GRID, wide, frequencies)
        for frequencies in ((0.99, 0.01), (0.6, 0.4))
    ]
    assert volume_choice.measure(found[0]) == volume_choice.measure(found[1])
    assert volume_choice.widths(found[:1], 0.5) == volume_choice.widths(found[1:], 0.5)
    assert found[0].true_sizes() == np.count_nonzero(cases[0].original_label_map) + 36
    np.testing.assert_allclose(found[1].probabilities()[..., 6:, 1], 0.4)
