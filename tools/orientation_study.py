"""How often the orientation of a scan is found, in the eight ways that it may be held.

    PYTHONPATH=. python tools/orientation_study.py RUN [RUN ...] [--subjects=12]

For each run, test volumes on the network's grid are turned into all eight in-plane orientations,
while their headers stay. The right one is that in which the network has the highest Dice. Printed
are how many volumes `search` finds it of, how many of the others `auto` warns of, and mean Dice if
all eight are predicted by the header, as `auto` does where training scans had no directions, and by
`search`; and how many slices are predicted to compare a scan that is held right.
"""

import contextlib
import io

import numpy as np
import SimpleITK as sitk
import studies

from bwcr_tf import metrics
from bwcr_tf.data import cache, scans
from bwcr_tf.evaluation import inference
from bwcr_tf.predict import orientation, segmentation
from bwcr_tf.system import command
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints


class Trial:
    """The orientations of one volume: a Case, `predict` of the network, and its settings."""

    def __init__(self, case, predict, settings):
        self.case, self.header = case, settings.orientation
        self.codes = orientation.in_plane(self.header)
        self.predict, self.predicted = predict, 0
        self.model = segmentation.Model(
            (), settings, self._signature, "", {}, (), directions_known=False
        )

    def _signature(self, image):
        self.predicted += len(image)
        return {"probabilities": self.predict(image.numpy())}

    def turned(self, array, code):
        """An array of the volume as it is predicted in `code`."""
        return np.ascontiguousarray(scans.turned(array, self.header, code))

    def dice(self, code):
        """Mean Dice of the classes when the volume is predicted in `code`."""
        p = self.predict(self.turned(self.case.image, code))
        true = self.turned(self.case.label_map, code)
        return float(np.nanmean(metrics.dice(p.argmax(axis=-1), true, p.shape[-1])))

    def chosen(self, held, mode):
        """The code that the volume held in `held` ends up in, and how many slices that took."""
        views = self.turned(self.case.image, held)
        images = [
            self.case.grid.place(sitk.GetImageFromArray(np.ascontiguousarray(views[..., k])))
            for k in range(views.shape[-1])
        ]
        self.predicted = 0
        with contextlib.redirect_stderr(io.StringIO()):
            code = orientation.choose(images[0], images, self.model, mode, "scan")
        return self.composed(held, code), self.predicted

    def composed(self, first, second):
        """The one code that turns as `first` and then `second` do."""
        marks = np.arange(4).reshape(1, 2, 2)
        both = self.turned(self.turned(marks, first), second)
        return next(code for code in self.codes if (self.turned(marks, code) == both).all())


def results(trial):
    """The counts of one volume, by name."""
    dice = {code: trial.dice(code) for code in trial.codes}
    right = max(dice, key=dice.get)
    found = {"dice header": np.mean(list(dice.values())), "search": False}
    found |= {"warned right": 0, "warned others": 0, "dice auto": 0.0, "dice search": 0.0}
    for held in trial.codes:
        taken, slices = trial.chosen(held, "auto")
        searched, _ = trial.chosen(held, "search")
        found["dice auto"] += dice[taken] / 8
        found["dice search"] += dice[searched] / 8
        found["warned right" if held == right else "warned others"] += taken != held
        if held == right:
            found |= {"search": searched == right, "slices": slices}
    return found


def main():
    """Prints a line for each run."""
    parser = studies.parser(__doc__)
    parser.add_argument("--subjects", type=int, default=12)
    arguments = parser.parse_args()
    for folder in arguments.runs:
        spec, _, directory, kept = studies.load(folder, arguments)
        if len({*spec.settings.shape}) > 1:
            raise DataError(f"{folder}: a grid of {spec.settings.size}; expected a square")
        subjects = spec.subjects("test", directory)[: arguments.subjects]
        predict = inference.predictor(checkpoints.load_best(folder))
        rows = [
            results(Trial(case, predict, spec.settings))
            for case in cache.prepare(subjects, spec.settings, kept)
        ]
        total = {name: np.sum([row[name] for row in rows]) for name in rows[0]}
        count, mean = len(rows), {name: value / len(rows) for name, value in total.items()}
        print(
            f"{folder}: search finds {total['search']} of {count}; warned, held right "
            f"{total['warned right']} of {count}, otherwise {total['warned others']} of "
            f"{7 * count}; Dice header {mean['dice header']:.2f}, auto {mean['dice auto']:.2f}, "
            f"search {mean['dice search']:.2f}; slices compared, held right: {mean['slices']:.1f}",
            flush=True,
        )


if __name__ == "__main__":
    with command.errors_in_one_line():
        main()
