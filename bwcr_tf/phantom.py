"""Phantom hearts: short-axis cine MRI with a known ambiguity, written in the ACDC layout.

A scene is painted from outlines in mm. A label map is one draw from a model of annotators, who
wander more where the image has less contrast. What they draw on average is known.
"""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage, special

# fmt: off
GROUPS = {  # LV radius and wall at ED in mm, RV size, ES / ED radius, septal excess, lost wall
    "DCM":  dict(lv_mm=35, wall_mm=8.5, rv=1.00, contraction=0.87, septal=0.0, infarct=0.0),
    "HCM":  dict(lv_mm=25, wall_mm=14., rv=0.95, contraction=0.58, septal=0.3, infarct=0.0),
    "MINF": dict(lv_mm=29, wall_mm=9.5, rv=0.95, contraction=0.80, septal=0.0, infarct=0.5),
    "NOR":  dict(lv_mm=27, wall_mm=9.0, rv=1.00, contraction=0.70, septal=0.0, infarct=0.0),
    "RV":   dict(lv_mm=25, wall_mm=9.0, rv=1.20, contraction=0.75, septal=0.0, infarct=0.0),
}
# fmt: on
FRAMES = {"ED": 1, "ES": 12}
SUBLEVELS_MM = np.array([-2.7, 0.0, 2.7])  # painted through a slice's thickness, then averaged
ANGLES = np.arange(-360, 360) * (np.pi / 360)
SHARP_MM, VAGUE_MM = (
    0.5,
    3.3,
)  # sd of an annotator's contour: at least, and more for no contrast
CORRELATION_MM = 8.0  # of an annotator's hand along a contour
HABIT_MM = 0.6  # sd of an annotator's habit of drawing a contour too wide
BASE_MM = 3.0  # sd of the depth at which an annotator sees the base; nothing is drawn above it


class Volume(NamedTuple):
    image: np.ndarray  # [Z, H, W] int16
    label_map: np.ndarray  # [Z, H, W] uint8: 1 RV, 2 MYO, 3 LV
    probabilities: np.ndarray  # [Z, H, W, C] float32, of what an annotator draws
    spacing_mm: tuple  # x, y, z


class Outline(NamedTuple):
    center_mm: np.ndarray  # [L, 2] (x, y) on L levels, the image's middle being 0
    radius_mm: np.ndarray  # [L, A] over ANGLES; negative where the structure has ended


def group_of(number):
    """The pathology of patient `number`: every five in a row are one of each."""
    return list(GROUPS)[(number - 1) % len(GROUPS)]


def draw_traits(rng, group):
    """What both frames of a subject share (body, scanner, view), as a dict."""
    u, n = rng.uniform, rng.normal
    slice_mm, length_mm = u(8, 10), u(72, 92)
    return GROUPS[group] | dict(
        size=rng.integers(128, 161, 2), pixel_mm=u(1.4, 1.7), slice_mm=slice_mm,
        num_slices=int(np.clip(np.ceil((length_mm + u(-6, 12)) / slice_mm), 6, 10)),
        first_mm=u(-6, 6), length_mm=length_mm, scale=u(0.9, 1.2), es_base_mm=u(4, 11),
        center_mm=n(0, 10, 2), tilt=n((0.2, 0.15), 0.12), breath_mm=n(0, 1, (10, 2)),
        rotation=np.pi + n(0, 0.5), wobble=n(0, 0.05, (3, 4, 2)) @ (1, 1j),
        rv_mm=u((36, 40), (46, 50)), infarct_angle=u(-np.pi, np.pi),
        papillary=u(0.15, 0.3, 2), papillary_angle=np.pi + u((-1.2, 0.6), (-0.6, 1.2)),
        hidden=u(-np.pi, np.pi, (2, 2)), blood=u(0.6, 0.95), rv_blood=u(0.7, 1.0),
        myo=u(0.14, 0.34), fat=u(0.65, 1.05), liver=u(0.16, 0.45), lung=u(0.02, 0.16),
        muscle=u(0.12, 0.3), body=u(0.8, 1.2, 6), noise=u(0.015, 0.06), blur=u(0.4, 0.8),
        shading=n(0, 0.2, 4), gain=u(300, 3000),
    )  # fmt: skip


