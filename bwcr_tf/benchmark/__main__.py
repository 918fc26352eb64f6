"""How fast each part runs, and how near the machine's limit: python -m bwcr_tf.benchmark.

Everything is timed on synthetic slices and a phantom volume, as the median of repeated calls taken
in turn in one process, so that the ratios hold even where other programs disturb the times. The
start-up (of train.py, on a small phantom) and `memory` are processes of their own.
"""

import pathlib

from absl import flags

from bwcr_tf.system import command, files, quiet, source

FLAGS = flags.FLAGS
SECTIONS = source.table_keys("bwcr_tf.benchmark.sections", "SECTIONS")


def define_flags():
    """The flags of this command."""
    flags.DEFINE_string("size", "192", "Pixels of the grid: rows,columns, or a square's side.")
    flags.DEFINE_integer("batch_size", 16, "Images in a batch.", lower_bound=1)
    flags.DEFINE_integer("width", 16, "Channels of the U-Net's first level.", lower_bound=1)
    flags.DEFINE_integer("repeats", 7, "Timed calls of each part, after one untimed.", 1)
    flags.DEFINE_integer("threads", 0, "Threads of TensorFlow; 0: one per core.", 0)
    flags.DEFINE_bool("mixed_precision", False, "Time the parts and steps in mixed precision.")
    flags.DEFINE_bool("jit", False, "Compile the training step with XLA.")
    flags.DEFINE_list(
        "sections",
        ["training", "volumes", "startup"],
        "Also: input, variants, rectangle, prediction, memory, fit.",
    )
    flags.DEFINE_string("json", None, "File that the numbers are written to as well.")
    flags.register_validator(
        "sections", lambda names: set(names) <= set(SECTIONS), f"expected {', '.join(SECTIONS)}"
    )


def main(_):
    """Prints the sections' tables, one number a line."""
    quiet.import_tensorflow()
    import tensorflow as tf

    from bwcr_tf.benchmark import sections, workloads
    from bwcr_tf.data.settings import Settings, parse_size

    tf.get_logger().setLevel("ERROR")  # it takes the many steps for one that is traced again
    if FLAGS.threads:
        tf.config.threading.set_intra_op_parallelism_threads(FLAGS.threads)
        tf.config.threading.set_inter_op_parallelism_threads(FLAGS.threads)
    setup = workloads.Setup(
        Settings(workloads.NUM_CLASSES, parse_size(FLAGS.size)).shape,
        FLAGS.batch_size,
        FLAGS.width,
        FLAGS.mixed_precision,
        FLAGS.jit,
        FLAGS.repeats,
    )
    table = sections.describe(setup)
    for name in SECTIONS:
        if name in FLAGS.sections:
            table |= sections.SECTIONS[name](setup)
    for name, value in table.items():
        print(f"{name:50} {value if isinstance(value, str) else f'{value:.3g}'}")
    if FLAGS.json:
        files.write_json(pathlib.Path(FLAGS.json), table)


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
