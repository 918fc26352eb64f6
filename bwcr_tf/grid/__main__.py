"""Trains and scores a grid of runs: python -m bwcr_tf.grid --methods=da,bwcr --ntr=5,10.

Runs go one after another, run 1 of all methods first. What is finished is skipped, what was
interrupted is resumed, and a failed run does not stop the others. Flags that are not named here go
to train.py unchanged. For many machines, --print_commands writes one line a run:

    python -m bwcr_tf.grid --methods=da,bwcr --print_commands > jobs.txt
    parallel -j 4 < jobs.txt
"""

import math
import re
import shlex
import signal
import sys

from absl import flags

from bwcr_tf.system import command

FLAGS = flags.FLAGS


def define_flags():
    """Not on import: train.py has flags of the same names, and tests import both."""
    flags.DEFINE_list("methods", [], "Rows of methods.METHODS to train.")
    flags.DEFINE_list("ntr", ["10"], "Numbers of training subjects.")
    flags.DEFINE_list("runs", ["1", "2", "3"], "Draws of training and validation subjects.")
    flags.DEFINE_list(
        "consistency_scales", [], "lambda of `cr` for Table 1, such as 0.01,0.1,1,10."
    )
    flags.register_validator("consistency_scales", numbers, "expected numbers above zero")
    for name in ("ntr", "runs"):
        flags.register_validator(name, whole_numbers, "expected 1,2,3, say")
    flags.DEFINE_string("dataset", "phantom", "Data set, as in train.py.")
    flags.DEFINE_string("runs_dir", "runs", "Folder of all runs.")
    flags.DEFINE_bool("print_commands", False, "Only print what remains, a line for each run.")


def numbers(texts):
    """Whether all texts are numbers above zero: a lambda of zero is DA."""
    try:
        return all(0 < float(text) < math.inf for text in texts)
    except ValueError:
        return False


def whole_numbers(texts):
    """Whether all texts are whole numbers above zero, as a folder of a run has them."""
    return all(re.fullmatch("[1-9][0-9]*", text) for text in texts)


def main(arguments):
    """Runs the jobs of the flags, or prints them; exit code 1 if a run failed."""
    from bwcr_tf.grid.execution import execute_all
    from bwcr_tf.grid.jobs import make_jobs, mistaken, named

    settings = FLAGS.methods, FLAGS.ntr, FLAGS.runs, FLAGS.consistency_scales
    passed_on = named(arguments[1:])
    if taken := {"method", "run"} & passed_on.keys():
        sys.exit(f"error: --{min(taken)} is a flag of train.py; expected --{min(taken)}s here")
    if FLAGS.consistency_scales and "consistency_scale" in passed_on:
        sys.exit("error: --consistency_scale would replace those of --consistency_scales")
    python = "python" if FLAGS.print_commands else sys.executable
    jobs = make_jobs(*settings, FLAGS.dataset, FLAGS.runs_dir, arguments[1:], python)
    if not jobs:
        sys.exit("error: no runs; give --methods=da,bwcr, say, or --consistency_scales=0.1,10")
    if FLAGS.print_commands:
        for job in jobs:
            if not job.finished:
                print(f"{shlex.join(job.train)} && {shlex.join(job.evaluate)}")
        failures = mistaken(jobs)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # and the run with it
        failures = execute_all(jobs)
    for folder, reason in failures.items():
        print(f"failed: {folder}: {reason}", file=sys.stderr)
    sys.exit(1 if failures else 0)


def parse(arguments):
    """Leaves what is unknown, files of flags read in, as the arguments of `main`."""
    FLAGS.set_gnu_getopt(True)
    return FLAGS(arguments, known_only=True)


if __name__ == "__main__":
    define_flags()
    command.run(main, parse=parse)
