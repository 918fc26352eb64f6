"""Random damage to the files of a run: each is refused in one line, or changes nothing."""

import numpy as np

from bwcr_tf.data.cache import load_case
from bwcr_tf.predict import segmentation
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, run_folder


def damage(folder, cache, count, rng):
    """`count` cases of flipped bits, cut or emptied files, shared out over the kinds of files.

    Args:
      folder: of a run that is trained to its end; its files are as before afterwards.
      cache: folder of the volumes that it was trained on.
    """
    tally = {}
    kinds = {
        "cache": (sorted(cache.glob("*.npz")), read_cache),
        "split.json, flags.txt": (
            [folder / "split.json", folder / "flags.txt"],
            lambda path: run_folder.load_spec(path.parent),
        ),
        "checkpoint": (sorted((folder / "checkpoints").glob("step-*.*")), read_checkpoint),
        "best.keras": (
            [folder / "best.keras"],
            lambda path: checkpoints.load_best(path.parent).get_weights(),
        ),
        "SavedModel": (
            [path for path in (folder / "saved_model").rglob("*") if path.suffix != ".md"],
            lambda path: answers(folder / "saved_model"),
        ),
    }
    for i in range(count):
        kind = list(kinds)[i % len(kinds)]
        paths, read = kinds[kind]
        path = rng.choice([path for path in paths if path.is_file()])
        result = check(path, read, rng)
        tally[kind, result] = tally.get((kind, result), 0) + 1
    for (kind, result), number in sorted(tally.items()):
        print(f"{number:4} {kind}: {result}")


def check(path, read, rng):
    """Damages a file, reads it, and restores it; returns what came of it."""
    whole, expected = path.read_bytes(), read(path)
    try:
        path.write_bytes(mutate(whole, rng))
        try:
            found = read(path)
        except DataError as error:
            assert "\n" not in str(error), error
            return "refused"
        if found is None:
            return "made again"
        assert equal(found, expected), path
        return "read as it was"
    finally:
        path.write_bytes(whole)


def equal(one, other):
    if not isinstance(one, list):
        return one == other
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def mutate(content, rng):
    kind = rng.randrange(4)
    if kind == 0:
        return content[: rng.randrange(len(content))]
    if kind == 1:
        return b""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 3, 50))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def read_cache(path):
    case = load_case(path)
    return case and [getattr(case, f) for f in ("image", "label_map", "distance", "grid")]


def read_checkpoint(path):
    names = ["step", *(f"averages/{i}" for i in range(10))]
    return checkpoints.read(str(path).rpartition(".")[0], names)


def answers(folder):
    model = segmentation.load(folder)
    image = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    return [model.classes, model.signature(image=image)["probabilities"].numpy()]
