"""Everything that is fitted to calibration subjects: the map, then the volumes (NumPy)."""

from bwcr_tf.evaluation import calibration_choice, volume_choice

COVERAGE = 0.9  # of the intervals of volumes


def make(predict, cases, spec, choice, coverage, old=None):
    """The record of a calibration, as calibration.json keeps it.

    Args:
      predict: slices [Z, H, W] -> probabilities [Z, H, W, C], the network's own.
      cases: {part of the split: preprocess.Cases}; with the choice `none` and a coverage of zero,
        none are used.
      spec: training.run_folder.RunSpec.
      choice: of calibration_choice.choose; None keeps the map of the record `old`.
      coverage: of the intervals; None is that of `old`, or COVERAGE; zero leaves them out.
    """
    part = spec.calibration_part
    own = cases[part] if cases else ()
    if coverage is None:
        coverage = (old or {}).get("volumes", {}).get("coverage", COVERAGE)
    if choice is None:
        record = {key: value for key, value in old.items() if key != "volumes"}
    else:
        record = calibration_choice.choose(choice, predict, own, part)
    if coverage:
        found = calibration_choice.to_map(record, spec.settings.num_classes)
        maps = volume_choice.held_out_maps(found, predict, own)
        others = cases["validation"] if part != "validation" else ()
        rest = dict.fromkeys((case.subject for case in others), found)
        record["volumes"] = volume_choice.choose(
            volume_choice.scans(predict, own, maps),
            volume_choice.scans(predict, others, rest),
            coverage,
            spec.classes,
        ) | {"part": part}
    return record
