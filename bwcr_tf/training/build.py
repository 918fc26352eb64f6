"""What the options of a run ask for: its method, seed, network and trainer."""

import dataclasses
import functools
import math

import keras

from bwcr_tf import unet
from bwcr_tf.methods import METHODS
from bwcr_tf.system.errors import DataError
from bwcr_tf.trainer import Trainer

TOGETHER = 10  # compiled steps of a call, at most


def seed(options):
    """The seed of a run: another one for each draw of subjects."""
    return options.seed + 1000 * options.run


def find_method(options):
    """The row of METHODS, with another R of Eq. (3) where one is given.

    Raises:
      DataError: the method has no R, or no L_C to scale.
    """
    method, scale = METHODS[options.method], options.consistency_scale
    if scale != 1 and method.consistency_loss is None:
        raise DataError(f"consistency_scale={scale:g}: {options.method} has no L_C; expected 1")
    if options.radius is None:
        return method
    if radius(method) is None:
        raise DataError(f"radius={options.radius:g}: {options.method} has no R; expected none")
    weight = functools.partial(method.consistency_weight, radius=options.radius)
    return dataclasses.replace(method, consistency_weight=weight)


def radius(method):
    """R of a row of METHODS, pixels of the paper's grid, or None."""
    return getattr(method.consistency_weight, "keywords", {}).get("radius")


def network(settings, width, dtype="float32"):
    """The U-Net for scans that are preprocessed by `settings`."""
    count = len(settings.windows)
    return unet.build_unet(settings.shape, settings.num_classes, width, dtype, channels=count)


def trainer(settings, options):
    """The compiled Trainer that the options ask for."""
    dtype = "mixed_bfloat16" if options.mixed_precision else "float32"
    method, scale = find_method(options), options.consistency_scale
    built = Trainer(network(settings, options.width, dtype), method, scale)
    rate = keras.optimizers.schedules.PolynomialDecay(
        options.learning_rate, options.steps, 1e-3 * options.learning_rate
    )
    built.compile(keras.optimizers.Adam(rate), jit_compile=options.jit)
    return built


def steps_per_call(start, options):
    """Steps that TensorFlow takes without Python in between, from step `start` on.

    Ten with --jit, fewer where they would step over a validation, as from a step that is not a
    multiple of ten: a GPU, whose steps are short, otherwise waits for Python after each of them.
    """
    ends = start, options.eval_every, options.steps
    return math.gcd(TOGETHER, *ends) if options.jit else 1
