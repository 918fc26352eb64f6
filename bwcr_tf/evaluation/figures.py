"""Pictures of a network's inputs, its predictions and their calibration (matplotlib)."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb

from bwcr_tf.system import files

_LEGEND_INSIDE = 8  # lines: the names of more stand beside the axes
COLORS = {  # which the colour-blind can tell apart (Okabe & Ito, 2008)
    "green": "#009E73", "vermillion": "#D55E00", "blue": "#0072B2", "purple": "#CC79A7",
    "orange": "#E69F00", "sky": "#56B4E9", "yellow": "#F0E442",
}  # fmt: skip
_OF_CLASSES = np.array([to_rgb(color) for color in COLORS.values()])


def fullest_slice(label_map, num_classes):
    """Index of the slice of a label map [Z, H, W] with the most foreground."""
    return ((label_map > 0) & (label_map < num_classes)).sum(axis=(1, 2)).argmax()


def colored(image, label_map, opacity=0.5):
    """RGB [H, W, 3] of a grey image [H, W] in [0, 1] with its classes 1.. painted over."""
    grey = np.repeat(np.clip(image, 0, 1)[..., None], 3, axis=-1)
    paint = _OF_CLASSES[(label_map.astype(int) - 1) % len(_OF_CLASSES)]
    return np.where(label_map[..., None] > 0, (1 - opacity) * grey + opacity * paint, grey)


def overlay(image, label_map, num_classes):
    """As `colored`, with ignored pixels as grey as the background."""
    return colored(image, np.where(label_map < num_classes, label_map, 0))


def heat(values, low, high):
    """RGB [H, W, 3] of values [H, W] between low and high."""
    return matplotlib.colormaps["viridis"]((values - low) / (high - low))[..., :3]


def strip(image, label_map, probabilities, weight):
    """Image, label, prediction, confidence and weight side by side: [H, 5 W, 3] uint8."""
    tiles = [
        colored(image, np.zeros_like(label_map)),
        overlay(image, label_map, probabilities.shape[-1]),
        colored(image, probabilities.argmax(axis=-1)),
        heat(probabilities.max(axis=-1), 1 / probabilities.shape[-1], 1),
        heat(weight, 0, max(weight.max(), 1e-6)),
    ]
    return (255 * np.concatenate(tiles, axis=1)).round().astype(np.uint8)


def save(figure, path):
    """Writes a figure whole or not at all, and closes it."""
    try:
        with files.atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")
    finally:
        plt.close(figure)


def place_legend(figure, axis):
    """The legend of an axis: in it, or beside all axes of a figure made wider for many lines."""
    handles, labels = axis.get_legend_handles_labels()
    if len(labels) <= _LEGEND_INSIDE:
        axis.legend(fontsize=8)
        return
    figure.set_figwidth(figure.get_figwidth() + 2)
    figure.legend(handles, labels, loc="outside right upper", fontsize=8)


def reliability_diagram(tables, path, lines=None, accuracy="accuracy"):
    """Accuracy against confidence, a curve for each of {name: metrics.reliability table}.

    The lower panel shows what share of the pixels each bin holds. `lines` are the arguments of
    plot by name. Axes start below the least value: the confidence of two classes is 0.5 or more.
    """
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(4.5, 5.5), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
    lines = lines or dict.fromkeys(tables, {"marker": "o", "markersize": 4})
    upper.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="calibrated")
    for name, table in tables.items():
        kept = table["count"] > 0
        if not kept.any():
            continue  # no test volume has any foreground
        count = table["count"][kept]
        confidence = table["confidence"][kept] / count
        gap = np.abs(table["correct"] - table["confidence"]).sum() / count.sum()
        upper.plot(
            confidence,
            table["correct"][kept] / count,
            **lines[name],
            label=f"{name} (ECE {gap:.3f})",
        )
        lower.plot(confidence, count / count.sum(), **lines[name])
    place_legend(figure, upper)
    least = min((line.get_xydata().min() for line in upper.lines[1:]), default=0)
    limits = np.floor(10 * least) / 10, 1
    upper.set(ylabel=accuracy, xlim=limits, ylim=limits)
    lower.set(xlabel="confidence", ylabel="share of pixels")
    if lower.lines:
        lower.set_yscale("log")
        lower.yaxis.set_minor_formatter("")  # those of one decade overlap
    save(figure, path)


def panels(rows, path):
    """Image, label, prediction and confidence of slices: rows of (title, image, label_map, p)."""
    titles = ("image", "label", "prediction", "confidence")
    figure, axes = plt.subplots(
        len(rows), 4, figsize=(8, 2.1 * len(rows)), squeeze=False, layout="constrained"
    )
    for line, (title, image, label_map, probabilities) in zip(axes, rows, strict=True):
        confidence = probabilities.max(axis=-1)
        line[0].imshow(colored(image, np.zeros_like(label_map)))
        line[1].imshow(overlay(image, label_map, probabilities.shape[-1]))
        line[2].imshow(colored(image, probabilities.argmax(axis=-1)))
        shown = line[3].imshow(confidence, vmin=1 / probabilities.shape[-1], vmax=1)
        line[0].set_ylabel(title, fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:, 3], shrink=0.8)
    save(figure, path)


def draw_run(folder, method, cases, rows, reliability, predict, num_classes):
    """Reliability diagram over all test volumes, and panels of the worst, median and best Dice."""
    folder.mkdir(exist_ok=True)
    reliability_diagram({method: reliability}, folder / "reliability.png")
    whole = [row["dice"] for row in rows if row["class"] == "all"]
    order = np.argsort(np.nan_to_num(whole))
    shown = []
    for rank, index in (
        ("worst", order[0]),
        ("median", order[len(order) // 2]),
        ("best", order[-1]),
    ):
        case = cases[index]
        z = fullest_slice(case.label_map, num_classes)
        title = f"{rank}: Dice {whole[index]:.2f}\n{case.name}"
        probabilities = predict(case.image[z : z + 1])[0]
        shown.append((title, case.image[z, ..., 0], case.label_map[z], probabilities))
    panels(shown, folder / "panels.png")
