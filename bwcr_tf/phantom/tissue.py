"""The image of a synthetic heart in its chest, painted from its outlines, and its scan (NumPy).

Everything is drawn at L levels, three through the thickness of each of the Z slices, and the
image is averaged over them. Grey values are relative: blood is near 1.
"""

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from bwcr_tf.phantom.anatomy import ANGLES, Outline, bump, on_rays, outlines, papillaries

SUBLEVELS_MM = np.array([-2.7, 0.0, 2.7])  # of the levels of a slice


class Scene(NamedTuple):
    """What is scanned, and the outlines that annotators look for: one level a slice."""

    image: np.ndarray  # [Z, H, W]
    contours: tuple  # Outlines of endocardium, epicardium and RV
    depth_mm: np.ndarray  # [Z] below the base


def paint(image, excess_mm, value, opacity=1.0):
    """`image` with `value` where the excess is negative; the edge is 1.5 mm soft."""
    return image + np.clip(0.5 - excess_mm / 1.5, 0, 1) * opacity * (value - image)


def noise_field(rng, shape, sigma):
    """Smooth Gaussian noise of unit variance; `sigma` in voxels of each axis."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, np.float32), sigma, mode="wrap")
    return field / field.std()


def thorax(traits, rng, grid, position_mm):
    """Everything but the heart, [Z, H, W]: air, fat, chest wall, lung, abdomen."""
    (x, y), body, fat = grid, traits["body"], traits["fat"]
    shape = (len(position_mm), y.size, x.size)
    coarse, medium, fine = (noise_field(rng, shape, (0.6, s, s)) for s in (9, 4, 1.2))
    half = 0.48 * body[0] * np.ptp(x), 0.6 * body[1] * np.ptp(y)
    x_body, y_body = x - traits["center_mm"][0] - 28 * body[2], y - 60 * (body[3] - 1)
    skin = (np.abs(x_body / half[0]) ** 2.5 + np.abs(y_body / half[1]) ** 2.5) ** 0.4 - 1
    skin = skin * min(half) + 1.5 * coarse
    wall = skin + 8 * body[4] * (1.2 + np.sin(2 * np.arctan2(y_body, x_body) + 9 * body[5]))
    cavity = wall + 12 * body[4] + 2 * medium
    muscle = traits["muscle"] * (1 + 0.2 * fine) + 0.5 * fat * (medium > 1.2)
    lung = traits["lung"] * (1 + 0.2 * medium) + 0.6 * np.clip(fine - 2.2, 0, 1)
    organs = traits["liver"] * (1 + 0.1 * fine)
    organs = np.where((medium > 0.7) | (coarse > 0.9), fat * 0.85, organs)
    organs = np.where(coarse < -1.2, 0.06, np.where(coarse < -0.9, 0.5, organs))
    above = traits["center_mm"][1] + 34 * body[5] - 0.25 * position_mm[:, None, None] - y
    above = above + 0.004 * x_body**2 + 3 * coarse
    image = paint(np.full(shape, 0.01, np.float32), skin, fat * (1 + 0.08 * coarse))
    image = paint(paint(image, wall, muscle), cavity, lung)
    return paint(image, np.maximum(above, cavity - 6), organs)


def look_alike(sectors, depth_mm):
    """Opacity [L, A] of tissue that hides a contour: sectors that come and go with depth."""
    fade = 0.6 + 0.4 * np.cos(depth_mm[:, None] / 25 + sectors)
    return np.minimum(fade @ bump(ANGLES, sectors[:, None], 0.6), 1)


def heart(traits, rng, image, contours, muscles_mm, depth_mm):
    """The heart painted on `image` [L, H, W]; `muscles_mm` is of `papillaries`."""
    endo, epi, rv = (contour.excess_mm for contour in contours)
    rough, patch, smooth = (noise_field(rng, image.shape, (2, s, s)) for s in (1.3, 3, 5))
    blood, myo = traits["blood"] * (1 + 0.07 * smooth), traits["myo"] * (1 + 0.08 * rough)
    rv_blood, fat = blood * traits["rv_blood"], traits["fat"] * 0.8
    rv_hidden = on_rays(look_alike(traits["hidden"][0], depth_mm), contours[2].theta)
    epi_hidden = on_rays(look_alike(traits["hidden"][1], depth_mm), contours[1].theta)
    trabeculae = np.clip(rough + 0.3 * patch - 0.2, 0, 1)
    layers = [  # from the outside in
        (np.minimum(rv - 3, epi) - 2 - 3 * patch, fat, 1),
        (rv - 12, rv_blood * 0.95, rv_hidden),
        (epi - 12, myo, epi_hidden),
        (rv - 3, myo, 1 - rv_hidden),
        (rv, rv_blood, 1),
        (rv, myo, trabeculae * np.exp(-((rv / 7) ** 2))),
        (epi, myo, 1),
        (endo, blood, 1),
        (np.maximum(muscles_mm + patch, endo), myo, 1),
        (endo, myo, trabeculae * np.exp(-((endo / 4) ** 2))),
    ]
    for excess_mm, value, opacity in layers:
        image = paint(image, excess_mm, value, opacity)
    return image


def make_scene(traits, rng):
    """The Scene of a subject `in_frame`; `rng` draws its textures."""
    position_mm = traits["first_mm"] + traits["slice_mm"] * np.arange(traits["num_slices"])
    depth_mm = np.add.outer(position_mm - traits["base_mm"], SUBLEVELS_MM).ravel()
    breath_mm = traits["breath_mm"][: len(position_mm)]
    y, x = (
        np.float32(traits["pixel_mm"] * (np.arange(n) - (n - 1) / 2)) for n in traits["size"]
    )
    grid, levels = (x[None], y[:, None]), len(SUBLEVELS_MM)
    contours = outlines(traits, depth_mm, np.repeat(breath_mm, levels, axis=0), grid)
    image = np.repeat(thorax(traits, rng, grid, position_mm), levels, axis=0)
    muscles_mm = papillaries(traits, contours[0], depth_mm, grid)
    image = heart(traits, rng, image, contours, muscles_mm, depth_mm)
    image = image.reshape(-1, levels, y.size, x.size).mean(1)
    image = ndimage.gaussian_filter(image, (0, traits["blur"], traits["blur"]))
    middle = slice(levels // 2, None, levels)
    contours = tuple(Outline(*(part[middle] for part in contour)) for contour in contours)
    return Scene(image, contours, depth_mm[middle])


def scan(traits, rng, clean):
    """`clean` [Z, H, W] under a coil's shading and Rician noise, int16."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in clean.shape[1:]), indexing="ij")
    shading = np.exp(np.tensordot(traits["shading"], [x, y, x**2, y**2], 1))
    real, imaginary = traits["noise"] * rng.standard_normal((2, *clean.shape), np.float32)
    return (traits["gain"] * np.hypot(clean * shading + real, imaginary)).astype(np.int16)
