"""Whole scans by runs whose grid does not hold them: in tiles, or the centre alone.

    PYTHONPATH=. python tools/tile_study.py RUN [RUN ...]

For each run, its map applied: Dice and negative log-likelihood of whole validation and test scans,
means over subjects, and which of the two an export takes by the validation scans.
"""

import studies

from bwcr_tf.data import cache
from bwcr_tf.evaluation import calibration_record, inference, tile_choice
from bwcr_tf.system import command
from bwcr_tf.training import checkpoints, training_data


def study(folder, arguments):
    """Prints the lines of a run."""
    spec, _, directory, kept = studies.load(folder, arguments)
    its_map = calibration_record.load(folder, spec.settings.num_classes)[1]
    predict = inference.predictor(checkpoints.load_best(folder))
    training, own, test = (
        cache.prepare(spec.subjects(part, directory), spec.settings, kept)
        for part in ("training", "validation", "test")
    )
    known = training_data.read(folder) or training_data.describe(
        training, spec.settings.num_classes
    )
    frequencies = known["class_frequencies"]
    for part, cases in (("validation", own), ("test", test)):
        found = tile_choice.choose(predict, cases, its_map, frequencies)
        if found is None:
            print(f"{folder}, {part}: no scan is larger than the grid")
            continue
        taken = "centre" if found["max_tiles"] == 1 else "tiles"
        cells = [
            "{} {:.1f} in tiles, {:.1f} centre".format(
                title, *(factor * v for v in found[key].values())
            )
            for title, key, factor in (("Dice", "dice", 100), ("NLL x 1000", "nll", 1000))
        ]
        print(
            f"{folder}, {len(found['subjects'])} {part}: {'; '.join(cells)}: {taken}",
            flush=True,
        )


def main():
    """Prints the lines of all runs."""
    parser = studies.parser(__doc__)
    arguments = parser.parse_args()
    for folder in arguments.runs:
        study(folder, arguments)


if __name__ == "__main__":
    with command.errors_in_one_line():
        main()
