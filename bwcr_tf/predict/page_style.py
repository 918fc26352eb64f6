"""The look of index.html, and what its buttons do."""

MARK = '<meta name="generator" content="bwcr_tf.predict">'  # by which it is known again

_COLOURS = [
    "#4dd2ff",
    "#ffd84d",
    "#ff7a8a",
    "#8ef08e",
    "#d9a3ff",
    "#ffab5e",
    "#6bf0d8",
    "#f5f5f5",
]


def colour(c):
    """The colour of class `c`, from 1, on the dark ground of the page."""
    return _COLOURS[(c - 1) % len(_COLOURS)]


STYLE = """
:root { color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; background: #14171a; color: #e6e9ec; font: 15px/1.45 system-ui, sans-serif; }
header, article { padding: .8rem clamp(.8rem, 3vw, 2rem); }
header p, h1, h2, summary { margin: .2rem 0; } h1 { font-size: 1.3rem; }
details p { max-width: 75ch; color: #aab2ba; }
details svg { width: 30px; height: 8px; stroke: #ffd84d; }
button { font: inherit; color: inherit; background: #262b31; border: 1px solid #454d55;
         border-radius: 6px; padding: .35rem .7rem; cursor: pointer; }
button[aria-pressed=true] { background: #e6e9ec; color: #14171a; }
label { margin-left: .8rem; white-space: nowrap; }
article { border-top: 1px solid #333a41; }
h2 { display: flex; flex-wrap: wrap; align-items: baseline; gap: .2rem 1rem; font-size: 1rem; }
h2 button { text-align: left; overflow-wrap: anywhere; }
h2 button::before { content: "\\25b8\\a0"; } .open h2 button::before { content: "\\25be\\a0"; }
h2 span, figcaption { color: #aab2ba; font-weight: normal; font-size: .85rem; }
.warning { color: #ffc36b; margin: .3rem 0; overflow-wrap: anywhere; }
.warning::before { content: "\\26a0\\a0"; }
.scan { display: flex; flex-wrap: wrap; gap: .8rem 1.5rem; align-items: start; margin-top: .5rem; }
.row { display: flex; gap: 6px; overflow-x: auto; max-width: 100%; }
figure { margin: 0; flex: none; width: 128px; }
figure img, figure svg { display: block; width: 100%; height: auto; }
figure div { position: relative; }
figure div svg { position: absolute; inset: 0; height: 100%; }
figure > img { margin-top: 2px; }
path { fill: none; vector-effect: non-scaling-stroke; stroke-width: 1; }
.p1 { stroke-dasharray: 2 2; } .p5 { stroke-width: 2; }
.no-contours figure path, .more { display: none; }
.open .more { display: block; }
.open .row { flex-wrap: wrap; width: 100%; } .open figure { width: min(232px, 50% - 3px); }
.table { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #333a41; }
th { font-weight: normal; color: #aab2ba; } thead th { vertical-align: bottom; max-width: 7rem; }
tbody th { text-align: left; color: inherit; border-left: 4px solid var(--c); }
"""

SCRIPT = """
const main = document.querySelector("main"), sorts = document.querySelectorAll("[data-sort]");
const orders = {
  uncertainty: (a, b) => b.dataset.uncertainty - a.dataset.uncertainty || 0,  // of two infinities
  scan: (a, b) => a.dataset.scan.localeCompare(b.dataset.scan, undefined, {numeric: true}),
};
for (const button of sorts) button.onclick = () => {
  main.append(...[...main.children].sort(orders[button.dataset.sort]));
  for (const other of sorts) other.setAttribute("aria-pressed", other == button);
};
main.onclick = event => {
  const button = event.target.closest("h2 button");
  if (!button) return;
  button.setAttribute("aria-expanded", button.closest("article").classList.toggle("open"));
};
const contours = document.querySelector("#contours");
contours.onchange = () => document.body.classList.toggle("no-contours", !contours.checked);
"""


def is_ours(page):
    """Whether the file `page` is an index.html of this command."""
    if not page.is_file():
        return False
    with open(page, "rb") as file:
        return MARK.encode() in file.read(1000)
