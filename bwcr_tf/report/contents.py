"""What is on the page of a report, in which order: paragraphs, tables and figures of all runs."""

from functools import partial

from bwcr_tf.report import (
    against_annotators,
    curves,
    figures,
    network_figures,
    run_scores,
    scored_runs,
    shift_scores,
    supplementary_tables,
    tables,
    volume_table,
)


def make_blocks(found, root, folder):
    """The whole page: headings and paragraphs as Markdown, Tables and Figures."""
    blocks = ["# Boundary-weighted logit consistency: results"]
    blocks += [f"{len(found)} runs. Differences are in points, with 95 % bootstrap intervals."]
    blocks += [*verdicts(found), *against_annotators.verdicts(found)]
    blocks += [tables.settings_table(found)]
    blocks += against_annotators.make_blocks(found, root, folder)
    for dataset, some in scored_runs.group(found, "dataset").items():
        blocks += dataset_blocks(dataset, some, folder)
    blocks += ["## The method", figures.loss_landscapes(folder), figures.weight_maps(folder)]
    return blocks + network_figures.confidence_maps(folder, found, root)


def verdicts(found):
    """Does BWCR help? A line for each data set and N_tr."""
    plain = [run for run in found if run.scale == 1]
    for setting, some in scored_runs.group(plain, "setting").items():
        methods = scored_runs.group(some, "label")
        if ("BWCR", "DA") in tables.pairs("BWCR", methods):
            against = run_scores.differences(methods["BWCR"], methods["DA"])
            parts = (f"{title} {tables.interval(values)}" for title, values in against.items())
            yield f"**{setting}.** BWCR minus DA: {'; '.join(parts)}."


def dataset_blocks(dataset, found, folder):
    """The tables and figures of one data set."""
    plain = [run for run in found if run.scale == 1]
    blocks = [f"## {dataset}"]
    if plain:
        blocks.append(tables.main_table(dataset, plain))
        blocks += figures.improvement(folder, dataset, plain)
    for some in scored_runs.group(found, "ntr").values():
        if any(run.scale != 1 for run in some):
            blocks.append(tables.sweep_table(some))
    for setting, some in scored_runs.group(plain, "setting").items():
        blocks += [f"### {setting}"]
        blocks += setting_blocks(setting, scored_runs.group(some, "label"), folder)
    return blocks + ([supplementary_tables.further_table(dataset, plain)] if plain else [])


def setting_blocks(setting, methods, folder):
    """The blocks of one data set and N_tr, each of those {method: Runs} whose runs all have it."""
    blocks = test_tables(setting, methods)
    one_class = len(next(iter(methods.values()))[0].spec.classes) == 1
    for key, make in (
        ("calibrated", supplementary_tables.calibration_table),
        ("volumes", volume_table.make),
        ("last", supplementary_tables.selection_table),
        ("validations", partial(curves.by_step, folder)),
        ("reliability", partial(curves.reliability, folder)),
        ("distance", partial(curves.by_distance, folder)),
        ("leakage", supplementary_tables.leakage_table),
        ("truth", supplementary_tables.truth_table),
    ):
        having = {
            name: found
            for name, found in methods.items()
            if all(getattr(run, key, None) or run.summary.get(key) for run in found)
        }
        if having and not (key == "leakage" and one_class):  # there is no other boundary
            blocks.append(make(setting, having))
    return blocks + shift_scores.make_blocks(folder, setting, methods)


def test_tables(setting, methods):
    """BWCR against all others, CR against the rest, and BWCR against all calibrated."""
    pairs = tables.pairs("BWCR", methods)
    own = {"BWCR", *(ours for ours, _ in pairs)}
    last = run_scores.having("last", methods)
    rest = {name: found for name, found in methods.items() if name not in own}
    blocks = tables.test_tables(f", {setting}", "BWCR", methods)
    blocks += tables.test_tables(f" at the last step, {setting}", "BWCR", last, "last")
    blocks += tables.test_tables(f", {setting}", "CR", rest)
    ours_too = pairs + [(name, name) for name in methods if name in own]
    calibrated = {
        f"{ours} − ({name} calibrated)": run_scores.differences(
            methods[ours], methods[name], ("rows", "calibrated")
        )
        for ours, name in sorted(ours_too, key=lambda pair: [*methods].index(pair[1]))
        if all(run.calibrated for run in methods[name])
    }
    title = f"Tests against post-hoc calibration, {setting}"
    return blocks + ([tables.test_table(title, calibrated)] if calibrated else [])
