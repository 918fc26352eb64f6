"""Tables, tests and figures of runs: python -m bwcr_tf.report --runs_dir=results --output=report

Reads scores.csv, summary.json, flags.txt and split.json of each run, and writes report.html, one
file that opens without a network, report.md and figures/. TensorFlow is needed for Fig. 4 alone,
which is drawn where the networks of runs on the phantom are at hand.
"""

import os
import pathlib
import tempfile

import numpy as np
from absl import flags

from bwcr_tf import boundary, command, conventions, figures, page, phantom, runs, tables

FLAGS = flags.FLAGS


def landscape_figure(folder):
    """Fig. 1: the losses of a binary toy problem."""
    path = folder / "loss_landscapes.png"
    figures.loss_landscapes(path)
    caption = "Fig. 1. Eq. (1) for two classes at a pixel of class 2. L_S wants a high z, "
    return page.Figure(
        path, f"{caption}whatever z' is; L_C holds z to z', the more the larger λ is."
    )


def weight_figure(folder):
    """Fig. 2: label map, distance and weight of a made-up slice."""
    path, volume = folder / "weight_maps.png", phantom.make_volume(0, 4, "ED")
    z = len(volume.label_map) // 2
    distance = boundary.distance(volume.label_map[z], 4)
    maps = volume.image[z], volume.label_map[z], distance, boundary_weight(distance)
    figures.weight_maps(*maps, path)
    caption = "Fig. 2. Image, label, distance r and weight λ(r) at R = 10 pixels: the phantom."
    return page.Figure(path, caption)


def boundary_weight(distance, minimum=0.01, maximum=1.0, radius=10.0):
    """lambda(r) of Eq. (3): methods.boundary_ramp without TensorFlow; a test compares them."""
    return maximum * np.maximum(radius - distance, 0) / radius + minimum


def confidence_figures(found, root, folder):
    """Fig. 4 from the networks of run 1, or as an earlier report left it in `root`, or nothing."""
    path, earlier = folder / "confidence_maps.png", root / "figures" / "confidence_maps.png"
    found = [run for run in found if (run.dataset, run.number) == ("phantom", "1")]
    found = [run for run in found if run.ntr == found[0].ntr and run.scale == 1]
    if found and all((run.folder / "best.keras").exists() for run in found):
        draw_confidence(found, path)
    elif earlier.exists():
        path.write_bytes(earlier.read_bytes())
    else:
        return []
    return [
        page.Figure(
            path, "Fig. 4. True and predicted probabilities of a phantom's test patient."
        )
    ]


