"""Keeps the averaged weights of the best validation Dice, and lets a run stop and resume."""

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
        self.best_path = folder / "best.keras"
        self.checkpoint_folder = folder / "checkpoints"
        self.network = network
        self.predict = inference.predictor(network)
        trainer.optimizer.build(trainer.network.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(-1.0, dtype=tf.float64)
        self.stopping = False
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
        self.checkpoint = tf.train.Checkpoint(**parts, sums=self.sums)
        self.without_sums = tf.train.Checkpoint(**parts)  # of earlier versions

    def restore(self):
        """Restores the last checkpoint, if there is one; returns the steps done so far.

        Raises:
          DataError: no checkpoint is whole, or best.keras is gone.
        """
        checkpoints.restore(self.checkpoint, self.checkpoint_folder, self.without_sums)
        self.restored = [sum_.numpy() for sum_ in self.sums]
        if self.best >= 0 and not self.best_path.exists():
            raise DataError(f"{self.best_path}: gone; delete the run and train it again")
        return int(self.step)

    def stop(self, *_):
        """Asks for a checkpoint and an end after the present step; twice, for an end at once."""
        if self.stopping:
            raise KeyboardInterrupt
        self.stopping = True

    def on_epoch_begin(self, epoch, logs=None):
        for sum_, value in zip(self.sums, self.restored, strict=True):
            sum_.assign(value)  # which Keras resets at the start

    def on_train_batch_end(self, batch, logs=None):
        self.step.assign_add(1)
        step = int(self.step)
        if not np.isfinite(logs["loss"]):
            raise self.not_finite(step, f"the loss is {logs['loss']}")
        if step % self.every == 0 or step == self.steps:
            self.validate(step)
            self.save(step)
        elif self.stopping:
            self.save(step)
        if self.stopping:
            raise KeyboardInterrupt

    def save(self, step):
        """Writes a checkpoint of everything that training needs to resume."""
        checkpoints.save(self.checkpoint, self.checkpoint_folder, step)

    def validate(self, step):
        """Scores the averages after `step` on the validation volumes, and keeps the best."""
        for weight, average in zip(self.network.weights, self.trainer.averages, strict=True):
            weight.assign(average)
        validation = Validation([(case, self.predict(case.image)) for case in self.cases])
        if not all(np.isfinite(p).all() for _, p in validation.predictions):
            raise self.not_finite(step, "the averages' predictions are not finite")
        dice = np.nan_to_num(validation.dice)  # NaN where no foreground is true or predicted
        if dice >= float(self.best):  # a later tie wins
            self.best.assign(dice)
            self.save_best()
        self.report(step, self.trainer, validation)
        self.trainer.reset_metrics()

    def not_finite(self, step, what):
        """The NotFinite of `step`, with the checkpoints that were written before it."""
        return NotFinite(step, what, checkpoints.paths(self.checkpoint_folder))

    def save_best(self):
        """Writes best.keras."""
        with files.atomic_path(self.best_path) as temporary:
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
        self.dice = significance.mean(dice)
        self.ece = significance.mean(
            [
                metrics.ece(p, metrics.fractions(case.label_maps, p.shape[-1]))
                for case, p in predictions
            ]
        )
