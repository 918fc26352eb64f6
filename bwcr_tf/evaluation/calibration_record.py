"""All that is fitted to calibration subjects: the map, then tiles, then volumes (NumPy)."""

from bwcr_tf.evaluation import calibration_choice, tile_choice, volume_choice, volume_scans
from bwcr_tf.system.errors import DataError

COVERAGE = 0.9  # of the intervals of volumes


def make(predict, cases, spec, choice, coverage, old=None, frequencies=None):
    """The record of a calibration, as calibration.json keeps it.

    Raises:
      DataError: there are no calibration subjects for what is asked.

    Args:
      predict: slices [Z, H, W] -> probabilities [Z, H, W, C], the network's own.
      cases: {part of the split: preprocess.Cases}, of training subjects perhaps some; with the
        choice `none` and a coverage of zero, none are used.
      spec: training.run_folder.RunSpec.
      choice: of calibration_choice.choose; None keeps the map of the record `old`.
      coverage: of the intervals; zero leaves them out, so that `volumes` is None. None is that of
        the record `old`, or COVERAGE where it is of a version without intervals.
    """
    part = spec.calibration_part
    own = cases[part] if cases else ()
    if coverage is None:
        volumes = (old or {}).get("volumes", {"coverage": COVERAGE})
        coverage = volumes["coverage"] if volumes else 0
    if not own and (choice not in (None, "none") or coverage):
        raise DataError(
            "no subjects to calibrate on; expected some that no run trained on, or "
            "--calibration=none --coverage=0"
        )
    if choice is None:
        record = {key: value for key, value in old.items() if key != "volumes"}
    else:
        record = calibration_choice.choose(choice, predict, own, part)
    record["tiles"] = record["volumes"] = None
    found = calibration_choice.to_map(record, spec.settings.num_classes)
    if own and frequencies:  # chosen on its subjects, tiles would invalidate the intervals
        judges = cases.get("validation") or own
        record["tiles"] = tile_choice.choose(predict, judges, found, frequencies)
    if coverage:
        beyond = tile_choice.beyond(record)
        maps = volume_choice.held_out_maps(found, predict, own)
        others = [case for other, some in cases.items() if other != part for case in some]
        rest = dict.fromkeys((case.subject for case in others), found)
        record["volumes"] = volume_choice.choose(
            volume_scans.scans(predict, own, maps, beyond),
            volume_scans.scans(predict, others, rest, beyond),
            coverage,
            spec.classes,
        ) | {"part": part}
    return record
