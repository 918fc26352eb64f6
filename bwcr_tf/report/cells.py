"""Numbers as the texts of a table's cells."""

import math

import numpy as np

from bwcr_tf.evaluation import significance


def show(value, factor=100.0, digits=1, sign=""):
    """A fraction as text in units of 1 / `factor`; empty for NaN."""
    if math.isnan(value):
        return ""
    return f"{round(factor * value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def interval(values):
    """`−7.6 [−9.0, −6.1]`: mean and bootstrap interval of values [N]."""
    low, high = significance.bootstrap_interval(values)
    shown = [show(value, 1, 1, "+") for value in (significance.mean(values), low, high)]
    return "{} [{}, {}]".format(*shown) if shown[0] else ""


def mean_sd(values, factor):
    """(`76.1 ± 12.3`, 76.1, 12.3) over what is not NaN."""
    values = factor * np.array([value for value in values if not math.isnan(value)])
    if not values.size:
        return "", math.nan, math.nan
    digits = 3 if factor == 1 and values.mean() < 2 else 1
    rounded = [round(float(value), digits) for value in (values.mean(), values.std())]
    return " ± ".join(f"{value:.{digits}f}" for value in rounded), *rounded


def winner_of(cells, sign):
    """The `mean_sd` of the best mean; of equal ones that of the lower sd (Table 2)."""
    known = [cell for cell in cells if not math.isnan(cell[1])]
    return max(known, key=lambda cell: (sign * cell[1], -cell[2]), default=None)