def base_mm(traits, frame):
    """How far the base has moved towards the apex since ED."""
    return traits["es_base_mm"] if frame == "ES" else 0.0


def bump(angle, center, width):
    """One around an angle, zero far from it."""
    return np.exp(-((np.angle(np.exp(1j * (angle - center))) / width) ** 4))


def taper(depth, power):
    """Width [L, 1] at a relative depth [L]: 1 at the base, 0 at the apex, negative beyond."""
    rest = 1 - np.maximum(depth, 0)[:, None] ** 2
    return np.sign(rest) * np.abs(rest) ** power


def ventricle_mm(traits, frame, depth, angle):
    """Endocardial and epicardial radius [L, A] of a round LV; ES keeps its muscle's area."""
    diastole = traits["lv_mm"] * traits["scale"]
    endo = diastole * (traits["contraction"] if frame == "ES" else 1.0)
    scar = traits["infarct"] * bump(angle, traits["infarct_angle"], 1.0)
    wall = traits["wall_mm"] * (1 + traits["septal"] * np.cos(angle)) * (1 - scar)
    epi = np.sqrt(endo**2 + (diastole + wall) ** 2 - diastole**2)
    return endo * taper(depth, 0.6), epi * taper(depth * 0.92, 0.6)


def outlines(traits, frame, depth_mm, breath_mm):
    """Outlines of endocardium, epicardium and RV, `depth_mm` [L] below the base."""
    depth = depth_mm / (traits["length_mm"] - base_mm(traits, frame))
    angle = ANGLES - traits["rotation"]  # 0 points from the LV to the RV
    k = np.arange(2, 6)[:, None, None]
    waves = np.exp(1j * (k * angle + depth[:, None])) / k  # [K, L, A]: they twist with depth
    wobble = 1 + np.einsum("sk,kla->sla", traits["wobble"], waves).real
    endo, epi = ventricle_mm(traits, frame, depth, angle)
    endo, epi = endo * wobble[0], epi * wobble[:2].mean(0)
    atrium = special.expit(-(depth_mm[:, None] + 4) / 2)  # above the base the wall thins
    epi = np.maximum(epi - 0.7 * atrium * (epi - endo), endo + 2)
    size = traits["rv"] * traits["scale"] * (0.85 if frame == "ES" else 1.0) * taper(depth, 0.9)
    across, along = traits["rv_mm"]
    ellipse = across * along / np.hypot(along * np.cos(angle), across * np.sin(angle))
    center = traits["center_mm"] + depth_mm[:, None] * traits["tilt"] + breath_mm
    to_rv = np.array([np.cos(traits["rotation"]), np.sin(traits["rotation"])])
    rv_center = center + 0.7 * epi.mean(1)[:, None] * to_rv
    return (
        Outline(center, endo),
        Outline(center, epi),
        Outline(rv_center, size * ellipse * wobble[2]),
    )


def on_rays(table, theta):
    """`table` [L, A] over ANGLES, read at theta [L, H, W] -> [L, H, W]."""
    index = np.rint((theta + np.pi) * (len(ANGLES) / (2 * np.pi))).astype(np.int32)
    table = np.concatenate([table, table[:, :1]], 1).astype(np.float32)
    return table[np.arange(len(table))[:, None, None], index]


def rays(outline, grid):
    """How far in mm each pixel lies outside an outline along its ray, and the ray's angle."""
    x, y = (g - c[:, None, None] for g, c in zip(grid, outline.center_mm.T, strict=True))
    theta = np.arctan2(y, x)
    return np.hypot(x, y) - on_rays(outline.radius_mm, theta), theta


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


def papillaries(traits, endo, depth_mm, grid):
    """How far in mm each pixel lies outside the nearer papillary muscle, [L, H, W]."""
    radius = endo.radius_mm.mean(1, keepdims=True)
    middle = np.exp(-(((depth_mm[:, None] / traits["length_mm"] - 0.5) / 0.35) ** 4))
    muscles = []
    for size, angle in zip(traits["papillary"], traits["papillary_angle"], strict=True):
        angle = traits["rotation"] + angle
        center = endo.center_mm + 0.68 * radius * (np.cos(angle), np.sin(angle))
        muscles.append(rays(Outline(center, size * radius * middle - 1 + 0 * ANGLES), grid)[0])
    return np.minimum(*muscles)


