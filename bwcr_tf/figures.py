"""Pictures: what a network was shown, said, and how far it can be believed (matplotlib)."""

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from bwcr_tf import atomic  # noqa: E402

_COLORS = np.array(matplotlib.colormaps["Set1"].colors)[[2, 0, 1, 3, 4, 5, 6, 7, 8]]


def colored(image, label_map, opacity=0.5):
    """RGB [H, W, 3] of a grey image [H, W] in [0, 1] with its classes 1.. painted over."""
    grey = np.repeat(np.clip(image, 0, 1)[..., None], 3, axis=-1)
    paint = _COLORS[(label_map.astype(int) - 1) % len(_COLORS)]
    return np.where(label_map[..., None] > 0, (1 - opacity) * grey + opacity * paint, grey)


def heat(values, low, high):
    """RGB [H, W, 3] of values [H, W] between low and high."""
    return matplotlib.colormaps["viridis"]((values - low) / (high - low))[..., :3]


def strip(image, label_map, probabilities, weight):
    """Image, label, prediction, confidence and weight side by side: [H, 5 W, 3] uint8."""
    tiles = [
        colored(image, np.zeros_like(label_map)),
        colored(image, label_map),
        colored(image, probabilities.argmax(axis=-1)),
        heat(probabilities.max(axis=-1), 1 / probabilities.shape[-1], 1),
        heat(weight, 0, max(weight.max(), 1e-6)),
    ]
    return (255 * np.concatenate(tiles, axis=1)).round().astype(np.uint8)


def save(figure, path):
    """Writes a figure whole or not at all, and closes it."""
    try:
        with atomic.whole(path) as temporary:
            figure.savefig(temporary, dpi=120, bbox_inches="tight")
    finally:
        plt.close(figure)


def reliability_diagram(tables, path):
    """Accuracy against confidence, a curve for each of {name: metrics.reliability table}.

    The lower panel shows what share of the pixels each bin holds.
    """
    figure, (upper, lower) = plt.subplots(
        2, 1, figsize=(4.5, 5.5), sharex=True, height_ratios=(3, 1), layout="constrained"
    )
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
            "o-",
            markersize=4,
            label=f"{name} (ECE {gap:.3f})",
        )
        lower.plot(confidence, count / count.sum(), "o-", markersize=4)
    upper.set(ylabel="accuracy", ylim=(0, 1))
    upper.legend(loc="upper left", fontsize=8)
    lower.set(xlabel="confidence", ylabel="pixels", xlim=(0, 1))
    if lower.lines:
        lower.set_yscale("log")
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
        line[1].imshow(colored(image, label_map))
        line[2].imshow(colored(image, probabilities.argmax(axis=-1)))
        shown = line[3].imshow(confidence, vmin=1 / probabilities.shape[-1], vmax=1)
        line[0].set_ylabel(title, fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    figure.colorbar(shown, ax=axes[:, 3], shrink=0.8)
    save(figure, path)


def binary_loss(z, other, weight):
    """Eq. (1) for two classes, z_1 = 0 and y_2 = 1: -log sigmoid(z) + weight (z - other)^2."""
    return np.logaddexp(0, -z) + weight * (z - other) ** 2


def loss_landscapes(path, weights=(0.1, 1.0)):
    """Fig. 1: L_S, the total for two values of lambda, and L_C over (z, z'), in log scale."""
    z, other = np.meshgrid(np.linspace(-10, 10, 201), np.linspace(-10, 10, 201))
    supervised = binary_loss(z, other, 0)
    shown = {"$L_S$": supervised}
    shown |= {rf"$L_S + {w:g}\,L_C$": binary_loss(z, other, w) for w in weights}
    shown |= {"$L_C$": binary_loss(z, other, 1) - supervised}
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), sharey=True, layout="constrained")
    for axis, (title, loss) in zip(axes, shown.items(), strict=True):
        values = np.log10(np.maximum(loss, 1e-4))
        drawn = axis.pcolormesh(z, other, values, vmin=-4, vmax=2.7, rasterized=True)
        axis.contour(z, other, values, levels=np.arange(-3, 3), colors="w", linewidths=0.5)
        axis.set(title=title, xlabel="$z$", aspect="equal")
    axes[0].set_ylabel("$z'$")
    figure.colorbar(drawn, ax=axes, label="$\\log_{10}$ loss")
    save(figure, path)


