"""Curves of a setting's {method: Runs}, drawn into `folder`; a method's line is alike in all."""

import collections

import matplotlib.pyplot as plt
import numpy as np

from bwcr_tf.evaluation import significance
from bwcr_tf.evaluation.figures import place_legend, reliability_diagram, save
from bwcr_tf.report import names, run_scores
from bwcr_tf.report.page import Figure
from bwcr_tf.training import validations


def reliability(folder, setting, methods):
    """Reliability diagram, the bins of a method's runs added up."""
    path = _draw_reliability(folder, "reliability", methods, ("reliability",), "accuracy")
    return Figure(
        path, f"Reliability on true foreground, pooled over volumes and runs: {setting}."
    )


def reliability_of_fractions(folder, setting, methods):
    """Reliability diagram against the fractions of annotators, likewise."""
    keys, title = ("truth", "reliability"), "fraction of annotators who agree"
    path = _draw_reliability(folder, "annotators", methods, keys, title)
    caption = (
        "Reliability against the fraction of annotators who agree, on the pixels that any of "
        f"them marks, pooled over volumes and runs: {setting}."
    )
    return Figure(path, caption)


def _draw_reliability(folder, name, methods, keys, accuracy):
    curves = {}
    for method, found in methods.items():
        bins = [run_scores.number(run.summary, *keys) for run in found]
        curves[method] = {key: np.sum([b[key] for b in bins], axis=0) for key in bins[0]}
    path = names.path(folder, name, methods)
    reliability_diagram(curves, path, names.lines(methods), accuracy)
    return path


def by_distance(folder, setting, methods):
    """Confidence minus accuracy, and ECE, by band of r: means over runs."""
    path = names.path(folder, "distance", methods)
    edges = next(iter(methods.values()))[0].summary["distance"]["edges"]
    bands = [f"{low}-{high}" for low, high in zip(edges, edges[1:], strict=False)]
    bands += [f"over {edges[-1]}", "none in\nthe slice"]
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    titles = {"gap": "confidence minus accuracy, points", "ece": "ECE, per cent"}
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        axis.axhline(0, color="0.6", linewidth=1)
        for method, line in names.lines(methods).items():
            values = zip(
                *(run.summary["distance"][key] for run in methods[method]), strict=True
            )
            means = [100 * significance.mean(band) for band in values]
            axis.plot(range(len(means)), means, **line, label=method)
        axis.set_xticks(range(len(bands)), bands, fontsize=8)
        axis.set(ylabel=title, xlabel="distance $r$ to the nearest boundary, pixels")
    place_legend(figure, axes[0])
    save(figure, path)
    return Figure(path, f"Calibration by distance to the boundary, all pixels: {setting}.")


def by_agreement(folder, setting, methods):
    """Mean probability, and its error, by the fraction of annotators who gave a pixel a class."""
    path = names.path(folder, "agreement", methods)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    axes[0].plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="calibrated")
    for method, line in names.lines(methods).items():
        fractions, *means = level_means(methods[method])
        for axis, values in zip(axes, means, strict=True):
            axis.plot(fractions, values, **line, label=method)
    for axis, title in zip(axes, ("mean probability", "mean |p − fraction|"), strict=True):
        axis.set(ylabel=title, xlabel="fraction of annotators who gave the class")
        axis.set_xticks(fractions if len(fractions) < 8 else np.linspace(0, 1, 5))
    place_legend(figure, axes[0])
    save(figure, path)
    caption = f"Probability and its error by level of agreement, all pixels: {setting}."
    return Figure(path, caption)


def by_step(folder, setting, methods):
    """Dice and ECE of the validation volumes against the step: means over runs."""
    path = names.path(folder, "validation", methods)
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.9), layout="constrained")
    unmarked = []
    for method, line in names.lines(methods).items():
        steps, chosen, *means = validation_means(methods[method])
        selected = [validations.selected(run.validations) for run in methods[method]]
        if count := sum(step not in steps for step in selected):
            unmarked.append(f"{method} {count}")
        for axis, values in zip(axes, means, strict=True):
            axis.plot(steps, values, **line, markevery=chosen, label=method)
    for axis, name in zip(axes, ("Dice", "ECE"), strict=True):
        axis.set(xlabel="step", ylabel=f"{name} of the validation volumes, per cent")
    place_legend(figure, axes[0])
    save(figure, path)
    caption = (
        "Validation from a tenth of the training on, means over runs; marks are at the steps "
        f"whose weights were selected: {setting}."
    )
    if unmarked:
        caption += f" Runs selected at steps that are not shown: {'; '.join(unmarked)}."
    return Figure(path, caption)


def validation_means(found):
    """Steps that all Runs validated at, places of the selected ones, Dice and ECE, per cent.

    What comes before a tenth of the last step is left out: it would set the scale of the axes.
    """
    tables = [{row["step"]: row for row in run.validations} for run in found]
    steps = sorted(set.intersection(*map(set, tables)))
    steps = [step for step in steps if step >= 0.1 * steps[-1]]
    chosen = sorted({validations.selected(run.validations) for run in found})
    means = (
        [100 * significance.mean(table[step][name] for table in tables) for step in steps]
        for name in ("dice", "ece")
    )
    return steps, [steps.index(step) for step in chosen if step in steps], *means


def level_means(found):
    """Fraction, mean probability and mean |p - fraction| [levels], pooled over Runs."""
    sums = collections.defaultdict(lambda: np.zeros(3))
    for run in found:
        levels = run.summary["truth"]["levels"]
        columns = (levels[key] for key in ("fraction", "count", "probability", "error"))
        for fraction, count, *values in zip(*columns, strict=True):
            sums[round(fraction, 4)] += count * np.array([1, *values])
    rows = [(fraction, *(s[1:] / s[0])) for fraction, s in sorted(sums.items())]
    return np.transpose(rows)
