"""The figures of a report, drawn into `folder`: the paper's 1 to 4, and curves of calibration.

Fig. 2 and 4 need TensorFlow, which is imported where they are drawn.
"""

import pathlib
import tempfile

import matplotlib.pyplot as plt
import numpy as np

from bwcr_tf import boundary
from bwcr_tf.evaluation import significance
from bwcr_tf.evaluation.figures import colored, reliability_diagram, save
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.report import scored_runs
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
    from bwcr_tf import methods  # needs TensorFlow

    path, volume = folder / "weight_maps.png", phantom.make_volume(0, 4, "ED")
    image, label_map = (array[len(array) // 2] for array in (volume.image, volume.label_map))
    distance = boundary.distance(label_map, 4)
    weight = methods.METHODS["bwcr"].consistency_weight(distance).numpy()
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
        ours = [m for m in ("CR", "BWCR") if {m, "DA"} <= methods.keys()]
        if ours:
            boxes[ntr] = {
                m: scored_runs.differences(methods["DA"], methods[m])["ECE"] for m in ours
            }
    if not boxes:
        return []
    _draw_boxes(boxes, path)
    return [Figure(path, f"Fig. 3, {dataset}. Reduction of ECE relative to DA, by subject.")]


def _draw_boxes(groups, path):
    """A box for each of {ntr: {method: values [N]}}."""
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


def confidence_maps(folder, found, root):
    """Fig. 4 from the networks of run 1, or as an earlier report left it in `root`, or nothing."""
    path, earlier = folder / "confidence_maps.png", root / "figures" / "confidence_maps.png"
    found = [run for run in found if (run.dataset, run.number) == ("phantom", "1")]
    found = [run for run in found if run.ntr == found[0].ntr and run.scale == 1]
    if found and all((run.folder / "best.keras").exists() for run in found):
        _draw_confidence(found, path)
    elif earlier.exists():
        path.write_bytes(earlier.read_bytes())
    else:
        return []
    caption = "Fig. 4. True and predicted probabilities of a test patient of the phantom."
    return [Figure(path, caption)]


def _draw_confidence(found, path):
    """Probability of each class (rows) by each network, on a patient that none was trained on."""
    image, truth, predictions = _predictions(found)
    classes, columns = found[0].spec.classes, {"truth": truth, **predictions}
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


def _predictions(found):
    """Middle slice [H, W] of a test patient, its true probabilities, {method: predicted ones}."""
    from bwcr_tf import unet  # these need TensorFlow
    from bwcr_tf.data import layouts, preprocess  # these need TensorFlow
    from bwcr_tf.evaluation import inference  # these need TensorFlow

    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        phantom.write_subject(root / "testing/patient046", 0, 46, with_probabilities=True)
        volume = layouts.read_acdc(root).test[0].volumes[0]
        case = preprocess.preprocess(volume, found[0].spec.settings)
    z, predictions = len(case.image) // 2, {}
    for run in found:
        predict = inference.predictor(unet.load(run.folder / "best.keras"))
        predictions[run.label] = predict(case.image[z : z + 1])[0]
    return case.image[z], case.true_probabilities[z], predictions


def reliability(folder, setting, methods):
    """Reliability diagram of {method: Runs}, their bins added up."""
    path, curves = _path(folder, "reliability", methods), {}
    for name, found in methods.items():
        bins = [run.summary["reliability"] for run in found]
        curves[name] = {key: np.sum([b[key] for b in bins], axis=0) for key in bins[0]}
    reliability_diagram(curves, path)
    return Figure(
        path, f"Reliability on true foreground, pooled over volumes and runs: {setting}."
    )


def by_distance(folder, setting, methods):
    """Confidence minus accuracy, and ECE, by band of r, of {method: Runs}: means over runs."""
    path = _path(folder, "distance", methods)
    edges = next(iter(methods.values()))[0].summary["distance"]["edges"]
    names = [f"{low}-{high}" for low, high in zip(edges, edges[1:], strict=False)]
    names += [f"over {edges[-1]}", "none in\nthe slice"]
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    titles = {"gap": "confidence minus accuracy, points", "ece": "ECE, per cent"}
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        axis.axhline(0, color="0.6", linewidth=1)
        for method, found in methods.items():
            bands = zip(*(run.summary["distance"][key] for run in found), strict=True)
            values = [100 * significance.mean(band) for band in bands]
            axis.plot(range(len(values)), values, "o-", markersize=4, label=method)
        axis.set_xticks(range(len(names)), names, fontsize=8)
        axis.set(ylabel=title, xlabel="distance $r$ to the nearest boundary, pixels")
    axes[0].legend(fontsize=8)
    save(figure, path)
    return Figure(path, f"Calibration by distance to the boundary, all pixels: {setting}.")


def _path(folder, name, methods):
    """Named after the data set and N_tr, which are those of any run."""
    first = next(iter(methods.values()))[0]
    return folder / f"{name}_{first.dataset}_ntr{first.ntr}.png"
