"""The methods of Table 2: what each puts into the blanks of Eq. (2), L_S + lambda(r) L_C."""

import dataclasses
from collections.abc import Callable
from functools import partial

import tensorflow as tf

from bwcr_tf import losses


@dataclasses.dataclass(frozen=True)
class Method:
    """One column per term of the objective."""

    augment: bool
    supervised_loss: Callable  # (labels, logits) [B, H, W, C] -> [B, H, W]
    consistency_weight: Callable | None = None  # (distance [B, H, W], radius) -> [B, H, W]

    @property
    def num_views(self):
        """Consistency compares two views of an image; all else needs one."""
        return 1 if self.consistency_weight is None else 2


def constant(value):
    """lambda of Eq. (1): the same weight [B, H, W] at any distance."""

    def weight(distance, radius=None):
        del radius
        return tf.fill(tf.shape(distance), value)

    return weight


def boundary_ramp(minimum, maximum):
    """lambda(r) of Eq. (3), falling from maximum + minimum at r = 0 to minimum at r >= radius."""

    def weight(distance, radius=10.0):
        return maximum * tf.maximum(radius - distance, 0.0) / radius + minimum

    return weight


_svls = partial(losses.svls_cross_entropy, sigma=1.0)
_margin = partial(losses.margin_cross_entropy, margin=10.0, weight=0.1)

# fmt: off
METHODS = {
    #                  augment  L_S                   lambda(r)
    "baseline": Method(False,   losses.cross_entropy, None),
    "da":       Method(True,    losses.cross_entropy, None),
    "svls":     Method(True,    _svls,                None),
    "mls":      Method(True,    _margin,              None),
    "cr":       Method(True,    losses.cross_entropy, constant(1.0)),
    "bwcr":     Method(True,    losses.cross_entropy, boundary_ramp(0.01, 1.0)),
}
# fmt: on
