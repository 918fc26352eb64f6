"""The methods in tables and figures: their order, titles and lines, and the files of figures."""

import re

from bwcr_tf.evaluation.figures import COLORS
from bwcr_tf.system import source

METHODS = source.table_keys("bwcr_tf.methods", "METHODS")  # the order of rows
TITLES = {  # where it is not the name in capitals
    "baseline": "Baseline",
    "focal": "Focal",
    "ls": "Label smoothing",
    "dice_ce": "Dice + CE",
    "l1ace": "mL1-ACE",
    "cr_js": "CR, JS",
    "bwcr_js": "BWCR, JS",
    "bwcr_cos": "BWCR, cosine",
}
_LINES = {  # color and marker of the paper's methods
    "baseline": ("black", "X"),
    "da": (COLORS["sky"], "s"),
    "svls": (COLORS["green"], "^"),
    "mls": (COLORS["purple"], "D"),
    "cr": (COLORS["blue"], "v"),
    "bwcr": (COLORS["vermillion"], "o"),
}
_OTHERS = "C4 C7 C8 C9 navy orange C5 limegreen magenta teal tan".split()
_MARKERS = "s^vDPX<>d"


def members(method):
    """(method, number of members) of an ensemble's name such as `dax3`; one for a method's own."""
    found = re.fullmatch(r"(.+)x(\d+)", method)
    return (found[1], int(found[2])) if found else (method, 1)


def title(method, labels="first"):
    """A method's name in a table, with its labels where they are not annotator 1's."""
    first, count = members(method)
    titles = [TITLES.get(part, part.upper()) for part in first.split("+")]
    name = f"{titles[0]} × {count}" if count > 1 else titles[0]
    if len(titles) > 1:
        name = f"Ensemble of {count}: {' + '.join(titles)}"
    return name if labels == "first" else f"{name}, labels {labels}"


def position(method, labels="first"):
    """Sort key of rows: by METHODS, others last; those of several annotators' labels at the end.

    An ensemble follows its first method.
    """
    first = members(method)[0].split("+")[0]
    known = METHODS.index(first) if first in METHODS else len(METHODS)
    return labels != "first", labels, known, method


def line(method, labels="first"):
    """Arguments of plot for a method's line: the paper's stand out; colours are by method."""
    first, count = members(method)
    if count > 1:
        return line(first, labels) | {"linestyle": (0, (6, 1, 1, 1)), "marker": "h"}
    if labels != "first":
        kinds = {"mean": (":", "*"), "sample": ("-.", "p")}
        return line(method) | dict(zip(("linestyle", "marker"), kinds[labels], strict=True))
    if method in _LINES:
        color, marker = _LINES[method]
        return {"color": color, "marker": marker, "markersize": 4}
    others = [name for name in METHODS if name not in _LINES]
    i = others.index(method) if method in others else len(others)
    kind = {"color": _OTHERS[i % len(_OTHERS)], "marker": _MARKERS[i % len(_MARKERS)]}
    return kind | {"linestyle": "--", "linewidth": 0.9, "markersize": 3.5, "zorder": 1.8}


def lines(methods):
    """{title: arguments of plot} of {title: Runs}."""
    return {title: line(found[0].method, found[0].labels) for title, found in methods.items()}


def path(folder, name, methods):
    """The file of a figure of {title: Runs}: named after their data set and N_tr."""
    first = next(iter(methods.values()))[0]
    return folder / f"{name}_{first.dataset}_ntr{first.ntr}.png"
