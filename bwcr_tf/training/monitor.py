"""Logs training to TensorBoard and the terminal."""

import time

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from bwcr_tf.evaluation import figures
from bwcr_tf.system.progress import Progress, duration
from bwcr_tf.training import validations

_TIMED = 3, 13  # calls of this process between which the announced duration is measured
_IMAGES_EVERY = 5  # validations


class Monitor(keras.callbacks.Callback):
    """Progress of a run in the terminal, and its curves and pictures in `folder`/logs.

    The numbers of each validation are in `folder`/validation.csv, too.

    Args:
      flags: dict of what sets runs apart, for TensorBoard's hparams page.
      classes: names of the foreground classes.
    """

    def __init__(self, folder, flags, classes):
        super().__init__()
        self.classes, self.text, self.validations = classes, "", 0
        self.table = folder / "validation.csv"
        self.writer = tf.summary.create_file_writer(str(folder / "logs"))
        with self.writer.as_default():
            hparams.hparams(flags)

    def begin(self, start, steps):
        """Training is about to go from step `start` to `steps`."""
        self.start, self.steps = start, steps
        self.progress = Progress("training", steps, start)

    def on_train_batch_end(self, batch, logs=None):
        count = self.model.steps_per_execution
        first, last = _TIMED
        call = batch // count
        if call == 0:
            seconds = time.monotonic() - self.progress.started
            what = "first step" if count == 1 else f"{count} steps"
            print(f"{what:12}done, {seconds:.1f} s with compilation", flush=True)
        if call == first:
            self.timed = time.monotonic(), self.validations
        if call == last:
            started, validations_before = self.timed
            seconds = (time.monotonic() - started) / (last - first) / count
            left = duration(seconds * (self.steps - self.start))
            apart = "" if self.validations > validations_before else ", validation apart"
            print(f"expected    {left} ({1000 * seconds:.0f} ms a step{apart})", flush=True)
        self.progress.advance(count, self.text)

    def report(self, step, trainer, validation):
        """Writes the averages since the last call, and the validation, at `step`."""
        terms = {name: float(mean) for name, mean in trainer.means.items()}
        self.text = f"loss {terms['loss']:.4f}  Dice {validation.dice:.3f}"
        self.record(step, terms, validation)
        with self.writer.as_default(step):
            for name, value in terms.items():
                tf.summary.scalar(f"train/{name}", value)
            tf.summary.scalar("train/learning_rate", trainer.optimizer.learning_rate)
            tf.summary.scalar("validation/dice", validation.dice)
            tf.summary.scalar("validation/ece", validation.ece)
            for name, value in zip(self.classes, validation.dice_per_class, strict=True):
                tf.summary.scalar(f"validation/dice_{name}", value)
            if self.validations % _IMAGES_EVERY == 0 or step == self.steps:
                strips = [strip(*pair, trainer) for pair in validation.predictions[:3]]
                tf.summary.image(
                    "image, label, prediction, confidence, weight",
                    np.stack(strips),
                    max_outputs=3,
                )
        self.writer.flush()
        self.validations += 1

    def record(self, step, terms, validation):
        """Adds the validation to validation.csv."""
        scores = [*validation.dice_per_class, validation.dice, validation.ece]
        row = [step, *scores, *(terms[name] for name in validations.TERMS)]
        names = validations.columns(self.classes)
        validations.record(self.table, dict(zip(names, row, strict=True)))


def strip(case, probabilities, trainer):
    """The slice of a case with the most labels, as an RGB strip of five pictures."""
    z = figures.fullest_slice(case.label_map, probabilities.shape[-1])
    image = case.image[z, ..., 0]
    weight = np.zeros_like(image)
    if trainer.method.consistency_weight is not None:
        weight = trainer.weight(tf.constant(case.distance[z])).numpy()
    return figures.strip(image, case.label_map[z], probabilities[z], weight)
