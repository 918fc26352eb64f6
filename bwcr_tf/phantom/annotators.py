"""Annotators who wander more where an image has less contrast, and what they draw on average.

A label map is one draw from them. They stray from a scene's contours along its rays, so that a
pixel is inside a contour if it lies outside by less than they stray (NumPy).
"""

import numpy as np
from scipy import ndimage, special

from bwcr_tf.phantom.anatomy import ANGLES, on_rays

SHARP_MM, VAGUE_MM = 0.5, 3.3  # sd of a contour: at least, and what no contrast adds to it
CORRELATION_MM = 8.0  # of a hand along a contour
HABIT_MM = 0.6  # sd of the habit of drawing a contour too wide
BASE_MM = 3.0  # sd of the depth at which the base is seen; nothing is drawn above it


def contour_sd_mm(image, outline, pixel_mm, full_contrast):
    """How far annotators stray, [Z, A] mm: more, the less contrast there is across an outline.

    `full_contrast` is the difference of grey values at which they hardly stray.
    """
    directions = np.stack([np.sin(ANGLES), np.cos(ANGLES)])[:, None]  # (y, x)
    middle = (np.array(image.shape[1:])[:, None, None] - 1) / 2
    sides = []
    for offset_mm in (-4.0, -2.5, -1.0, 1.0, 2.5, 4.0):
        reach_mm = np.maximum(outline.radius_mm + offset_mm, 0)
        points_mm = outline.center_mm.T[::-1, :, None] + reach_mm * directions
        at = np.concatenate([np.indices(reach_mm.shape)[:1], points_mm / pixel_mm + middle])
        sides.append(ndimage.map_coordinates(image, at, order=1, mode="nearest"))
    contrast = np.abs(np.mean(sides[3:], 0) - np.mean(sides[:3], 0)) / full_contrast
    contrast = ndimage.gaussian_filter1d(contrast, 16, axis=1, mode="wrap")
    return SHARP_MM + VAGUE_MM * np.exp(-contrast / 0.2)


def doubt_mm(traits, scene):
    """The `contour_sd_mm` of each contour of a scene."""
    full_contrast = traits["blood"] - traits["myo"]
    return [
        contour_sd_mm(scene.image, contour, traits["pixel_mm"], full_contrast)
        for contour in scene.contours
    ]


def hand(rng, outline):
    """A unit Gaussian process [Z, A], periodic along a contour: one annotator's wandering."""
    k = np.arange(25)
    per_radian = CORRELATION_MM / np.maximum(outline.radius_mm.mean(1), CORRELATION_MM)
    weight = np.exp(-0.25 * np.outer(per_radian, k) ** 2) * np.where(k, 2**0.5, 1)
    weight = weight / np.linalg.norm(weight, axis=1, keepdims=True)
    draws = rng.standard_normal((len(weight), 2, len(k)))
    for z in range(1, len(draws)):
        draws[z] = 0.4 * draws[z - 1] + (1 - 0.4**2) ** 0.5 * draws[z]  # loosely across slices
    cosines, sines = np.moveaxis(weight[:, None] * draws, 1, 0)
    turns = np.outer(k, ANGLES)
    return cosines @ np.cos(turns) + sines @ np.sin(turns)


def draw_label_map(rng, scene, sds_mm):
    """One annotator's label map [Z, H, W], with the sds of `doubt_mm`.

    LV is in endo, MYO in the rest of epi, and RV in the rest of rv.
    """
    inside = []
    for contour, sd_mm in zip(scene.contours, sds_mm, strict=True):
        stray_mm = HABIT_MM * rng.standard_normal() + sd_mm * hand(rng, contour)
        inside.append(contour.excess_mm < on_rays(stray_mm, contour.theta))
    drawn = scene.depth_mm > BASE_MM * rng.standard_normal()
    return np.select(inside, [3, 2, 1]).astype(np.uint8) * drawn[:, None, None]


def class_probabilities(scene, sds_mm):
    """What `draw_label_map` gives on average, in closed form [Z, H, W, C], summing to 1."""
    lv, epi, rv = (
        special.ndtr(-contour.excess_mm / np.hypot(HABIT_MM, on_rays(sd_mm, contour.theta)))
        for contour, sd_mm in zip(scene.contours, sds_mm, strict=True)
    )
    drawn = special.ndtr(scene.depth_mm / BASE_MM)[:, None, None]
    myo, rv = (1 - lv) * epi, (1 - lv) * (1 - epi) * rv
    upto = np.cumsum([1 - drawn * (rv + myo + lv), drawn * rv, drawn * myo], axis=0)
    upto = np.clip(np.rint(upto * 2**16) / 2**16, 0, 1)  # such steps add up without rounding
    return np.moveaxis(np.diff(upto, axis=0, prepend=0, append=1), 0, -1).astype(np.float32)
