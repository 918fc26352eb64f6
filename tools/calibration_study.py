"""Which map of its probabilities helps a run, and which `auto` takes, as test subjects see it.

    PYTHONPATH=. python tools/calibration_study.py RUN ... [--unused=N] [--draws=R] [...]

For each run: what each candidate gains on held-out calibration subjects, and the scores of the test
subjects by the network, by each candidate and by what `auto` chose; against annotator 1, and where
there are several also against the fractions. A change has its 95 % bootstrap interval, subjects as
the unit. Calibration subjects are those of the run; with --unused, N others that the run never saw.
Their labels are those of the annotators that the run learns from; with --labels=mean, all of them.
With --draws, how `auto` decides on R draws of them, and what its choices do to test subjects.
By validation subjects `auto` takes no map: see `yes` or `no`, or ask others with --unused.
With --objectives, maps are also fitted on uncertain pixels alone, with classes balanced, and both.
"""

import random

import numpy as np
import studies
from scipy import stats

from bwcr_tf import metrics
from bwcr_tf.data import cache, datasets
from bwcr_tf.evaluation import (
    calibration,
    calibration_choice,
    inference,
    significance,
    truth,
)
from bwcr_tf.system import command
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, labels

KINDS = tuple(calibration.PARAMETERS)
SCORES = {"ECE": 100, "TACE": 100, "NLL": 1000, "Brier": 1e4}  # and what they are shown times


def cases_of(arguments, folder, unused):
    """(part, calibration Cases, test Cases, number of classes) of a run."""
    spec, flags, directory, kept = studies.load(folder, arguments)
    part = spec.calibration_part
    subjects = spec.subjects(part, directory)
    if unused:
        seen = {*spec.training, *spec.validation, *spec.test, *spec.calibration}
        pool = [s for s in datasets.find(spec.dataset, directory).pool if s.name not in seen]
        subjects = some_of(pool, unused, random.Random(0))
        part = f"{len(subjects)} unused"
    if not subjects:
        raise DataError(f"{folder}: no {part} subjects to calibrate on; expected one or more")
    found = [
        cache.prepare(some, spec.settings, kept)
        for some in (subjects, spec.subjects("test", directory))
    ]
    found[0] = labels.select_annotators(
        found[0], arguments.labels or flags.get("labels", "first")
    )
    return part, *found, len(spec.classes) + 1


def some_of(subjects, count, rng):
    """`count` of a list of subjects, drawn by `rng`; all of them where there are fewer."""
    return rng.sample(subjects, min(count, len(subjects)))


def score(probabilities, true):
    """The SCORES of one volume."""
    functions = metrics.ece, metrics.tace, metrics.nll, metrics.brier
    return [significance.mean(np.ravel(f(probabilities, true))) for f in functions]


def by_subject(found, volumes, truths):
    """Scores [subjects, SCORES] of a Map, and mean |p - fraction| over bins of p where known."""
    rows, sums = {}, []
    for (case, probabilities), true in zip(volumes, truths, strict=True):
        p = calibration.apply(found, probabilities)
        rows.setdefault(case.subject, []).append(score(p, true))
        if np.ndim(true) == p.ndim:
            sums.append(truth.by_probability(p, true))
    values = np.array([np.nanmean(row, axis=0) for row in rows.values()])
    if not sums:
        return values, None
    total = {key: sum(part[key] for part in sums) for key in sums[0]}
    return values, np.abs(total["probability"] - total["fraction"]).sum() / total["count"].sum()


def line(name, values, reference, pooled):
    """A row of the table: each mean, and its change against the network's."""
    cells = []
    for i, factor in enumerate(SCORES.values()):
        cell = f"{factor * np.nanmean(values[:, i]):.1f}"
        if reference is not None:
            change = factor * (values[:, i] - reference[:, i])
            low, high = significance.bootstrap_interval(change[~np.isnan(change)])
            cell += f" [{low:+.1f}, {high:+.1f}]"
        cells.append(f"{cell:>22}")
    cells.append("" if pooled is None else f"{100 * pooled:8.1f}")
    return f"  {name:20}" + "".join(cells)


def objectives(subjects):
    """{name: {subject: Sample}}: other pixels and weights that a map could be fitted to."""
    parts = {}
    for name, (p, targets) in subjects.items():
        band, every = (calibration.sample(p[k], targets[k]) for k in (p[:, 0] < 0.99, ...))
        parts[name] = {" in band": band, " by class": balanced(every), " both": balanced(band)}
    return {key: {name: parts[name][key] for name in parts} for key in parts[name]}


def balanced(pixels):
    """A Sample in which the classes that occur have the same weight."""
    totals = pixels.targets @ pixels.mass
    each = np.divide(1, totals, where=totals > 0, out=np.zeros(len(totals)))
    return pixels._replace(mass=pixels.mass * (each @ pixels.targets) / (totals > 0).sum())


