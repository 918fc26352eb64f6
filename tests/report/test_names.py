from bwcr_tf import methods
from bwcr_tf.report import names


def test_each_method_has_a_title_of_its_own():
    titles = [names.title(method) for method in methods.METHODS]
    assert len(set(titles)) == len(methods.METHODS)
    assert titles[:8] == "Baseline DA SVLS MLS CR BWCR Focal".split() + ["Label smoothing"]
    assert set(names.TITLES) <= set(methods.METHODS)
    assert names.title("bwcr", "mean") == "BWCR, labels mean"


def test_methods_come_in_the_order_of_the_table_and_those_of_more_annotators_after_all():
    given = [("later", "first"), ("da", "mean"), ("bwcr_js", "first"), ("da", "first")]
    ordered = sorted(given, key=lambda each: names.position(*each))
    assert ordered == [given[3], given[2], given[0], given[1]]
    assert sorted(reversed(methods.METHODS), key=names.position) == list(methods.METHODS)


def test_no_two_lines_look_alike():
    kinds = [(m, "first") for m in methods.METHODS] + [
        (m, labels) for m in ("da", "bwcr") for labels in ("mean", "sample")
    ]
    lines = [names.line(*kind) for kind in kinds]
    looks = {(line["color"], line["marker"], line.get("linestyle", "-")) for line in lines}
    assert len(looks) == len(kinds)
    assert len({line["color"] for line in lines}) == len(methods.METHODS)


def test_an_ensemble_follows_its_first_method_and_says_how_many():
    assert names.title("dax3") == "DA × 3" and names.title("da") == "DA"
    assert names.title("da+bwcr_jsx4") == "Ensemble of 4: DA + BWCR, JS"
    order = sorted(["bwcr", "dax3", "da", "other", "cr"], key=names.position)
    assert order == ["da", "dax3", "cr", "bwcr", "other"]
    assert names.line("dax3")["color"] == names.line("da")["color"]
    assert names.line("dax3") != names.line("da")
