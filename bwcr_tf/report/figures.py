"""The paper's figures 1 to 3, drawn into `folder`."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

from bwcr_tf import boundary
from bwcr_tf.evaluation.figures import colored, save
from bwcr_tf.methods import METHODS
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.report import names, run_scores, scored_runs, tables
from bwcr_tf.report.page import Figure


def binary_loss(z, other, weight):
    """Eq. (1) for two classes, z_1 = 0 and y_2 = 1: -log sigmoid(z) + weight (z - other)^2."""
    return np.logaddexp(0, -z) + weight * (z - other) ** 2


def loss_landscapes(folder, weights=(0.1, 1.0)):
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
    save(figure, folder / "loss_landscapes.png")
    caption = "Fig. 1. Eq. (1) for two classes at a pixel of class 2. L_S favours a high z, "
    caption += "whatever z' is; L_C pulls z towards z', more strongly for a larger λ."
    return Figure(folder / "loss_landscapes.png", caption)


def weight_maps(folder):
    """Fig. 2: label map, distance r and weight lambda(r) of Eq. (3) of a synthetic slice."""
    path, volume = folder / "weight_maps.png", phantom.make_volume(0, 4, "ED")
    image, label_map = (array[len(array) // 2] for array in (volume.image, volume.label_map))
    distance = boundary.distance(label_map, 4)
    weight = METHODS["bwcr"].consistency_weight(distance).numpy()
    figure, axes = plt.subplots(1, 4, figsize=(11, 2.9), layout="constrained")
    axes[0].imshow(image, cmap="gray")
    axes[1].imshow(colored(image / image.max(), label_map, 0.7))
    for axis, values in (axes[2], distance), (axes[3], weight):
        figure.colorbar(axis.imshow(values), ax=axis, shrink=0.9)
    titles = "image", "label", "distance $r$, pixels", r"weight $\lambda(r)$"
    for axis, title in zip(axes, titles, strict=True):
        axis.set(xticks=[], yticks=[], title=title)
    save(figure, path)
    caption = (
        "Fig. 2. Image, label, distance r, weight λ(r) with R = 10 of 192 pixels (phantom)."
    )
    return Figure(path, caption)


def improvement(folder, dataset, found):
    """Fig. 3: improvement of ECE over DA, by subject; nothing without DA or ours."""
    boxes, path = {}, folder / f"improvement_{dataset}.png"
    for ntr, some in scored_runs.group(found, "ntr").items():
        methods = scored_runs.group(some, "label")
        ours = [m for m in ("CR", "BWCR") if (m, "DA") in tables.pairs(m, methods)]
        if ours:
            differences = partial(run_scores.differences, methods["DA"])
            boxes[ntr] = {m: differences(methods[m])["ECE"] for m in ours}
    if not boxes:
        return []
    _draw_boxes(boxes, path)
    shares = ", ".join(
        f"{name} {np.mean(values > 0):.0%} (N_tr = {ntr})"
        for ntr, group in boxes.items()
        for name, values in group.items()
    )
    caption = f"Fig. 3, {dataset}. Reduction of ECE relative to DA, by subject."
    return [Figure(path, f"{caption} Subjects whose ECE falls: {shares}.")]


def _draw_boxes(groups, path):
    """A box for each of {ntr: {method: values [N]}}, in the colour of the method's line."""
    methods = list(dict.fromkeys(name for group in groups.values() for name in group))
    width = 1.4 + (len(methods) * 0.6 + 0.6) * len(groups)
    figure, axis = plt.subplots(figsize=(max(width, 4), 3.4), layout="constrained")
    axis.axhline(0, color="0.6", linewidth=1)
    step = len(methods) + 1
    for k, name in enumerate(methods):
        color = names.line(name.lower())["color"]
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
            box.set(facecolor=color, alpha=0.6)
        axis.plot([], [], "s", color=color, alpha=0.6, label=name)
    middles = np.arange(len(groups)) * step + (len(methods) - 1) / 2
    axis.set_xticks(middles, [f"$N_{{tr}}$ = {ntr}" for ntr in groups])
    axis.set_ylabel("ECE of DA minus ECE, points")
    figure.legend(loc="outside upper center", ncols=len(methods), fontsize=8)
    save(figure, path)
