"""Pictures of what the networks of runs predict, drawn into `folder`.

Where the networks, or the data, are not at hand, a picture is that of an earlier report.
"""

import functools
import pathlib
import tempfile

import matplotlib.pyplot as plt
import numpy as np

from bwcr_tf import metrics, unet
from bwcr_tf.data import layouts, preprocess
from bwcr_tf.evaluation import inference
from bwcr_tf.evaluation.figures import save
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.report import names
from bwcr_tf.report.page import Figure
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder

SHOWN = 4  # test subjects in the picture of several annotators
_MARGIN = 6  # pixels around what is shown of them
CREDITS = {  # by how the names of all test subjects start
    "LIDC-IDRI-": "Images and outlines: LIDC-IDRI, Armato et al., Medical Physics 2011; CC BY 3.0.",
}


def confidence_maps(folder, found, root):
    """Fig. 4: probabilities of a test patient of the phantom; [] where it can't be had."""
    found = [run for run in found if (run.dataset, run.number) == ("phantom", "1")]
    found = [run for run in found if run.ntr == found[0].ntr and run.scale == 1]
    caption = "Fig. 4. True and predicted probabilities of a test patient of the phantom."
    return _figure(folder / "confidence_maps.png", root, caption, found, _draw_confidence)


def annotated_cases(folder, setting, methods, root):
    """Test subjects as several annotators and the networks of run 1 see them; else []."""
    first = next(iter(methods.values()))[0]
    found = [run for runs in methods.values() for run in runs if run.number == "1"]
    subjects = _subjects(first) if found else []
    draw = functools.partial(_draw_annotated, subjects) if subjects else None
    path = names.path(folder, "cases", methods)
    caption = (
        "Test subjects: the slice that annotators mark most, the fraction of annotators who "
        f"mark a pixel, and its probability by the networks of run 1: {setting}."
    )
    return _figure(path, root, " ".join([caption, *_credit(first.spec.test)]), found, draw)


def _figure(path, root, caption, found, draw):
    """[Figure] by draw(found, path) if the networks are there, else an earlier report's, or [].

    Scans are preprocessed as for the first network, and others of the same settings are drawn.
    """
    earlier = root / "figures" / path.name
    alike = [run for run in found if run.spec.settings == found[0].spec.settings]
    if len(alike) < len(found):
        caption, found = f"{caption} Networks of other preprocessing are left out.", alike
    if draw and found and all((run.folder / "best.keras").exists() for run in found):
        draw(found, path)
    elif earlier.exists():
        path.write_bytes(earlier.read_bytes())
        caption = f"{caption} Picture of an earlier report."
    else:
        return []
    return [Figure(path, caption)]


def _credit(subjects):
    """What the licence of the data set whose subjects are so named wants said, in a list."""
    return [
        text
        for start, text in CREDITS.items()
        if all(name.startswith(start) for name in subjects)
    ]


def _draw_confidence(found, path):
    """Probability of each class (rows) by each network, on a patient that none was trained on."""
    case = _phantom_patient(found[0].spec.settings)
    z, classes = len(case.image) // 2, found[0].spec.classes
    predictions = _predictions(found, [case.image[z]])
    columns = {"truth": case.true_probabilities[z]}
    columns |= {name: values[0] for name, values in predictions.items()}
    rows = [
        (name, case.image[z, ..., 0], {title: p[..., c] for title, p in columns.items()})
        for c, name in enumerate(classes, 1)
    ]
    _draw_grid(rows, path, 1.5, 1.65)


def _phantom_patient(settings):
    """A test patient of the phantom, preprocessed."""
    with tempfile.TemporaryDirectory() as scratch:
        root = pathlib.Path(scratch)
        phantom.write_subject(root / "testing/patient046", 0, 46, with_probabilities=True)
        volume = layouts.read_acdc(root).test[0].volumes[0]
        return preprocess.preprocess(volume, settings)


def _subjects(run):
    """Records of test subjects evenly spaced in the split, or [] if the data are not at hand."""
    places = np.linspace(0, len(run.spec.test) - 1, SHOWN + 2).round().astype(int)[1:-1]
    chosen = {run.spec.test[i] for i in places}
    try:
        subjects = run.spec.subjects("test", run_folder.data_dir(run.flags))
    except DataError:
        return []
    return [subject for subject in subjects if subject.name in chosen]


def _draw_annotated(subjects, found, path):
    """Image, fraction and probability of foreground by each network; a row a subject."""
    settings, shown = found[0].spec.settings, []
    for subject in subjects:
        case = preprocess.preprocess(subject.volumes[0], settings)
        marked = 1 - metrics.fractions(case.label_maps, settings.num_classes)[..., 0]
        z = marked.sum(axis=(1, 2)).argmax()
        shown.append((case.image[z], marked[z], _crop(marked[z])))
    predictions = _predictions(found, [image for image, _, _ in shown])
    rows = []
    for i, (image, marked, crop) in enumerate(shown):
        columns = {name: 1 - values[i, ..., 0] for name, values in predictions.items()}
        columns = {"annotators": marked} | columns
        rows.append(("", image[crop][..., 0], {name: p[crop] for name, p in columns.items()}))
    _draw_grid(rows, path, 0.9, 0.95)


def _crop(marks):
    """Square slices of rows and columns around the marked pixels of a map [H, W]."""
    marked = np.argwhere(marks) if marks.any() else np.array([[0, 0], marks.shape])
    low, high = marked.min(axis=0), marked.max(axis=0) + 1
    side = min((high - low).max() + 2 * _MARGIN, *marks.shape)
    starts = np.clip((low + high - side) // 2, 0, np.array(marks.shape) - side)
    return tuple(slice(start, start + side) for start in starts)


def _predictions(found, images):
    """{method: probabilities [N, H, W, C]} of N slices by the network of each run."""
    predictors, predictions = {}, {}
    for run in found:
        network = unet.load(run.folder / "best.keras")
        pair = network, inference.predictor(network)
        kind = run.flags.get("width"), len(network.weights)  # an ensemble has more
        shared, predict = predictors.setdefault(kind, pair)  # traced once
        shared.set_weights(network.get_weights())
        predictions[run.label] = predict(np.array(images))
    return predictions


def _draw_grid(rows, path, width, height):
    """Rows of (name, image, {title: probability}); a tile is so many inches."""
    shape = len(rows), len(rows[0][2]) + 1
    figure, axes = plt.subplots(
        *shape,
        figsize=(width * shape[1], height * shape[0]),
        squeeze=False,
        layout="constrained",
    )
    for r, (line, (name, image, columns)) in enumerate(zip(axes, rows, strict=True)):
        line[0].imshow(image, cmap="gray")
        line[0].set_ylabel(name)
        for axis, (title, probability) in zip(line[1:], columns.items(), strict=True):
            drawn = axis.imshow(probability, vmin=0, vmax=1)
            axis.set_title(title.replace(", labels", ",\nlabels") if r == 0 else "", fontsize=7)
    for axis in axes.ravel():
        axis.set(xticks=[], yticks=[])
    narrow = {"fraction": min(0.15, 1 / shape[1]), "pad": 0.3 / shape[1]}
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="probability", **narrow)
    save(figure, path)
