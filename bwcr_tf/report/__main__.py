"""Tables, tests and figures of runs: python -m bwcr_tf.report --runs_dir=results --output=report

Reads scores*.csv, summary.json, flags.txt and split.json of each run, and writes report.html, one
file that opens without a network, report.md and figures/.
"""

import pathlib

from absl import flags

from bwcr_tf.system import command, files, quiet

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this command."""
    flags.DEFINE_string("runs_dir", "runs", "Folder of scored runs.")
    flags.DEFINE_string("output", "report", "Folder to write to.")


def main(_):
    """Writes the page of all runs and its figures."""
    from bwcr_tf.report import page, scored_runs

    root, output = pathlib.Path(FLAGS.runs_dir), pathlib.Path(FLAGS.output)
    found = scored_runs.load(root)  # so that what is wrong with them is said at once
    quiet.import_tensorflow()  # for Fig. 2 and 4
    from bwcr_tf.report import contents

    folder = output / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    blocks = contents.make_blocks(found, root, folder)
    files.write(output / "report.md", page.to_markdown(blocks))
    files.write(output / "report.html", page.to_html(blocks))
    print(f"{len(found)} runs; {output}/: report.html, report.md, figures/")


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
