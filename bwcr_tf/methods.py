"""The methods: what each puts into the blanks of Eq. (2), L_S + lambda(r) L_C."""

import dataclasses
from collections.abc import Callable
from functools import partial

import tensorflow as tf

from bwcr_tf import losses
from bwcr_tf.boundary import grid_scale


@dataclasses.dataclass(frozen=True)
class Method:
    """One column per term of the objective."""

    augment: bool
    supervised_loss: Callable  # (labels, logits) [B, H, W, C] -> [B, H, W]
    consistency_loss: Callable | None = None  # (logits, other logits) -> [B, H, W]
    consistency_weight: Callable | None = None  # distance [B, H, W] -> [B, H, W]

    @property
    def num_views(self):
        """Consistency compares two views of an image; all else needs one."""
        return 1 if self.consistency_loss is None else 2


def constant(distance, value):
    """lambda of Eq. (1): the same weight [B, H, W] at any distance."""
    return tf.fill(tf.shape(distance), value)


def boundary_ramp(distance, minimum, maximum, radius):
    """lambda(r) of Eq. (3), falling from maximum + minimum at r = 0 to minimum at r >= R.

    Args:
      distance: r [B, H, W] in pixels.
      radius: R in pixels of the paper's grid; it scales with the grid.
    """
    radius = radius * grid_scale(distance.shape[-2:])
    return maximum * tf.maximum(radius - distance, 0.0) / radius + minimum


_ce = losses.cross_entropy
_svls = partial(losses.svls_cross_entropy, sigma=1.0)
_margin = partial(losses.margin_cross_entropy, margin=10.0, weight=0.1)
_focal = partial(losses.focal_cross_entropy, gamma=3.0)
_ls = partial(losses.smoothed_cross_entropy, smoothing=0.1)
_ecp = partial(losses.confidence_penalty_cross_entropy, weight=0.1)
_nacl = partial(losses.neighbor_cross_entropy, weight=0.1)
_l1ace = partial(losses.calibration_cross_entropy, bins=20)
_square, _js, _cos = losses.squared_difference, losses.jensen_shannon, losses.cosine_distance
_one = partial(constant, value=1.0)
_ramp = partial(boundary_ramp, minimum=0.01, maximum=1.0, radius=10.0)

# fmt: off
METHODS = {
    #                  augment  L_S                    L_C      lambda(r)
    "baseline": Method(False,   _ce),
    "da":       Method(True,    _ce),
    "svls":     Method(True,    _svls),
    "mls":      Method(True,    _margin),
    "cr":       Method(True,    _ce,                   _square, _one),
    "bwcr":     Method(True,    _ce,                   _square, _ramp),
    # What the paper is compared with besides
    "focal":    Method(True,    _focal),
    "ls":       Method(True,    _ls),
    "ecp":      Method(True,    _ecp),
    "nacl":     Method(True,    _nacl),
    "dice_ce":  Method(True,    losses.dice_cross_entropy),
    "l1ace":    Method(True,    _l1ace),
    # Its future work: other consistency losses
    "cr_js":    Method(True,    _ce,                   _js,     _one),
    "bwcr_js":  Method(True,    _ce,                   _js,     _ramp),
    "bwcr_cos": Method(True,    _ce,                   _cos,    _ramp),
}
# fmt: on
