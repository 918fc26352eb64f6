"""How a scan is held: by its header, as it is stored, or as the network is the least uncertain."""

import dataclasses
import math

import numpy as np

from bwcr_tf.data import grids, scans
from bwcr_tf.evaluation import inference
from bwcr_tf.predict import page
from bwcr_tf.system import errors

MODES = {
    "auto": "the header's; another one that is clearly more likely is warned of, and is taken if "
    "the training scans had no directions",
    "header": "as the header says",
    "stored": "the array's axes are the model's",
    "search": "the in-plane orientation in which the network is least uncertain",
}
SLICES = 2  # that are compared, where one alone is not enough
CLEARLY = 1.5  # times the uncertainty of another; docs/prediction_trials.md has the trial


def first(image, model, mode):
    """The orientation code that a sitk.Image is held in at first: that of its header or its own."""
    return scans.orientation(image) if mode == "stored" else model.settings.orientation


def choose(image, normalized, model, mode, path):
    """The orientation code that a scan is predicted in.

    Args:
      image: sitk.Image of the scan.
      normalized: its channels, as `preprocess.normalized` gives them in the orientation `first`.

    Warns, where the modes of MODES say so or where another than the header's is taken.
    """
    header = first(image, model, mode)
    if mode in ("stored", "header"):
        return header
    lost, stored = model.directions_known is False, scans.orientation(image)
    plane = stored if lost and not same_slices(stored, header) else header
    codes = [header, *in_plane(plane)]
    for count in (SLICES,) if mode == "search" else (1, SLICES):
        found = uncertainties(normalized, grids.Grid.of(image), model, codes, count)
        best = min(found, key=found.get)
        if best == header and (count == SLICES or math.isfinite(found[best])):
            return header
    clear = found[header] > CLEARLY * found[best]
    taken = mode == "search" or (clear and lost)
    if taken or clear:
        how = "predicted" if taken else "seems to be held"
        errors.warn(
            f"{path}: {how} with axes {best}, not {header} as by its header: the "
            f"network's uncertainty on a few slices is {found[best]:.3f}, not {found[header]:.3f}; "
            "look at the result, or choose by --orientation"
        )
    return best if taken else header


def check_plane(image, settings, mode, path):
    """Warns where the slices of a scan seem to be cut in another plane than the model's."""
    if mm := grids.cut_across(grids.Grid.of(image), settings):
        advice = "expected slices that are cut as the model's were"
        if mode != "stored":
            advice = (
                "if its slices are cut as the model's were, whatever its header says, use "
                "--orientation=stored"
            )
        errors.warn(
            f"{path}: pixels of {mm[0]:g} x {mm[1]:g} mm in the model's plane; {advice}"
        )


def same_slices(code, other):
    """Whether two codes have the same slices, in whatever order."""
    return any({code[2], other[2]} <= set(pair) for pair in scans.PAIRS)


def in_plane(code):
    """The codes of the eight orientations with the slice axis of `code`: `code` first."""
    x, y, z = code
    flipped = {letter: pair.strip(letter) for letter, pair in scans.PAIR_OF.items()}
    pairs = [(a, b) for a in (x, flipped[x]) for b in (y, flipped[y])]
    return ["".join(pair) + z for some in pairs for pair in (some, some[::-1])]


def uncertainties(normalized, own, model, codes, count):
    """{code: page.uncertainty of `count` slices of a scan in that orientation}.

    Codes of one slice axis are compared on the same slices. `own` is the scan's Grid.
    """
    found = {}
    for axis in dict.fromkeys(code[2] for code in codes):
        some = [code for code in dict.fromkeys(codes) if code[2] == axis]
        slices = _few_slices(normalized, own, model.settings, some[0], count)  # [N, S, S, K]
        views = [_cropped(scans.turned(slices, some[0], code), model.settings) for code in some]
        probabilities = inference.in_batches(model.probabilities, np.concatenate(views))
        parts = np.split(probabilities, len(some))
        found |= {code: page.uncertainty(part) for code, part in zip(some, parts, strict=True)}
    return found


def _few_slices(normalized, own, settings, code, count):
    """`count` slices [N, S, S, K] of a scan in an orientation; S is the network's longer side."""
    settings = dataclasses.replace(settings, orientation=code)
    grid = grids.network_grid(own.blank(), settings, (max(settings.shape),) * 2)
    chosen = np.unique(np.linspace(0, grid.size[2] - 1, count + 2).round().astype(int)[1:-1])
    return np.concatenate([grids.on_grid(normalized, grid.slab(z, 1)) for z in chosen.tolist()])


def _cropped(slices, settings):
    """The centre of the network's shape."""
    rows, columns = (
        (side - n) // 2 for side, n in zip(slices.shape[1:3], settings.shape, strict=True)
    )
    return slices[:, rows : rows + settings.shape[0], columns : columns + settings.shape[1]]
