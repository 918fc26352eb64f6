"""The paper's figures, 1 to 4 (matplotlib)."""

import matplotlib.pyplot as plt
import numpy as np

from bwcr_tf.evaluation.figures import colored, save


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