def study(folder, arguments):
    """Prints the tables of one run."""
    part, own, test, num_classes = cases_of(arguments, folder, arguments.unused)
    predict = inference.predictor(checkpoints.load_best(folder))
    record = calibration_choice.choose("auto", predict, own, part)
    print(f"\n{folder}: calibration subjects: {len(record['subjects'])} ({part})")
    for kind, gain in record["candidates"].items():
        nll, tace = (1e3 * np.array(gain[key], float) for key in ("nll_gains", "tace_gains"))
        shown = f"NLL x 1000 {nll.mean():.2f} +- {stats.sem(nll):.2f} {np.round(nll, 2)}"
        shown += f", TACE {np.nanmean(tace) / 10:+.2f} %"
        print(f"  {kind:12}held-out gain: {shown}: {'yes' if gain['accepted'] else 'no'}")
    subjects = calibration_choice.join(predict, own)
    samples = {"": {name: calibration.sample(*pixels) for name, pixels in subjects.items()}}
    samples |= objectives(subjects) if arguments.objectives else {}
    maps = {"network": calibration.identity(num_classes)} | {
        kind + where: calibration.fit(kind, list(found.values()))
        for where, found in samples.items()
        for kind in KINDS
    }
    volumes = [(case, predict(case.image)) for case in test]
    for name, found in maps.items():
        shown = [np.round(array, 2).tolist() for array in (found.weights, found.bias)]
        print(f"  {name:20}weights {shown[0]}, bias {shown[1]}")
    truths = {"annotator 1": [case.label_map for case in test]}
    if truth.known(test[0]):
        truths["all annotators"] = [truth.fractions(case, num_classes) for case in test]
    for title, true in truths.items():
        print(f"  {title:20}" + "".join(f"{name:>22}" for name in SCORES) + "  pooled")
        tables = {name: by_subject(found, volumes, true) for name, found in maps.items()}
        chosen, reference = record["kind"], tables["network"][0]
        tables[f"auto: {chosen}"] = tables["network" if chosen == "none" else chosen]
        for name, (values, pooled) in tables.items():
            print(line(name, values, None if name == "network" else reference, pooled))


def draws(folder, arguments):
    """Prints what `auto` does with each of several draws of unused subjects."""
    count = arguments.unused
    _, own, test, num_classes = cases_of(arguments, folder, 2 * count + 80)
    predict = inference.predictor(checkpoints.load_best(folder))
    subjects = calibration_choice.join(predict, own)
    samples = {name: calibration.sample(*pixels) for name, pixels in subjects.items()}
    volumes = [(case, predict(case.image)) for case in test]
    truths = [case.label_map for case in test]
    if truth.known(test[0]):
        truths = [truth.fractions(case, num_classes) for case in test]
    before, _ = by_subject(calibration.identity(num_classes), volumes, truths)
    rng = random.Random(0)
    changes, kinds, slopes = [], [], []
    for _ in range(arguments.draws):
        names = some_of(list(subjects), count, rng)
        some = [{name: table[name] for name in names} for table in (subjects, samples)]
        gains = {kind: calibration_choice.held_out(kind, *some) for kind in KINDS}
        kinds.append(calibration_choice.best_kind(gains))
        slopes.append(calibration.fit("temperature", list(some[1].values())).weights[0, 0])
        if kinds[-1] != "none":
            found = calibration.fit(kinds[-1], list(some[1].values()))
            changes.append(np.nanmean(by_subject(found, volumes, truths)[0] - before, axis=0))
    shown = ", ".join(f"{kind} {kinds.count(kind)}" for kind in ("none", *KINDS))
    drawn = f"{arguments.draws} draws of {len(names)} of {len(subjects)} unused subjects"
    tenths = np.round(np.percentile(slopes, [10, 50, 90]), 2)
    print(f"\n{folder}: {drawn}: {shown}\n  10, 50, 90 % of one temperature's slopes: {tenths}")
    if changes:
        print("  change on test subjects, where a map was accepted: mean, worst")
        for (name, factor), column in zip(SCORES.items(), np.transpose(changes), strict=True):
            print(f"  {name:6}{factor * column.mean():+.1f}, {factor * column.max():+.1f}")


def main():
    parser = studies.parser(__doc__)
    parser.add_argument("--unused", type=int, default=0)
    parser.add_argument("--draws", type=int, default=0)
    parser.add_argument("--objectives", action="store_true")
    parser.add_argument("--labels", choices=list(labels.LABELS))
    arguments = parser.parse_args()
    if arguments.draws and not arguments.unused:
        parser.error("--draws: of how many subjects? --unused=N says so")
    for folder in arguments.runs:
        (draws if arguments.draws else study)(folder, arguments)


if __name__ == "__main__":
    with command.errors_in_one_line():
        main()
