"""A network whose last layer is a map of its probabilities (Keras)."""

import keras
from keras import ops


def calibrate(network, found):
    """The keras.Model with the same weights, whose softmax gives the probabilities of a Map.

    Args:
      network: images [N, H, W, K] -> logits [N, H, W, C].
      found: calibration.Map; `none` returns the network itself.
    """
    if found.kind == "none":
        return network
    num_classes = network.output_shape[-1]
    features = ops.log_softmax(network.output)
    weights = found.weights
    if weights[num_classes:].any():
        features = ops.concatenate([features, _log_complement(features, num_classes)], axis=-1)
    else:
        weights = weights[:num_classes]
    layer = keras.layers.Conv2D(num_classes, 1, dtype="float32", name="calibration")
    model = keras.Model(network.input, layer(features))
    layer.set_weights([weights[None, None], found.bias])
    return model


def _log_complement(log_p, num_classes):
    """log(1 - p) [..., C] as log of the sum of the others: exact where p rounds to one."""
    others = [[k for k in range(num_classes) if k != c] for c in range(num_classes)]
    columns = [
        ops.logsumexp(ops.take(log_p, kept, axis=-1), axis=-1, keepdims=True) for kept in others
    ]
    return ops.concatenate(columns, axis=-1)
