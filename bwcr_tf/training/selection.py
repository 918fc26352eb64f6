"""Keeps the averaged weights of the best validation Dice, and lets a run stop and resume."""

import time

import keras
import numpy as np
import tensorflow as tf

from bwcr_tf import metrics, unet
from bwcr_tf.evaluation import inference, significance
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints


class Selection(keras.callbacks.Callback):
    """Every `every` steps: validates the averages, keeps the best, writes a checkpoint.

    Args:
      trainer: compiled trainer.Trainer.
      network: keras.Model like the trainer's, in float32, which takes the averages in.
      cases: validation preprocess.Cases.
      folder: pathlib.Path of the run; best.keras and checkpoints/ are written there.
      steps: total number of steps; the last one is validated too.
      report: called with (step, trainer, Validation) after each validation.
    """

    def __init__(self, trainer, network, cases, folder, every, steps, report):
        super().__init__()
        self.trainer, self.cases, self.every, self.steps = trainer, cases, every, steps
        self.report = report
        self.folder = folder
        self.checkpoint_folder = folder / "checkpoints"
        self.network = network
        self.predict = inference.predictor(network)
        trainer.optimizer.build(trainer.network.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(-1.0, dtype=tf.float64)
        self.selected = [tf.Variable(average) for average in trainer.averages]
        self.stopping = None  # since when
        # keras.callbacks.BackupAndRestore knows neither the averages nor the data's position.
        parts = {
            "network": trainer.network,
            "optimizer": trainer.optimizer,
            "averages": trainer.averages,
            "step": self.step,
            "best": self.best,
        }
        trackers = trainer.trackers.values()
        self.sums = [v.value for tracker in trackers for v in tracker.variables]
        self.restored = [sum_.numpy() for sum_ in self.sums]
        self.checkpoint = tf.train.Checkpoint(**parts, terms=self.sums, selected=self.selected)
        self.earlier = (  # versions, whose losses begin anew
            tf.train.Checkpoint(**parts, selected=self.selected),
            tf.train.Checkpoint(**parts),
        )

    def restore(self):
        """Restores the last checkpoint, if there is one; returns the steps done so far.

        Raises:
          DataError: no checkpoint is whole, or one of an earlier version has lost its best.keras.
        """
        found = checkpoints.restore(self.checkpoint, self.checkpoint_folder, *self.earlier)
        self.restored = [sum_.numpy() for sum_ in self.sums]
        if self.best >= 0 and found is self.earlier[1]:
            self.take_best()
        elif self.best >= 0 and not self.is_saved():
            self.save_best()
        return int(self.step)

    def take_best(self):
        """Takes the selected averages from best.keras: earlier versions' checkpoints have none."""
        path = self.folder / "best.keras"
        if not path.exists():
            raise DataError(f"{path}: gone; delete the run and train it again")
        kept = checkpoints.load_best(self.folder).weights
        for selected, weight in zip(self.selected, kept, strict=True):
            selected.assign(weight)

    def is_saved(self):
        """Whether best.keras has the selected averages; after a kill it may have others."""
        try:
            kept = checkpoints.load_best(self.folder).get_weights()
        except DataError:
            return False
        return all(map(np.array_equal, kept, self.selected))

    def stop(self, *_):
        """Asks for a checkpoint and an end after the present call; asked again, ends at once.

        What comes within a second is one signal that was sent to the process and to its group.
        """
        now = time.monotonic()
        if self.stopping and now > self.stopping + 1:
            raise KeyboardInterrupt
        self.stopping = self.stopping or now

    def on_epoch_begin(self, epoch, logs=None):
        for sum_, value in zip(self.sums, self.restored, strict=True):
            sum_.assign(value)  # which Keras resets at the start

    def on_train_batch_end(self, batch, logs=None):
        self.step.assign_add(self.trainer.steps_per_execution)
        step = int(self.step)
        if not np.isfinite(logs["loss"]):
            raise self.not_finite(step, f"the loss is {logs['loss']}")
        validated = step % self.every == 0 or step == self.steps
        if validated:
            is_best = self.validate(step)
            self.save(step)
            if is_best:  # only now: a kill before leaves no weights that no checkpoint knows
                self.save_best()
        if self.stopping:
            if not validated:
                self.save(step)
            raise KeyboardInterrupt

    def save(self, step):
        """Writes a checkpoint of everything that training needs to resume."""
        checkpoints.save(self.checkpoint, self.checkpoint_folder, step)

    def validate(self, step):
        """Scores the averages after `step` on the validation volumes; whether they are the best."""
        for weight, average in zip(self.network.weights, self.trainer.averages, strict=True):
            weight.assign(average)
        validation = Validation([(case, self.predict(case.image)) for case in self.cases])
        if not all(np.isfinite(p).all() for _, p in validation.predictions):
            raise self.not_finite(step, "the averages' predictions are not finite")
        dice = np.nan_to_num(validation.dice)  # NaN where no foreground is true or predicted
        is_best = dice >= float(self.best)  # a later tie wins
        if is_best:
            self.best.assign(dice)
            for selected, weight in zip(self.selected, self.network.weights, strict=True):
                selected.assign(weight)
        self.report(step, self.trainer, validation)
        self.trainer.reset_metrics()
        return is_best

    def not_finite(self, step, what):
        """The NotFinite of `step`, with the checkpoints that were written before it."""
        return NotFinite(step, what, checkpoints.paths(self.checkpoint_folder))

    def save_best(self):
        """Writes best.keras of the selected averages."""
        for weight, selected in zip(self.network.weights, self.selected, strict=True):
            weight.assign(selected)
        with files.atomic_path(self.folder / "best.keras") as temporary:
            unet.save(self.network, temporary)


class NotFinite(Exception):
    """`what` is NaN or infinite at `step`; `found` are the checkpoints, newest first."""

    def __init__(self, step, what, found):
        super().__init__(f"step {step}: {what}")
        self.step, self.found = step, found


class Validation:
    """Predictions [(case, probabilities)] of the validation volumes, and their scores."""

    def __init__(self, predictions):
        self.predictions = predictions
        dice = np.array([inference.dice(p, case) for case, p in predictions])
        self.dice_per_class = [significance.mean(column) for column in dice.T]
        self.dice = significance.mean([significance.mean(row) for row in dice])  # as is scored
        self.ece = significance.mean(
            [
                metrics.ece(p, metrics.fractions(case.label_maps, p.shape[-1]))
                for case, p in predictions
            ]
        )
