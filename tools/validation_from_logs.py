"""Makes validation.csv from TensorBoard logs, for runs of versions that did not write it.

    PYTHONPATH=. python tools/validation_from_logs.py --runs_dir=runs

Rows that a validation.csv has already are kept.
"""

import pathlib

import tensorflow as tf
from absl import flags
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from bwcr_tf.system import command
from bwcr_tf.training import run_folder, validations

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this tool."""
    flags.DEFINE_string("runs_dir", "runs", "Folder of runs.")


def read_logs(folder, names):
    """{step: row} of validations.columns `names` from all logs of a run; a later log wins."""
    rows = {}
    for path in sorted((folder / "logs").glob("events.*"), key=lambda path: path.name):
        events = EventAccumulator(str(path), size_guidance={"tensors": 0}).Reload()
        of_file = {}
        for name in names[1:]:
            tag = f"{'train' if name in validations.TERMS else 'validation'}/{name}"
            for event in events.Tensors(tag) if tag in events.Tags()["tensors"] else ():
                row = of_file.setdefault(event.step, {"step": event.step})
                row[name] = float(tf.make_ndarray(event.tensor_proto))
        rows |= {step: row for step, row in of_file.items() if list(row) == names}
    return rows


def complete(folder):
    """Writes validation.csv of a run with the rows that its logs have and it has not."""
    path = folder / "validation.csv"
    rows = read_logs(folder, validations.columns(run_folder.load_spec(folder).classes))
    rows |= {row["step"]: row for row in validations.read(path)}
    if rows:
        validations.write(path, [rows[step] for step in sorted(rows)])
    print(f"{path}: {len(rows)} validations")


def main(_):
    """Completes the file of each run that has logs."""
    for logs in sorted(pathlib.Path(FLAGS.runs_dir).rglob("logs")):
        complete(logs.parent)


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
