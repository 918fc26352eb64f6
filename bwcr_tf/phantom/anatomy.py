"""Synthetic hearts: who has them, and outlines of their ventricles on L levels, in mm (NumPy)."""

from typing import NamedTuple

import numpy as np
from scipy import special

# fmt: off
GROUPS = {  # LV radius and wall at ED in mm, RV size, ES / ED radius, septal excess, lost wall
    "DCM":  dict(lv_mm=35, wall_mm=8.5, rv=1.00, contraction=0.87, septal=0.0, infarct=0.0),
    "HCM":  dict(lv_mm=25, wall_mm=14., rv=0.95, contraction=0.58, septal=0.3, infarct=0.0),
    "MINF": dict(lv_mm=29, wall_mm=9.5, rv=0.95, contraction=0.80, septal=0.0, infarct=0.5),
    "NOR":  dict(lv_mm=27, wall_mm=9.0, rv=1.00, contraction=0.70, septal=0.0, infarct=0.0),
    "RV":   dict(lv_mm=25, wall_mm=9.0, rv=1.20, contraction=0.75, septal=0.0, infarct=0.0),
}
# fmt: on
ANGLES = np.arange(-360, 360) * (np.pi / 360)


class Outline(NamedTuple):
    """A closed contour on each level, and how each pixel lies to it."""

    center_mm: np.ndarray  # [L, 2] (x, y), the image's middle being 0
    radius_mm: np.ndarray  # [L, A] over ANGLES; negative where the structure has ended
    excess_mm: np.ndarray  # [L, H, W] by which a pixel lies outside, along its ray
    theta: np.ndarray  # [L, H, W] angle of the ray


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


def in_frame(traits, frame):
    """Traits of a subject in one frame, "ED" or "ES": moved base, contracted ventricles."""
    if frame == "ES":
        return traits | dict(base_mm=traits["es_base_mm"], rv_contraction=0.85)
    return traits | dict(base_mm=0.0, rv_contraction=1.0, contraction=1.0)


def bump(angle, center, width):
    """One around an angle, zero far from it."""
    return np.exp(-((np.angle(np.exp(1j * (angle - center))) / width) ** 4))


def taper(depth, power):
    """Width [L, 1] at a relative depth [L]: 1 at the base, 0 at the apex, negative beyond."""
    rest = 1 - np.maximum(depth, 0)[:, None] ** 2
    return np.sign(rest) * np.abs(rest) ** power


def left_ventricle_mm(traits, depth, angle):
    """Endocardial and epicardial radius [L, A] of a round LV; ES keeps its muscle's area."""
    diastole = traits["lv_mm"] * traits["scale"]
    endo = diastole * traits["contraction"]
    scar = traits["infarct"] * bump(angle, traits["infarct_angle"], 1.0)
    wall = traits["wall_mm"] * (1 + traits["septal"] * np.cos(angle)) * (1 - scar)
    epi = np.sqrt(endo**2 + (diastole + wall) ** 2 - diastole**2)
    return endo * taper(depth, 0.6), epi * taper(depth * 0.92, 0.6)


def right_ventricle_mm(traits, depth, angle):
    """Radius [L, A] of an elliptic RV about its own centre."""
    size = traits["rv"] * traits["scale"] * traits["rv_contraction"] * taper(depth, 0.9)
    across, along = traits["rv_mm"]
    return size * (across * along / np.hypot(along * np.cos(angle), across * np.sin(angle)))


def outlines(traits, depth_mm, breath_mm, grid):
    """Outlines of endocardium, epicardium and RV, `depth_mm` [L] below the base.

    `breath_mm` [L, 2] shifts each level: every slice is scanned in a breath-hold of its own.
    """
    depth = depth_mm / (traits["length_mm"] - traits["base_mm"])
    angle = ANGLES - traits["rotation"]  # 0 points from the LV to the RV
    k = np.arange(2, 6)[:, None, None]
    waves = np.exp(1j * (k * angle + depth[:, None])) / k  # [K, L, A]: they twist with depth
    wobble = 1 + np.einsum("sk,kla->sla", traits["wobble"], waves).real
    endo, epi = left_ventricle_mm(traits, depth, angle)
    endo, epi = endo * wobble[0], epi * wobble[:2].mean(0)
    atrium = special.expit(-(depth_mm[:, None] + 4) / 2)  # above the base the wall thins
    epi = np.maximum(epi - 0.7 * atrium * (epi - endo), endo + 2)
    rv = right_ventricle_mm(traits, depth, angle) * wobble[2]
    center = traits["center_mm"] + depth_mm[:, None] * traits["tilt"] + breath_mm
    to_rv = np.array([np.cos(traits["rotation"]), np.sin(traits["rotation"])])
    rv_center = center + 0.7 * epi.mean(1)[:, None] * to_rv
    pairs = (center, endo), (center, epi), (rv_center, rv)
    return tuple(outline(*pair, grid) for pair in pairs)


def on_rays(table, theta):
    """`table` [L, A] over ANGLES, read at theta [L, H, W] -> [L, H, W]."""
    index = np.rint((theta + np.pi) * (len(ANGLES) / (2 * np.pi))).astype(np.int32)
    table = np.concatenate([table, table[:, :1]], 1).astype(np.float32)
    return table[np.arange(len(table))[:, None, None], index]


def outline(center_mm, radius_mm, grid):
    """The Outline of a centre [L, 2] and radii [L, A] on a grid (x [1, W], y [H, 1]) in mm."""
    x, y = (g - c[:, None, None] for g, c in zip(grid, center_mm.T, strict=True))
    theta = np.arctan2(y, x)
    return Outline(center_mm, radius_mm, np.hypot(x, y) - on_rays(radius_mm, theta), theta)


def papillaries(traits, endo, depth_mm, grid):
    """How far in mm each pixel lies outside the nearer papillary muscle, [L, H, W]."""
    radius = endo.radius_mm.mean(1, keepdims=True)
    middle = np.exp(-(((depth_mm[:, None] / traits["length_mm"] - 0.5) / 0.35) ** 4))
    muscles = []
    for size, angle in zip(traits["papillary"], traits["papillary_angle"], strict=True):
        angle = traits["rotation"] + angle
        center = endo.center_mm + 0.68 * radius * (np.cos(angle), np.sin(angle))
        muscles.append(outline(center, size * radius * middle - 1 + 0 * ANGLES, grid))
    return np.minimum(*(muscle.excess_mm for muscle in muscles))
