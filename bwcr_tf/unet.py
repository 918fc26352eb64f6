"""The 2D U-Net f_theta of Sec. 4 (Ronneberger et al., MICCAI 2015)."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("bwcr_tf")
class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' layer as the one operation that TensorFlow has for it, statistics in float32.

    Keras 3 writes it out in ten passes over the activations: a quarter of a training step on CPU.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalised inputs [B, H, W, C]; in training, by the batch, and the statistics move."""
        del mask  # of Keras' signature
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=tf.zeros([0]) if training else self.moving_mean.value,
            variance=tf.zeros([0]) if training else self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=bool(training),
        )
        if training:
            count = tf.cast(tf.size(inputs[..., 0]), tf.float32)
            variance *= (count - 1) / count  # the operation's is unbiased, Keras' is not
            for weight, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                weight.assign(weight * self.momentum + value * (1 - self.momentum))
        return outputs


def _block(x, filters, name, dtype):
    """Two 3 x 3 convolutions, each with batch normalisation and ReLU."""
    for i in (1, 2):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=dtype,
            name=f"{name}_conv{i}",
        )(x)
        x = FusedBatchNormalization(
            momentum=0.9, epsilon=1e-5, dtype=dtype, name=f"{name}_norm{i}"
        )(x)
        x = layers.ReLU(dtype=dtype, name=f"{name}_relu{i}")(x)
    return x


def build_unet(shape, num_classes, width=16, dtype="float32", channels=1):
    """Keras model of a grid `shape` (H, W): images [B, H, W, K] -> logits [B, H, W, C] float32.

    Five levels of width (1, 2, 4, 8, 8) x `width`, max-pooling down and bilinear upsampling, skip
    connections concatenated: the authors' 0.84 M weights at width 16 and four classes. `dtype` is
    a Keras dtype policy, such as mixed_bfloat16, for all layers but the logits'.

    Raises:
      ValueError: H or W is not a multiple of 16, the total pooling.
    """
    if any(side % 16 for side in shape):
        raise ValueError(f"shape {shape}: each side must be a multiple of 16 (four poolings)")
    x = image = keras.Input((*shape, channels), name="image")
    skips = []
    for level, factor in enumerate((1, 2, 4, 8)):
        x = _block(x, factor * width, f"down{level}", dtype)
        skips.append(x)
        x = layers.MaxPooling2D(dtype=dtype, name=f"pool{level}")(x)
    x = _block(x, 8 * width, "bottom", dtype)
    for level, factor in ((3, 4), (2, 2), (1, 1), (0, 1)):
        # float32 in any case: XLA has no gradient of the operation in bfloat16 (TF 2.21)
        x = layers.UpSampling2D(interpolation="bilinear", name=f"upsample{level}")(x)
        x = layers.Concatenate(dtype=dtype, name=f"concat{level}")([x, skips[level]])
        x = _block(x, factor * width, f"up{level}", dtype)
    logits = layers.Conv2D(num_classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name="unet")


def save(network, path):
    """Writes a .keras file of Keras' own layers, which loads without this package."""
    _with_normalization(network, layers.BatchNormalization).save(path)


def load(path):
    """The network in a .keras file of `save`."""
    network = keras.models.load_model(path, compile=False)
    return _with_normalization(network, FusedBatchNormalization)


def _with_normalization(network, kind):
    """A copy of a network whose batch normalisation is of the class `kind`."""

    def clone(layer):
        is_normalization = isinstance(layer, layers.BatchNormalization)
        return (kind if is_normalization else type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy
