"""A page of paragraphs, tables and figures: as Markdown, and as one HTML file of its own."""

import base64
import html
import pathlib
import re
import urllib.parse
from typing import NamedTuple


class Table(NamedTuple):
    """Cells are Markdown: **bold**, and an (aside) at the end."""

    title: str
    header: list
    rows: list
    note: str = ""


def of_columns(title, columns, note):
    """A Table of columns, each with its heading on top."""
    header, *rows = map(list, zip(*columns, strict=True))
    return Table(title, header, rows, note)


def of_methods(title, methods, header, cells, note):
    """A Table with a row, `cells` of its Runs, for each of {method: Runs}."""
    rows = [[name, *cells(found)] for name, found in methods.items()]
    return Table(title, ["Method", *header], rows, note)


class Figure(NamedTuple):
    """A picture and what it shows."""

    path: pathlib.Path
    caption: str


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1e21; background: #fff;
       max-width: 1120px; margin: 2rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; } h2 { margin-top: 3rem; border-bottom: 2px solid #e3e6ea; }
h3 { margin-top: 2.2rem; } h4 { margin: 1.6rem 0 .4rem; font-size: 1rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #e3e6ea; }
th { background: #f5f6f8; vertical-align: bottom; } tbody tr:hover { background: #f5f9ff; }
th:first-child, td:first-child { text-align: left; white-space: nowrap; }
td small { color: #6b7280; } td.text { text-align: left; } strong { color: #0b4f9e; }
.note, figcaption { color: #4b5563; font-size: 13px; margin: .4rem 0 1rem; }
figure { margin: 1.5rem 0; } img { max-width: 100%; max-height: 460px; }
"""


def to_markdown(blocks):
    """The page as Markdown; blocks are Tables, Figures, and texts, the first being the title."""
    return "\n\n".join(map(block_markdown, blocks)) + "\n"


def to_html(blocks):
    """The page as HTML that needs no other file and no network."""
    title, body = blocks[0].lstrip("# "), "\n".join(map(block_html, blocks))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style>\n{body}\n</html>\n"
    )


def block_markdown(block):
    """A block as Markdown; figures are links."""
    if isinstance(block, Figure):
        name = urllib.parse.quote(block.path.name)  # which may have spaces
        return f"![{block.caption}](figures/{name})\n\n{block.caption}"
    if isinstance(block, str):
        return block
    lines = [block.header, ["---"] + ["---:"] * (len(block.header) - 1), *block.rows]
    escaped = [
        [str(c).replace("|", "\\|").replace("<", "&lt;") for c in line] for line in lines
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in escaped)
    return f"**{block.title}**\n\n{table}\n\n{block.note}"


def block_html(block):
    """A block as HTML; figures are embedded."""
    if isinstance(block, Figure):
        data, caption = base64.b64encode(block.path.read_bytes()).decode(), block.caption
        image = f'<img src="data:image/png;base64,{data}" alt="{html.escape(caption)}">'
        return f"<figure>{image}<figcaption>{inline(caption)}</figcaption></figure>"
    if isinstance(block, str):
        level = len(block) - len(block.lstrip("#"))
        tag = f"h{level}" if level else "p"
        return f"<{tag}>{inline(block.lstrip('# '))}</{tag}>"
    head = "".join(f"<th>{inline(cell)}</th>" for cell in block.header)
    body = "".join(f"<tr>{''.join(map(cell_html, row))}</tr>\n" for row in block.rows)
    return (
        f"<h4>{inline(block.title)}</h4><div class=table><table><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{body}</tbody></table></div><p class=note>{inline(block.note)}</p>"
    )


def cell_html(cell):
    """A cell of a table; long texts are set flush left."""
    kind = " class=text" if len(cell) > 36 else ""  # a number is shorter
    return f"<td{kind}>{inline(cell)}</td>"


def inline(text):
    """HTML of a line of Markdown: **bold**, `code`, and (12 ± 3) in small print."""
    text = html.escape(text)
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", text)
    text = re.sub(r"`(.+?)`", r"<code>\1</code>", text)
    text = re.sub(r" (\(\d+ ± \d+\))$", r"<br><small>\1</small>", text)
    return re.sub(r" (\([\d.]+\))$", r" <small>\1</small>", text)