def draw_confidence(found, path):
    """Fig. 4 by the networks of the runs `found`, on a patient that none was trained on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from bwcr_tf import datasets, inference, preprocess, unet  # these need TensorFlow

    with tempfile.TemporaryDirectory() as scratch:
        patient = pathlib.Path(scratch, "testing", "patient046")
        phantom.write_subject(patient, 0, 46, with_probabilities=True)
        volume = datasets.read_acdc(pathlib.Path(scratch)).test[0].volumes[0]
        settings = preprocess.Settings(**found[0].split["settings"])
        case = preprocess.preprocess(volume, settings)
    z = len(case.image) // 2
    columns = {"truth": case.truth[z]}
    for run in found:
        network = unet.load(run.folder / "best.keras")
        columns[tables.label(run.method)] = inference.predictor(network)(case.image[z : z + 1])[
            0
        ]
    figures.confidence_maps(case.image[z], columns, found[0].split["classes"], path)


def improvement_figures(dataset, found, folder):
    """Fig. 3: improvement of ECE over DA, by subject."""
    boxes, path = {}, folder / f"improvement_{dataset}.png"
    for ntr, some in tables.group(found, lambda run: run.ntr).items():
        methods = tables.group(some, lambda run: run.method)
        boxes[ntr] = {
            tables.label(m): -tables.differences(methods[m], methods["da"])["ECE"]
            for m in ("cr", "bwcr")
            if m in methods and "da" in methods
        }
    boxes = {ntr: box for ntr, box in boxes.items() if box}
    if not boxes:
        return []
    figures.improvement_boxes(boxes, path)
    return [
        page.Figure(path, f"Fig. 3, {dataset}. How much lower ECE is than DA's, by subject.")
    ]


def reliability_figure(name, methods, path):
    """Reliability diagram of {method: Runs}, their bins added up."""
    curves = {
        tables.label(m): {
            key: np.sum([run.summary["reliability"][key] for run in found], axis=0)
            for key in ("count", "confidence", "correct")
        }
        for m, found in methods.items()
    }
    figures.reliability_diagram(curves, path)
    return page.Figure(
        path, f"Reliability on true foreground, volumes and runs pooled: {name}."
    )


def distance_figure(name, methods, path):
    """Calibration in bands of distance of {method: Runs}, averaged over runs."""
    curves = {}
    for method, found in methods.items():
        bands = [run.summary["distance"] for run in found]
        curves[tables.label(method)] = {"edges": bands[0]["edges"]} | {
            key: [tables.mean(column) for column in zip(*(b[key] for b in bands), strict=True)]
            for key in ("gap", "ece")
        }
    figures.distance_curves(curves, path)
    return page.Figure(path, f"Calibration by distance to the boundary, all pixels: {name}.")


def test_tables(name, methods):
    """BWCR against the other methods, and against all methods with a temperature."""
    if "bwcr" not in methods:
        return []
    plain, scaled, ours = {}, {}, methods["bwcr"]
    for method, found in methods.items():
        if method != "bwcr":
            plain[f"BWCR − {tables.label(method)}"] = tables.differences(ours, found)
        if all(run.calibrated for run in found):
            text = f"BWCR − ({tables.label(method)} with T)"
            scaled[text] = tables.differences(ours, found, "calibrated")
    titles = f"Tests, {name}", f"Tests against temperature scaling, {name}"
    return [
        tables.test_table(*pair)
        for pair in zip(titles, (plain, scaled), strict=True)
        if pair[1]
    ]


def setting_blocks(name, methods, folder, stem):
    """All that is shown of one data set and N_tr; what summary.json does not have is left out."""

    def having(key):
        return {m: g for m, g in methods.items() if all(run.summary.get(key) for run in g)}

    blocks = test_tables(name, methods)
    if having("scores_calibrated"):
        title = f"Temperature scaling, {name}"
        blocks.append(tables.temperature_table(title, having("scores_calibrated")))
    if any(run.last for found in methods.values() for run in found):
        last = {m: g for m, g in methods.items() if all(run.last for run in g)}
        blocks.append(tables.selection_table(f"Selection, {name}", last))
    for key, draw in ("reliability", reliability_figure), ("distance", distance_figure):
        if having(key):
            blocks.append(draw(name, having(key), folder / f"{key}_{stem}.png"))
    if having("leakage"):
        blocks.append(tables.leakage_table(f"Confidence leakage, {name}", having("leakage")))
    if having("truth"):
        blocks.append(tables.truth_table(f"Error against the truth, {name}", having("truth")))
    return blocks


def dataset_blocks(dataset, found, folder):
    """The tables and figures of one data set."""
    plain = [run for run in found if run.scale == 1]
    blocks = [f"## {dataset}"]
    if plain:
        blocks += [
            tables.main_table(dataset, plain),
            *improvement_figures(dataset, plain, folder),
        ]
    for ntr, some in tables.group(found, lambda run: run.ntr).items():
        if any(run.scale != 1 for run in some):
            blocks.append(tables.sweep_table(dataset, ntr, some))
    for ntr, some in tables.group(plain, lambda run: run.ntr).items():
        name, methods = (
            f"{dataset}, {ntr} training subjects",
            tables.group(some, lambda r: r.method),
        )
        blocks += [f"### {name}", *setting_blocks(name, methods, folder, f"{dataset}_ntr{ntr}")]
    cells = tables.group(plain, lambda run: (run.method, run.ntr))
    names = {method: tables.label(method) for method, _ in cells}
    columns = {ntr: f"{ntr}:" for _, ntr in cells}
    title, note = (
        f"Further scores, {dataset}",
        "HD95 is the mean over classes; ECE in per cent.",
    )
    return [
        *blocks,
        tables.score_table(title, "Method", cells, names, columns, tables.FURTHER, {}, note),
    ]


def verdicts(found):
    """Does BWCR help? A line for each data set and N_tr."""
    for (dataset, ntr), some in tables.group(found, lambda run: (run.dataset, run.ntr)).items():
        methods = tables.group([run for run in some if run.scale == 1], lambda run: run.method)
        if methods.keys() >= {"da", "bwcr"}:
            against = tables.differences(methods["bwcr"], methods["da"])
            parts = [
                f"{metric} {tables.interval(values)}" for metric, values in against.items()
            ]
            yield f"**{dataset}, {ntr} training subjects.** BWCR minus DA: {'; '.join(parts)}."


def make_blocks(found, root, folder):
    """The whole page: headings and paragraphs as Markdown, Tables and Figures."""
    blocks = ["# Boundary-weighted logit consistency: results"]
    blocks += [f"{len(found)} runs. Differences are in points, with 95 % bootstrap intervals."]
    blocks += [*verdicts(found), tables.settings_table(found)]
    for dataset, some in tables.group(found, lambda run: run.dataset).items():
        blocks += dataset_blocks(dataset, some, folder)
    blocks += ["## The method", landscape_figure(folder), weight_figure(folder)]
    blocks += confidence_figures(found, root, folder)
    return blocks + ([tables.conventions_table()] if conventions.GOLDEN.exists() else [])


def main(_):
    root, output = pathlib.Path(FLAGS.runs_dir), pathlib.Path(FLAGS.output)
    folder = output / "figures"
    found = tables.load(root)
    folder.mkdir(parents=True, exist_ok=True)
    blocks = make_blocks(found, root, folder)
    runs.write(output / "report.md", page.to_markdown(blocks))
    runs.write(output / "report.html", page.to_html(blocks))
    print(f"{len(found)} runs; {output}/: report.html, report.md, figures/")


def define_flags():
    """Not on import: other scripts have flags of the same names."""
    flags.DEFINE_string("runs_dir", "runs", "Folder of scored runs.")
    flags.DEFINE_string("output", "report", "Folder to write to.")


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