def weight_maps(image, label_map, distance, weight, path):
    """Fig. 2: label, distance r in pixels and lambda(r) of Eq. (3), each [H, W]."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
    axes[0].imshow(image, cmap="gray")
    axes[1].imshow(colored(image / image.max(), label_map, 0.7))
    for axis, values in (axes[2], distance), (axes[3], weight):
        figure.colorbar(axis.imshow(values), ax=axis, shrink=0.9)
    titles = "image", "label", "distance $r$, pixels", r"weight $\lambda(r)$"
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xticks=[], yticks=[], title=title)
    save(figure, path)


def improvement_boxes(groups, path):
    """Fig. 3: a box for each method within each ntr, of differences by subject, per cent.

    Args:
      groups: {ntr: {method: values [N]}}.
    """
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 1.4 + (len(names) * 0.6 + 0.6) * len(groups)
    figure, axis = plt.subplots(figsize=(max(width, 4), 3.4), layout="constrained")
    axis.axhline(0, color="0.6", linewidth=1)
    step = len(names) + 1
    for k, name in enumerate(names):
        places = [g * step + k for g, group in enumerate(groups.values()) if name in group]
        drawn = axis.boxplot(
            [group[name] for group in groups.values() if name in group],
            positions=places,
            widths=0.7,
            patch_artist=True,
            medianprops={"color": "black"},
            flierprops={"markersize": 3},
        )
        for box in drawn["boxes"]:
            box.set(facecolor=f"C{k}", alpha=0.6)
        axis.plot([], [], "s", color=f"C{k}", alpha=0.6, label=name)
    middles = np.arange(len(groups)) * step + (len(names) - 1) / 2
    axis.set_xticks(middles, [f"$N_{{tr}}$ = {ntr}" for ntr in groups])
    axis.set_ylabel("ECE of DA minus ECE, points")
    figure.legend(loc="outside upper center", ncols=len(names), fontsize=8)
    save(figure, path)


def distance_curves(tables, path):
    """Confidence minus accuracy, and ECE, by band of r: {method: analysis' `distance`}."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    edges = next(iter(tables.values()))["edges"]
    names = [f"{low}-{high}" for low, high in zip(edges, edges[1:], strict=False)]
    names += [f"over {edges[-1]}", "none in\nthe slice"]
    for axis, key, title in (
        (axes[0], "gap", "confidence minus accuracy, points"),
        (axes[1], "ece", "ECE, per cent"),
    ):
        axis.axhline(0, color="0.6", linewidth=1)
        for method, table in tables.items():
            values = np.array([np.nan if v is None else 100 * v for v in table[key]])
            axis.plot(range(len(values)), values, "o-", markersize=4, label=method)
        axis.set_xticks(range(len(names)), names, fontsize=8)
        axis.set(ylabel=title, xlabel="distance $r$ to the nearest boundary, pixels")
    axes[0].legend(fontsize=8)
    save(figure, path)


def confidence_maps(image, columns, classes, path):
    """Fig. 4: the probability [H, W] of each class, a row, in each column {title: p [H, W, C]}."""
    shape = len(classes), len(columns) + 1
    figure, axes = plt.subplots(
        *shape, figsize=(1.5 * shape[1], 1.65 * shape[0]), squeeze=False, layout="constrained"
    )
    for c, (line, name) in enumerate(zip(axes, classes, strict=True), 1):
        line[0].imshow(image, cmap="gray")
        line[0].set_ylabel(name)
        for axis, (title, probabilities) in zip(line[1:], columns.items(), strict=True):
            drawn = axis.imshow(probabilities[..., c], vmin=0, vmax=1)
            axis.set_title(title if c == 1 else "", fontsize=9)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="probability")
    save(figure, path)
