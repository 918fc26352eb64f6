"""index.html: what was predicted, to look at, the scans that need a person first.

The page is one file, which keeps the scans of earlier predictions: each is an <article>, a line.
"""

import hashlib
import html
import math
import os
import re

import numpy as np
from scipy import special

from bwcr_tf.predict.page_style import MARK, SCRIPT, STYLE, colour
from bwcr_tf.predict.thumbnails import LEVELS
from bwcr_tf.system import errors, files
from bwcr_tf.system.errors import DataError

IN_ROW = 5  # slices of a scan that is not open
_MODEL = '<meta name="model" content="{}">'
_ARTICLE = re.compile(
    '<article data-scan="([^"]*)" data-uncertainty="([^"]*)"(?: data-source="([^"]*)")?'
)


def uncertainty(probabilities):
    """Mean entropy in nats of the voxels with a foreground probability over LEVELS[0].

    Infinite where there is none, for a person must look at a scan in which nothing was found.
    """
    sums, count = 0.0, 0
    for plane in probabilities:  # one at a time, for memory
        band = plane[plane[..., 0] < 1 - LEVELS[0]]  # [N, C]
        sums, count = sums + special.entr(band).sum(dtype=np.float64), count + len(band)
    return float(sums / count) if count else math.inf


def missing_structures(row, classes):
    """A warning of the classes without a volume in a row of volumes.csv; empty if all have one."""
    missing = [name for name in classes if not row[f"{name}_ml"]]
    return f"not found: {', '.join(missing)}" if missing else ""


def warn_of_another(articles, name, path):
    """Warns where the article of `name` is of a scan in another place than `path`."""
    found = _ARTICLE.match(articles.get(name, ""))
    if found and found[3] not in (None, _source(path)):
        errors.warn(
            f"{path}: replaces the predictions of another scan called {name}; give each patient "
            "an --output folder, or predict from the folder that holds all"
        )


def _source(path):
    """A digest of where a scan is, which tells places apart and names none."""
    return hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:16]


def article(name, path, score, classes, row, thumbnails, warnings):
    """The <article> of a scan, one line of HTML.

    Args:
      path: of the scan; `warn_of_another` knows it again.
      score: its `uncertainty`.
      row: dict of column to value, as in volumes.csv.
    """
    value = "Infinity" if math.isinf(score) else f"{score:.4f}"
    shown = "nothing found" if math.isinf(score) else f"uncertainty {score:.3f}"
    in_row = {round(i) for i in np.linspace(0, len(thumbnails) - 1, IN_ROW)}
    slices = [_figure(t, "" if i in in_row else "more") for i, t in enumerate(thumbnails)]
    parts = [
        f'<article data-scan="{_text(name)}" data-uncertainty="{value}" '
        f'data-source="{_source(path)}">',
        f'<h2><button aria-expanded="false">{_text(name)}</button><span>{shown}</span></h2>',
        *(f'<p class="warning">{_text(warning)}</p>' for warning in warnings),
        f'<div class="scan"><div class="row">{"".join(slices)}</div>',
        f'<div class="table">{_table(classes, row)}</div></div></article>',
    ]
    return "".join(parts)


def read(output, model):
    """{scan: article} of the index.html in a folder, to which the scans' articles are added.

    Args:
      model: the name of the model, as of `write`.

    Raises:
      DataError: the file is not of this command, or of another model.
    """
    path = output / "index.html"
    if not path.exists():
        return {}
    text = path.read_bytes().decode("utf-8", "replace")
    if MARK not in text:
        raise DataError(f"{path}: not of this command; choose another output folder")
    if _MODEL.format(model) not in text:
        raise DataError(
            f"{path}: of another model, or of an earlier version; choose another output folder"
        )
    found = {line: _ARTICLE.match(line) for line in text.split("\n")}
    return {html.unescape(match[1]): line for line, match in found.items() if match}


def write(output, articles, model):
    """Writes the index.html of a dict of scan to article, the most uncertain first.

    `model` is the name of the model that predicted all of them.
    """
    lines = sorted(articles.values(), key=lambda line: -float(_ARTICLE.match(line)[2]))
    warned = sum('<p class="warning">' in line for line in lines)
    count = f"{len(lines)} scan{'s' * (len(lines) != 1)}, {warned} with warnings"
    head = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        MARK,
        _MODEL.format(model),
        '<meta name="viewport" content="width=device-width">',
        f"<title>Predictions: {count}</title><style>{STYLE}</style>",
        f"<header><h1>Predictions</h1><p>{count}</p>{_LEGEND}</header><main>",
    ]
    files.write(
        output / "index.html", "\n".join([*head, *lines, f"</main><script>{SCRIPT}</script>\n"])
    )


_LEGEND = """
<p class="tools">Sort by <button data-sort="uncertainty" aria-pressed="true">uncertainty</button>
<button data-sort="scan" aria-pressed="false">name</button>
<label><input type="checkbox" id="contours" checked> contours</label></p>
<details><summary>What is shown</summary><p>Contours where the probability of a structure is
<svg viewBox="0 0 30 8"><path class="p1" d="M0 4h30"/></svg> 0.1,
<svg viewBox="0 0 30 8"><path class="p5" d="M0 4h30"/></svg> 0.5,
<svg viewBox="0 0 30 8"><path class="p9" d="M0 4h30"/></svg> 0.9; below each slice, the entropy from
0 (black) to ln 2 or more (bright), which is that of a toss-up between two classes. The uncertainty
of a scan is the mean entropy, in nats, of the voxels whose foreground probability exceeds 0.1.
Slices are cut to the surroundings of what was found, and numbered as in the file; the patient's
left is on the right, in sagittal slices the front on the left. Volumes are in ml, as in
volumes.csv; coverage is the level that the interval from low to high promises. A click on the name
of a scan shows more slices, larger.</p></details>
"""


def _figure(thumbnail, kind):
    """A slice: the image under its contours, the entropy, and the number."""
    width, height = thumbnail.size
    paths = "".join(
        f'<path class="p{round(10 * level)}" stroke="{colour(c)}" d="{path}"/>'
        for (c, level), path in thumbnail.contours.items()
    )
    size = f'width="{width}" height="{height}" alt=""'
    return (
        f'<figure class="{kind}"><div><img {size} src="{thumbnail.image}">'
        f'<svg viewBox="0 0 {2 * width} {2 * height}">{paths}</svg></div>'
        f'<img {size} src="{thumbnail.entropy}"><figcaption>slice {thumbnail.number}'
        "</figcaption></figure>"
    )


def _table(classes, row):
    """A row of volumes.csv as a table: structures in rows, what is told of each in columns."""
    cells = {}
    for column, value in row.items():
        owners = [name for name in classes if column.startswith(f"{name}_")]
        if owners:
            name = max(owners, key=len)
            cells[name, column[len(name) + 1 :]] = value
    columns = list(dict.fromkeys(what for _, what in cells))
    head = "".join(f"<th>{_text(what.replace('_', ' '))}</th>" for what in columns)
    body = ""
    for c, name in enumerate(classes, start=1):
        values = "".join(f"<td>{_number(cells.get((name, what), ''))}</td>" for what in columns)
        body += f'<tr><th style="--c:{colour(c)}">{_text(name)}</th>{values}</tr>'
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(value):
    if not isinstance(value, float):
        return _text(value)
    return f"{value:.1f}" if value >= 100 else f"{value:.3g}"


def _text(value):
    """HTML of a text, in one line."""
    text = html.escape(str(value))
    return re.sub(r"[\r\n]", lambda found: f"&#{ord(found[0])};", text)