def look_alike(sectors, depth_mm):
    """Opacity [L, A] of tissue that hides a contour: sectors that come and go with depth."""
    fade = 0.6 + 0.4 * np.cos(depth_mm[:, None] / 25 + sectors)
    return np.minimum(fade @ bump(ANGLES, sectors[:, None], 0.6), 1)


def heart(traits, rng, image, fields, muscles_mm, depth_mm):
    """The heart painted on `image` [L, H, W]; `fields` holds the `rays` of its outlines."""
    (endo, _), (epi, theta), (rv, rv_theta) = fields
    rough, patch, smooth = (noise_field(rng, image.shape, (2, s, s)) for s in (1.3, 3, 5))
    blood, myo = traits["blood"] * (1 + 0.07 * smooth), traits["myo"] * (1 + 0.08 * rough)
    rv_blood, fat = blood * traits["rv_blood"], traits["fat"] * 0.8
    rv_hidden = on_rays(look_alike(traits["hidden"][0], depth_mm), rv_theta)
    epi_hidden = on_rays(look_alike(traits["hidden"][1], depth_mm), theta)
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


def scan(traits, rng, clean):
    """`clean` [Z, H, W] under a coil's shading and Rician noise, int16."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in clean.shape[1:]), indexing="ij")
    shading = np.exp(np.tensordot(traits["shading"], [x, y, x**2, y**2], 1))
    real, imaginary = traits["noise"] * rng.standard_normal((2, *clean.shape), np.float32)
    return (traits["gain"] * np.hypot(clean * shading + real, imaginary)).astype(np.int16)


def contour_sd_mm(clean, outline, pixel_mm, full_contrast):
    """How far annotators stray, [Z, A] mm: more, the less contrast there is across."""
    directions = np.stack([np.sin(ANGLES), np.cos(ANGLES)])[:, None]  # (y, x)
    middle = (np.array(clean.shape[1:])[:, None, None] - 1) / 2
    sides = []
    for offset_mm in (-4.0, -2.5, -1.0, 1.0, 2.5, 4.0):
        reach_mm = np.maximum(outline.radius_mm + offset_mm, 0)
        points_mm = outline.center_mm.T[::-1, :, None] + reach_mm * directions
        at = np.concatenate([np.indices(reach_mm.shape)[:1], points_mm / pixel_mm + middle])
        sides.append(ndimage.map_coordinates(clean, at, order=1, mode="nearest"))
    contrast = np.abs(np.mean(sides[3:], 0) - np.mean(sides[:3], 0)) / full_contrast
    contrast = ndimage.gaussian_filter1d(contrast, 16, axis=1, mode="wrap")
    return SHARP_MM + VAGUE_MM * np.exp(-contrast / 0.2)


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


def draw_label_map(rng, contours, fields, sds_mm, depth_mm):
    """One annotator's label map [Z, H, W]: LV in endo, MYO in epi, RV in the rest of rv."""
    inside = []
    for contour, (excess_mm, theta), sd_mm in zip(contours, fields, sds_mm, strict=True):
        stray_mm = HABIT_MM * rng.standard_normal() + sd_mm * hand(rng, contour)
        inside.append(excess_mm < on_rays(stray_mm, theta))
    drawn = depth_mm > BASE_MM * rng.standard_normal()
    return np.select(inside, [3, 2, 1]).astype(np.uint8) * drawn[:, None, None]


def class_probabilities(fields, sds_mm, depth_mm):
    """What `draw_label_map` gives on average, in closed form [Z, H, W, C], summing to 1."""
    lv, epi, rv = (
        special.ndtr(-excess_mm / np.hypot(HABIT_MM, on_rays(sd_mm, theta)))
        for (excess_mm, theta), sd_mm in zip(fields, sds_mm, strict=True)
    )
    drawn = special.ndtr(depth_mm / BASE_MM)[:, None, None]
    myo, rv = (1 - lv) * epi, (1 - lv) * (1 - epi) * rv
    upto = np.cumsum([1 - drawn * (rv + myo + lv), drawn * rv, drawn * myo], axis=0)
    upto = np.clip(np.rint(upto * 2**16) / 2**16, 0, 1)  # such steps add up without rounding
    return np.moveaxis(np.diff(upto, axis=0, prepend=0, append=1), 0, -1).astype(np.float32)


