"""MODEL_CARD.md of a run: what the model was trained on, how well it does, and its limits."""

import pathlib

import numpy as np

from bwcr_tf.data import datasets, normalization
from bwcr_tf.evaluation import calibration_record, scores
from bwcr_tf.export import calibration_words, manifest, score_words, volume_words
from bwcr_tf.system import files
from bwcr_tf.training import flag_roles, run_folder, validations

_CARD = """# {method} on {dataset}, {ntr} training subjects, run {run}

{network} each pixel as background, {classes}, with probabilities.
For research; not a medical device.

## Training

- Data: {dataset} ({source}).
- Training subjects ({num_training}): {training}.
- Validation subjects ({num_validation}), for the choice of weights{step}{chosen}:
  {validation}.
- Calibration subjects: {calibration}.
- Split hash {hash} (split.json has the lists, with the {num_test} test subjects).
- Flags: {flags}.
- Preprocessing: {normalization}; {rows} x {columns} pixels of
  {pixel_mm:g} mm, array axes {orientation}, slices as they are.

## Measured

Calibration {kind}: {map}
{how}

{scores}{volumes}

## Limits

- It sees one slice at a time, in plane only: neighbouring slices may disagree, and a scan whose
  slices were cut in another plane is outside what it was trained on.
- It sees {extent} mm at a time, and all scores but those of volumes are of the centre of scans.
  {beyond}
- Its probabilities were {calibrated}. On another
  scanner, protocol or population they may be over-confident: measure there before use.
- The signature `slices` does no N4, knows no padding, and does not look outside the central
  {extent} mm, where its probabilities are {outside}. Where N4 is named
  above, its images differ from those of training. bwcr_tf.predict does all of this.
- A calibration map is the same for all pixels; single structures may still be off.
- {promise}

## Use

    python -m bwcr_tf.predict --model=saved_model --input=SCAN --output=DIR

or, in Python with TensorFlow alone:

    model = tf.saved_model.load("saved_model")
    model.signatures["serving_default"](image=image)  # [{shape}] float32 in [0, 1]
    model.signatures["slices"](image=image, spacing_mm=spacing_mm)  # raw [{raw}], [2]; no N4

`logits` are after the calibration map. model.json has the preprocessing.
"""


def write(folder):
    """Writes MODEL_CARD.md into the folder of a run, and into its saved_model/ if there is one.

    It is made from split.json, flags.txt, calibration.json and, once `evaluate.py` has run with
    that calibration, scores.csv and scores_calibrated.csv.
    """
    folder = pathlib.Path(folder)
    card = to_markdown(folder).encode()
    for place in (folder, folder / "saved_model"):
        if place.is_dir():
            files.write(place / "MODEL_CARD.md", card)


def to_markdown(folder):
    """The card as text; see `write`."""
    spec, run_flags = run_folder.load_spec(folder), run_folder.read_flags(folder)
    record, found = calibration_record.load(folder, spec.settings.num_classes)
    settings, count = spec.settings, len(spec.settings.windows)
    none = "subjects" not in record and not record.get("volumes")
    own = spec.calibration or none  # the validation subjects did not serve
    shown = flag_roles.training_flags(run_flags)
    return _CARD.format(
        **{name: run_flags[name] for name in ("method", "ntr", "run")},
        dataset=spec.dataset,
        source=datasets.DATASETS[spec.dataset].source,
        network=_network(run_flags),
        classes=", ".join(spec.classes),
        training=", ".join(spec.training),
        validation=", ".join(spec.validation),
        num_training=len(spec.training),
        num_validation=len(spec.validation),
        num_test=len(spec.test),
        hash=spec.hash,
        flags=" ".join(f"--{name}={value}" for name, value in sorted(shown.items())),
        normalization=normalization.in_words(spec.channels, settings),
        rows=settings.shape[0],
        columns=settings.shape[1],
        shape=", ".join(map(str, ("N", *settings.shape, count))),
        raw="N, h, w" + f", {count}" * (count > 1),
        pixel_mm=settings.pixel_mm,
        extent=" x ".join(f"{side * settings.pixel_mm:.0f}" for side in settings.shape),
        orientation=settings.orientation,
        outside=manifest.outside_in_words(folder / "saved_model"),
        calibration=", ".join(spec.calibration) or calibration_words.NONE_ASIDE[own],
        kind=found.kind,
        map=calibration_words.MAPS[found.kind].format(_inverse(found.weights[0, 0])),
        how=calibration_words.how(record),
        step=validations.in_words(validations.read(folder / "validation.csv")),
        chosen="" if own else " and of the calibration",
        calibrated=calibration_words.calibrated(record, spec.dataset),
        scores=score_words.to_table(*score_words.measured(folder, settings.num_classes)),
        volumes=volume_words.table(record, scores.read_summary(folder)),
        promise=volume_words.promise(record),
        beyond=calibration_words.beyond(record),
    )


def _inverse(slope):
    return 1 / slope if slope else np.inf


def _network(flags):
    members = flags.get("members", "")
    if not members:
        return "A 2D U-Net that labels"
    count = members.count(",") + 1
    return f"The mean probability of {count} 2D U-Nets ({members.replace(',', ', ')}) labels"
