"""Who is trained on, validated and tested in each run."""

import collections
import dataclasses
import hashlib

from bwcr_tf.data.datasets import DATASETS
from bwcr_tf.data.subjects import Subject
from bwcr_tf.system.errors import DataError


@dataclasses.dataclass(frozen=True)
class Split:
    """Subjects of one run."""

    training: tuple[Subject, ...]
    validation: tuple[Subject, ...]
    test: tuple[Subject, ...]
    calibration: tuple[Subject, ...] = ()

    def names(self):
        """{part: names of its subjects}."""
        return {
            part: tuple(subject.name for subject in getattr(self, part))
            for part in ("training", "validation", "test", "calibration")
        }


def split(name, collection, ntr, run, num_calibration=0):
    """The Split of `run` with `ntr` training subjects (Sec. 4), the same on every machine.

    The test set is the folder's own, or drawn once for all runs. Validation subjects come next,
    then `num_calibration` subjects and then the training subjects, all in an order that is
    random but takes the strata in turn; a smaller training set is part of a larger one.

    Raises:
      DataError: `ntr` is larger than what is left.
    """
    num_validation = DATASETS[name].num_validation
    test = collection.test or _draw_test(name, collection.pool)
    left = [subject for subject in collection.pool if subject not in test]
    order = _balanced_order(left, f"run {run}")
    validation, rest = order[:num_validation], order[num_validation:]
    calibration, rest = rest[:num_calibration], rest[num_calibration:]
    if not 1 <= ntr <= len(rest):
        possible = f"1 to {len(rest)}" if rest else "more subjects"
        more = f" and {num_calibration} for calibration" if num_calibration else ""
        raise DataError(
            f"ntr={ntr}: expected {possible}: of {len(collection.pool + collection.test)} "
            f"subjects {len(test)} are for test and {num_validation} for validation{more}"
        )
    return Split(tuple(rest[:ntr]), tuple(validation), test, tuple(calibration))


def _draw_test(name, pool):
    """Test subjects where the folder has none of its own: the same ones for every run."""
    count = DATASETS[name].num_test
    count = len(pool) // 5 if count is None else count
    return tuple(_balanced_order(pool, "test")[:count])


def _balanced_order(subjects, purpose):
    """Subjects in a random order, which depends on names alone, that takes the strata in turn."""

    def draw(text):
        return hashlib.sha256(f"{purpose}/{text}".encode()).hexdigest()

    taken = collections.Counter()
    turns = []
    for subject in sorted(subjects, key=lambda subject: draw(subject.name)):
        turns.append((taken[subject.stratum], draw(subject.stratum), subject))
        taken[subject.stratum] += 1
    return [subject for *_, subject in sorted(turns, key=lambda turn: turn[:2])]
