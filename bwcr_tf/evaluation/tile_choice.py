"""Whether a scan larger than the network's grid is predicted in tiles, or its centre alone (NumPy).

Networks are trained on the centres of scans; around them, some find structures that are not there.
"""

import math

from bwcr_tf import metrics
from bwcr_tf.data import tiles
from bwcr_tf.evaluation import significance, volume_scans


def choose(predict, cases, its_map, frequencies):
    """The record of the choice: what gives whole scans more Dice or, with the same, less NLL.

    Args:
      predict, its_map: as of volume_scans.scan.
      frequencies: [C], of the classes in training: the probabilities around the centre if it alone
        is predicted.

    Returns:
      Dict of `max_tiles`, 1 or tiles.LIMIT; `dice` and `nll`, means over subjects of either, by
      its number; `subjects`; and `class_frequencies`. None if no case is larger than the grid.
      A Dice of scans in which nothing is, and nothing is found, is 1.
    """
    larger = [case for case in cases if case.plane is not None]
    if not larger:
        return None
    subjects, table = [case.subject for case in larger], {}
    for limit, around in ((tiles.LIMIT, None), (1, tuple(frequencies))):
        found = (volume_scans.scan(predict, case, its_map, around) for case in larger)
        scores = zip(*map(_scores, found), strict=True)
        dice, nll = (
            significance.mean(significance.by_subject(subjects, values)) for values in scores
        )
        table[limit] = 1.0 if math.isnan(dice) else dice, nll
    dice, nll = ({str(limit): row[i] for limit, row in table.items()} for i in range(2))
    return {
        "max_tiles": max(table, key=lambda limit: (table[limit][0], -table[limit][1])),
        "dice": dice,
        "nll": nll,
        "subjects": list(dict.fromkeys(subjects)),
        "class_frequencies": list(frequencies),
    }


def _scores(scan):
    """Mean Dice of the classes, and negative log-likelihood, of a Scan against annotator 1."""
    p, label_map = scan.probabilities(), scan.case.original_label_map
    dice = metrics.dice(p.argmax(axis=-1), label_map, p.shape[-1])
    return significance.mean(dice), metrics.nll(p, label_map)


def beyond(record):
    """The probabilities around the centre, if a calibration's record says so; else None: tiles."""
    found = record.get("tiles")
    return tuple(found["class_frequencies"]) if found and found["max_tiles"] == 1 else None
