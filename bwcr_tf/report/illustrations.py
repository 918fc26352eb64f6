"""The figures of a report: of the method, and of what runs measured; drawn into `folder`."""

import os
import pathlib
import tempfile

import numpy as np

from bwcr_tf import boundary
from bwcr_tf.evaluation import figures, significance
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.report import paper_figures, scored_runs
from bwcr_tf.report.page import Figure


def landscapes(folder):
    """Fig. 1: the losses of a binary toy problem."""
    path = folder / "loss_landscapes.png"
    paper_figures.loss_landscapes(path)
    caption = "Fig. 1. Eq. (1) for two classes at a pixel of class 2. L_S wants a high z, "
    caption += "whatever z' is; L_C holds z to z', the more the larger λ is."
    return Figure(path, caption)


def weights(folder):
    """Fig. 2: label map, distance and weight of a synthetic slice."""
    path, volume = folder / "weight_maps.png", phantom.make_volume(0, 4, "ED")
    image, label_map = (array[len(array) // 2] for array in (volume.image, volume.label_map))
    distance = boundary.distance(label_map, 4)
    paper_figures.weight_maps(image, label_map, distance, boundary_weight(distance), path)
    caption = "Fig. 2. Image, label, distance r and weight λ(r) at R = 10 pixels: the phantom."
    return Figure(path, caption)


def boundary_weight(distance, minimum=0.01, maximum=1.0, radius=10.0):
    """lambda(r) of Eq. (3): methods.boundary_ramp without TensorFlow; a test compares them."""
    return maximum * np.maximum(radius - distance, 0) / radius + minimum


def confidence(folder, found, root):
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
    caption = "Fig. 4. True and predicted probabilities of a phantom's test patient."
    return [Figure(path, caption)]


def draw_confidence(found, path):
    """Fig. 4 by the networks of the runs `found`, on a patient that none was trained on."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from bwcr_tf import unet  # these need TensorFlow
    from bwcr_tf.data import datasets, preprocess  # these need TensorFlow
    from bwcr_tf.evaluation import inference  # these need TensorFlow

    spec = found[0].spec
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        phantom.write_subject(root / "testing/patient046", 0, 46, with_probabilities=True)
        volume = datasets.read_acdc(root).test[0].volumes[0]
        case = preprocess.preprocess(volume, spec.settings)
    z = len(case.image) // 2
    columns = {"truth": case.true_probabilities[z]}
    for run in found:
        predict = inference.predictor(unet.load(run.folder / "best.keras"))
        columns[run.label] = predict(case.image[z : z + 1])[0]
    paper_figures.confidence_maps(case.image[z], columns, spec.classes, path)


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
    paper_figures.improvement_boxes(boxes, path)
    return [Figure(path, f"Fig. 3, {dataset}. How much lower ECE is than DA's, by subject.")]


def reliability(folder, setting, methods):
    """Reliability diagram of {method: Runs}, their bins added up."""
    path, curves = _path(folder, "reliability", methods), {}
    for name, found in methods.items():
        bins = [run.summary["reliability"] for run in found]
        curves[name] = {key: np.sum([b[key] for b in bins], axis=0) for key in bins[0]}
    figures.reliability_diagram(curves, path)
    return Figure(path, f"Reliability on true foreground, volumes and runs pooled: {setting}.")


def by_distance(folder, setting, methods):
    """Calibration in bands of distance of {method: Runs}, averaged over runs."""
    path, curves = _path(folder, "distance", methods), {}
    for name, found in methods.items():
        bands = [run.summary["distance"] for run in found]
        curves[name] = {"edges": bands[0]["edges"]} | {
            key: list(map(significance.mean, zip(*(b[key] for b in bands), strict=True)))
            for key in ("gap", "ece")
        }
    figures.distance_curves(curves, path)
    return Figure(path, f"Calibration by distance to the boundary, all pixels: {setting}.")


def _path(folder, name, methods):
    """Named after the data set and N_tr, which are those of any run."""
    first = next(iter(methods.values()))[0]
    return folder / f"{name}_{first.dataset}_ntr{first.ntr}.png"
