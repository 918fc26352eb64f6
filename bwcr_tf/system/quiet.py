"""TensorFlow without the start-up log that it writes before anyone can turn it off."""

import contextlib
import os
import re
import sys
import tempfile

# What TensorFlow 2.21 writes, at any log level, on a machine where nothing is wrong: notes (I0000),
# the heading above them, and that there is no driver of a GPU which is not there either (303).
_START_UP = re.compile(
    rb"I0000 |WARNING: All log messages before absl|To enable the following instructions"
    rb"|E0000 .*failed call to cuInit.*\(303\)"
)


def import_tensorflow():
    """Imports TensorFlow and finds its devices; shows what it logs meanwhile beyond the usual."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # from now on: errors only
    with _filtered_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _filtered_stderr():
    """Holds back what the process writes to stderr, C++ included, and then passes on the rest."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not _START_UP.match(line):
                    os.write(2, line)
