"""The objective of the paper, Eq. (2), and the one training step."""

import keras
import tensorflow as tf

from bwcr_tf import affine, losses


class Trainer(keras.Model):
    """Trains `network` by a method's objective and keeps the average of its weights.

    Args:
      network: keras.Model, images [B, H, W, K] -> logits [B, H, W, C].
      method: the row of `methods.METHODS` that fills in L_S, L_C and lambda(r).
      consistency_scale: factor on lambda(r), for Table 1.
      decay: of the exponential moving average of all weights, BatchNorm's statistics included.
    """

    def __init__(self, network, method, consistency_scale=1.0, decay=0.99):
        super().__init__()
        self.network = network
        self.method = method
        self.consistency_scale = consistency_scale
        self.ema = tf.train.ExponentialMovingAverage(decay)
        self.averaged = [w.value for w in network.weights]  # it takes no Keras variable
        self.ema.apply(self.averaged)  # makes the shadow variables, which a traced call cannot
        # No tracker for the loss: TensorFlow would add up its terms in a nondeterministic order.
        self.trackers = {
            name: keras.metrics.Mean(name) for name in ("supervised", "consistency")
        }

    @property
    def averages(self):
        """The averaged weights: variables in the order of `network.weights`."""
        return [self.ema.average(weight) for weight in self.averaged]

    @property
    def means(self):
        """The loss and its terms, averaged over the steps since `reset_metrics`."""
        terms = {name: tracker.result() for name, tracker in self.trackers.items()}
        return {"loss": sum(terms.values()), **terms}

    def objective(self, batch):
        """L_S + lambda(r) L_C of Eq. (2), each term averaged over all pixels.

        A pixel that a view did not see counts as zero in the terms that need this view, and an
        ignored one in all terms.
        """
        logits, visible = zip(*self.image_logits(batch), strict=True)
        supervised_loss = self.method.supervised_loss(batch["labels"], logits[0])
        supervised = tf.reduce_mean(visible[0] * supervised_loss)
        consistency = 0.0
        if self.method.consistency_loss is not None:
            weight = self.weight(batch["distance"]) * visible[0] * visible[1]
            consistency = tf.reduce_mean(weight * self.method.consistency_loss(*logits))
        return {
            "loss": supervised + consistency,
            "supervised": supervised,
            "consistency": consistency,
        }

    def weight(self, distance):
        """lambda(r) of Eq. (3) [B, H, W], times the scale of Table 1."""
        return self.consistency_scale * self.method.consistency_weight(distance)

    def image_logits(self, batch):
        """g(X; theta, phi, psi) of Sec. 3 for each view: (logits in the image frame, visible).

        Ignored pixels are as if no view saw them. Logits are zero where the view did not see.
        """
        height, width = batch["distance"].shape[1:]
        labelled = losses.labelled(batch["labels"])
        for view, view_to_image in zip(
            tf.unstack(batch["views"]), tf.unstack(batch["view_to_image"]), strict=True
        ):
            image_to_view = affine.invert(view_to_image)
            logits = affine.warp(self.network(view, training=True), image_to_view)
            visible = labelled * affine.visible(image_to_view, height, width)
            yield visible[..., None] * logits, visible

    def train_step(self, batch):
        """One update of weights and averages on a batch of `pipeline.batches`; its mean losses."""
        with tf.GradientTape() as tape:
            terms = self.objective(batch)
        weights = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(terms["loss"], weights), weights)
        self.ema.apply(self.averaged)
        for name, tracker in self.trackers.items():
            tracker.update_state(terms[name])
        return self.means
