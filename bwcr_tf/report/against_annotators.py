"""The section *Against the annotators*: scores against the fractions of several annotators."""

from bwcr_tf.evaluation import scores, significance
from bwcr_tf.report import (
    curves,
    network_figures,
    notes,
    page,
    run_scores,
    scored_runs,
    supplementary_tables,
    tables,
)

_ECE, _TACE, _DICE = (scores.METRICS[column] for column in ("ece", "tace", "dice"))
TESTED = [_ECE, _TACE, *run_scores.PER_MILLE.values(), _DICE]
_RANKED = {"ECE": _ECE, "TACE": _TACE, "NLL": run_scores.PER_MILLE["nll"]}
SHOWN = [*TESTED, *scores.VOLUME_METRICS.values()]
POOLED = {"Pooled error": "pooled_error", "Error where they disagree": "disagreed"}
HUMAN = "One annotator"


def settings(found):
    """{setting: {method: Runs}} of the runs that are scored against several annotators."""
    annotated = [run for run in found if run.annotated and run.scale == 1]
    return {
        setting: scored_runs.group(some, "label")
        for setting, some in scored_runs.group(annotated, "setting").items()
    }


def make_blocks(found, root, folder):
    """The section of all runs, or nothing where none has several annotators."""
    blocks = []
    for setting, methods in settings(found).items():
        blocks += [f"### Against the annotators: {setting}", score_table(setting, methods)]
        against = " against the annotators"
        how = "BWCR", methods, "annotators", TESTED
        blocks += tables.test_tables(f"{against}, {setting}", *how)
        if last := run_scores.having("annotators_last", methods):
            kinds = "annotators", "annotators_last"
            title = f"{setting}, against the annotators"
            blocks.append(supplementary_tables.selection_table(title, last, TESTED, kinds))
            how = "BWCR", last, "annotators_last", TESTED
            blocks += tables.test_tables(f"{against} at the last step, {setting}", *how)
        blocks += [
            curves.reliability_of_fractions(folder, setting, methods),
            curves.by_agreement(folder, setting, methods),
            *network_figures.annotated_cases(folder, setting, methods, root),
        ]
    return ["## Against the annotators", *blocks] if blocks else []


def score_table(setting, methods):
    """Mean ± sd over volumes and runs of each method, and how one annotator does, last."""
    everyone = [run for found in methods.values() for run in found]
    columns = [["Method", *methods, HUMAN]]
    for title, key in POOLED.items():
        columns.append([f"{title} ↓", *_means(methods, key), ""])
    for metric in SHOWN:
        cells = tables.score_column(list(methods.values()), metric, "annotators")
        columns.append([tables.arrowed(metric), *cells, _human(everyone, metric)])
    note = (
        f"{notes.runs(methods)} Against the fraction of annotators who gave a pixel each "
        "class; Dice is the mean over annotators. Pooled error: |mean probability − mean "
        "fraction| in 20 bins of probability over 5 %, over all volumes. Error where they "
        "disagree: mean |probability − fraction| of pixels that some of them mark, and not all. "
        "CRPS in ml. "
        f"{HUMAN}: each against the others, its outline taken for probabilities of 0 and 1."
    )
    note += notes.undefined(methods, SHOWN, ("annotators",))
    scored, test = (_volumes(table) for table in (everyone[0].annotators, everyone[0].rows))
    if scored < test:
        note += f" Of {scored} of {test} test volumes: the others have one annotator."
    return page.of_columns(f"Scores against the annotators, {setting}", columns, note)


def _volumes(rows):
    """How many volumes a table of scores has."""
    return len({(row["subject"], row["volume"]) for row in rows})


def _means(methods, key):
    """The number `key` of a summary's `truth` for each method, in per cent: the best in bold."""
    values = [run_scores.average(found, "truth", key) for found in methods.values()]
    cells = [(tables.show(value), round(100 * value, 1), 0.0) for value in values]
    return tables.best_in_bold(cells, -1)


def _human(found, metric):
    """`79.2 ± 10.9`: a score of each annotator against the others."""
    keys = "annotators", "human", "all", metric.column
    shown = (
        tables.show(run_scores.average(found, *keys, key), metric.factor, metric.decimals)
        for key in ("mean", "sd")
    )
    return " ± ".join(filter(None, shown))


def verdicts(found):
    """Is BWCR nearer to what the annotators say? A line for each setting."""
    for setting, methods in settings(found).items():
        tests = tables.tests("BWCR", methods, "annotators", TESTED).get("BWCR")
        if not tests:
            continue
        line = f"**{setting}, against the annotators.** "
        if of_da := tests.get("BWCR − DA"):
            ece, dice = (of_da[metric.title] for metric in (_ECE, _DICE))
            line += (
                f"BWCR's ECE against the fractions minus DA's is {tables.interval(ece)} points, "
                f"at a Dice difference of {tables.interval(dice)}. "
            )
        others = [name for ours, name in tables.pairs("BWCR", methods) if ours == "BWCR"]
        yield line + ranking(others, tests.values())


def ranking(others, tests):
    """Which of the `others` BWCR is better than, worse than, or not told apart from.

    `tests` are the differences from each of them, of which those of _RANKED count.
    """
    parts = [
        f"{name} is {_rank(others, [test[metric.title] for test in tests])}"
        for name, metric in _RANKED.items()
    ]
    against = f"Against {len(others)} other method(s), at Holm's p < 0.05,"
    return f"{against} BWCR's {'; its '.join(parts)}."


def _rank(others, values):
    """Of how many of the `others` it is lower by differences [N] each; who the rest are."""
    p_values = significance.holm(significance.permutation_tests(values))
    kinds = {"lower than": [], "higher than": [], "not told apart from": []}
    below, above, neither = kinds.values()
    for name, value, p in zip(others, values, p_values, strict=True):
        (neither if not p < 0.05 else below if value.mean() < 0 else above).append(name)
    return ", ".join(
        f"{kind} that of {len(names)}"
        + (f" ({'; '.join(names)})" if names is not below else "")
        for kind, names in kinds.items()
        if names
    )