def make_scene(traits, rng, frame):
    """The image before the scan [Z, H, W], and what `draw_label_map` takes after `rng`."""
    position_mm = traits["first_mm"] + traits["slice_mm"] * np.arange(traits["num_slices"])
    depth_mm = np.add.outer(position_mm - base_mm(traits, frame), SUBLEVELS_MM).ravel()
    y, x = (
        np.float32(traits["pixel_mm"] * (np.arange(n) - (n - 1) / 2)) for n in traits["size"]
    )
    grid = x[None], y[:, None]
    levels = len(SUBLEVELS_MM)
    breath_mm = np.repeat(traits["breath_mm"][: len(position_mm)], levels, axis=0)
    contours = outlines(traits, frame, depth_mm, breath_mm)
    fields = [rays(c, grid) for c in contours]
    image = np.repeat(thorax(traits, rng, grid, position_mm), levels, axis=0)
    muscles_mm = papillaries(traits, contours[0], depth_mm, grid)
    image = heart(traits, rng, image, fields, muscles_mm, depth_mm)
    clean = image.reshape(-1, levels, y.size, x.size).mean(1)
    clean = ndimage.gaussian_filter(clean, (0, traits["blur"], traits["blur"]))
    middle = slice(levels // 2, None, levels)
    contours = [Outline(*(part[middle] for part in c)) for c in contours]
    fields = [tuple(part[middle] for part in f) for f in fields]
    full_contrast = traits["blood"] - traits["myo"]
    sds_mm = [contour_sd_mm(clean, c, traits["pixel_mm"], full_contrast) for c in contours]
    return clean, (contours, fields, sds_mm, depth_mm[middle])


def make_volume(seed, number, frame):
    """One frame, "ED" or "ES", of patient `number`: a pure function of its arguments."""
    traits = draw_traits(np.random.default_rng([seed, number]), group_of(number))
    rng = np.random.default_rng([seed, number, FRAMES[frame]])
    clean, annotators = make_scene(traits, rng, frame)
    label_map = draw_label_map(rng, *annotators)
    spacing_mm = (traits["pixel_mm"], traits["pixel_mm"], traits["slice_mm"])
    return Volume(
        scan(traits, rng, clean), label_map, class_probabilities(*annotators[1:]), spacing_mm
    )


def write_subject(folder, seed, number, with_probabilities):
    """Writes Info.cfg and both frames of patient `number` into a new folder."""
    folder.mkdir(parents=True)
    frames = "".join(f"{name}: {index}\n" for name, index in FRAMES.items())
    (folder / "Info.cfg").write_text(f"{frames}Group: {group_of(number)}\n")
    for name, index in FRAMES.items():
        volume = make_volume(seed, number, name)
        files = {"": volume.image, "_gt": volume.label_map}
        if with_probabilities:
            files["_probabilities"] = volume.probabilities  # a vector image
        for suffix, array in files.items():
            image = sitk.GetImageFromArray(array, isVector=array.ndim == 4)
            image.SetSpacing(volume.spacing_mm)
            path = folder / f"{folder.name}_frame{index:02d}{suffix}.nii.gz"
            sitk.WriteImage(image, str(path), useCompression=True)


def write(directory, num_training=45, num_testing=20, seed=0, progress=None):
    """Writes the data set whole or not at all; a `directory` that has content is left as it is.

    Args:
        progress: called as progress(subjects_done, subjects_in_all) after each subject.

    Returns:
        Whether this call made the data set; False where it was there, or another one was first.
    """
    directory, total = Path(directory).absolute(), num_training + num_testing
    if directory.is_dir() and any(directory.iterdir()):
        return False
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".phantom-", dir=directory.parent) as scratch:
        whole = Path(scratch) / directory.name

        def make(number):
            part = "training" if number <= num_training else "testing"
            write_subject(
                whole / part / f"patient{number:03d}", seed, number, part == "testing"
            )

        with ThreadPoolExecutor(2) as pool:  # threads: NumPy and SciPy let go of the lock
            for done, _ in enumerate(pool.map(make, range(1, total + 1)), 1):
                if progress:
                    progress(done, total)
        try:
            os.rename(whole, directory)
        except OSError:
            if not (directory.is_dir() and any(directory.iterdir())):
                raise
            return False
    return True
