from bwcr_tf import methods
from bwcr_tf.report import published


def test_papers_values_are_read_as_printed():
    row = {"Dice": (68, 14), "ECE": (22, 10), "TACE×10": (11, 4)}
    assert published.SCORES["nci", 12]["mls"] == row
    assert list(published.SCORES["acdc", 95]["bwcr"].values()) == [(89, 3), (8, 2), (4, 1)]
    assert list(published.SCORES["acdc", 5]["10"].values()) == [(70, 12), (16, 11), (1, 0)]
    assert published.SCORES["nci", 6]["0"]["Dice"] == (66, 13)  # lambda = 0 is DA
    assert [len(rows) for rows in published.SCORES.values()] == [11, 8, 8, 11, 8, 8]


def test_the_papers_methods_come_in_its_order_here_too():
    rows = list(published.SCORES["acdc", 5])[:6]
    assert [name for name in methods.METHODS if name in rows] == rows
