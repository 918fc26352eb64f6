"""Notes below tables: what their numbers are of."""

import math

from bwcr_tf.report import published, run_scores


def runs(rows):
    """What {name: Runs} are the means of, and which names have fewer runs than others."""
    counts = {name: len(found) for name, found in rows.items()}
    return f"Per cent, mean ± sd over volumes and {counted(counts)}{_numbers(rows)}"


def _numbers(rows):
    """Which runs those of {name: Runs} are, where as many are not the same; starts with a space."""
    numbers = {name: tuple(sorted(run.number for run in found)) for name, found in rows.items()}
    if len({*numbers.values()}) == len({*map(len, numbers.values())}):
        return ""
    listed = (f"{name} {', '.join(some)}" for name, some in numbers.items())
    return f" Runs: {'; '.join(listed)}."


def counted(counts):
    """`3 run(s).` of {name: number of runs}, and which names have fewer than others."""
    most = max(counts.values())
    fewer = ", ".join(f"{name}: {count}" for name, count in counts.items() if count < most)
    return f"{most} run(s)." + (f" Fewer runs: {fewer}." if fewer else "")


def undefined(rows, metrics, kinds=("rows",)):
    """How many values of {name: Runs} are NaN and thus in no mean; starts with a space.

    `kinds` are the tables of a Run that have them: `0 → 2 of 300` of two.
    """
    parts = {}  # {what is said: titles of metrics}
    for metric in metrics:
        counts = {name: _undefined(found, metric.column, kinds) for name, found in rows.items()}
        said = [f"{name} {count}" for name, count in counts.items() if count]
        if len(said) == len(counts) > 1 and len({*counts.values()}) == 1:
            said = [f"each {counts.popitem()[1]}"]
        if said:
            text = f"({metric.undefined}): {', '.join(said)}"
            parts.setdefault(text, []).append(metric.title)
    shown = "; ".join(f"{' and '.join(titles)} {text}" for text, titles in parts.items())
    return f" Undefined, in no mean: {shown}." if shown else ""


def _undefined(found, column, kinds):
    """`2 of 300`: values of Runs that are NaN; empty if none is."""
    values = [run_scores.by_volume(found, column, kind).values() for kind in kinds]
    counts = [sum(map(math.isnan, some)) for some in values]
    return f"{' → '.join(map(str, counts))} of {max(map(len, values))}" if any(counts) else ""


def paper(found):
    """How to read the paper's numbers beside those of `found`; starts with a space."""
    theirs = published.SETTINGS["steps"], published.SETTINGS["size"]
    ours = {(run.flags["steps"], str(run.spec.settings.size)) for run in found}
    note = " In parentheses: the paper's."
    if ours != {theirs}:
        note += f" Its setting differs ({int(theirs[0]):,} steps at {theirs[1]} pixels; "
        note += "see Settings): compare rankings and differences, not absolute values."
    return note
