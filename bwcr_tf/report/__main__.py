"""Tables, tests and figures of runs: python -m bwcr_tf.report --runs_dir=results --output=report

Reads scores.csv, summary.json, flags.txt and split.json of each run, and writes report.html, one
file that opens without a network, report.md and figures/. TensorFlow is needed for Fig. 4 alone,
which is drawn where the networks of runs on the phantom are at hand.
"""

import pathlib
from functools import partial

from absl import flags

from bwcr_tf.report import (
    cells,
    conventions,
    illustrations,
    page,
    scored_runs,
    supplementary_tables,
    tables,
)
from bwcr_tf.system import command, files

FLAGS = flags.FLAGS


def make_blocks(found, root, folder):
    """The whole page: headings and paragraphs as Markdown, Tables and Figures."""
    blocks = ["# Boundary-weighted logit consistency: results"]
    blocks += [f"{len(found)} runs. Differences are in points, with 95 % bootstrap intervals."]
    blocks += [*verdicts(found), tables.settings_table(found)]
    for dataset, some in scored_runs.group(found, "dataset").items():
        blocks += dataset_blocks(dataset, some, folder)
    blocks += ["## The method", illustrations.landscapes(folder), illustrations.weights(folder)]
    blocks += illustrations.confidence(folder, found, root)
    return blocks + (
        [supplementary_tables.conventions_table()] if conventions.GOLDEN.exists() else []
    )


def verdicts(found):
    """Does BWCR help? A line for each data set and N_tr."""
    plain = [run for run in found if run.scale == 1]
    for setting, some in scored_runs.group(plain, "setting").items():
        methods = scored_runs.group(some, "label")
        if methods.keys() >= {"DA", "BWCR"}:
            against = scored_runs.differences(methods["BWCR"], methods["DA"])
            parts = [f"{metric} {cells.interval(values)}" for metric, values in against.items()]
            yield f"**{setting}.** BWCR minus DA: {'; '.join(parts)}."


def dataset_blocks(dataset, found, folder):
    """The tables and figures of one data set."""
    plain = [run for run in found if run.scale == 1]
    blocks = [f"## {dataset}"]
    if plain:
        blocks.append(tables.main_table(dataset, plain))
        blocks += illustrations.improvement(folder, dataset, plain)
    for some in scored_runs.group(found, "ntr").values():
        if any(run.scale != 1 for run in some):
            blocks.append(tables.sweep_table(some))
    for setting, some in scored_runs.group(plain, "setting").items():
        blocks += [f"### {setting}"]
        blocks += setting_blocks(setting, scored_runs.group(some, "label"), folder)
    return [*blocks, supplementary_tables.further_table(dataset, plain)]


def setting_blocks(setting, methods, folder):
    """The blocks of one data set and N_tr, each of those {method: Runs} whose runs all have it."""
    blocks = test_tables(setting, methods)
    for key, make in (
        ("calibrated", supplementary_tables.temperature_table),
        ("last", supplementary_tables.selection_table),
        ("reliability", partial(illustrations.reliability, folder)),
        ("distance", partial(illustrations.by_distance, folder)),
        ("leakage", supplementary_tables.leakage_table),
        ("truth", supplementary_tables.truth_table),
    ):
        having = {
            name: found
            for name, found in methods.items()
            if all(getattr(run, key, None) or run.summary.get(key) for run in found)
        }
        if having:
            blocks.append(make(setting, having))
    return blocks


def test_tables(setting, methods):
    """BWCR against all others, CR against the rest, and BWCR against all with a temperature."""
    tests = {}
    for title, ours, left_out in (("Tests", "BWCR", ()), ("Tests of CR", "CR", ("BWCR",))):
        tests[title] = {
            f"{ours} − {name}": scored_runs.differences(methods[ours], found)
            for name, found in methods.items()
            if ours in methods and name not in (ours, *left_out)
        }
    tests["Tests against temperature scaling"] = {
        f"BWCR − ({name} with T)": scored_runs.differences(methods["BWCR"], found, "calibrated")
        for name, found in methods.items()
        if "BWCR" in methods and all(run.calibrated for run in found)
    }
    return [tables.test_table(f"{t}, {setting}", rows) for t, rows in tests.items() if rows]


def main(_):
    """Writes the page of all runs and its figures."""
    root, output = pathlib.Path(FLAGS.runs_dir), pathlib.Path(FLAGS.output)
    found = scored_runs.load(root)
    folder = output / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    blocks = make_blocks(found, root, folder)
    files.write(output / "report.md", page.to_markdown(blocks))
    files.write(output / "report.html", page.to_html(blocks))
    print(f"{len(found)} runs; {output}/: report.html, report.md, figures/")


if __name__ == "__main__":  # not on import: other scripts have flags of the same names
    flags.DEFINE_string("runs_dir", "runs", "Folder of scored runs.")
    flags.DEFINE_string("output", "report", "Folder to write to.")
    command.run(main, "run it again")
