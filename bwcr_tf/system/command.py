"""How every command ends: in one line where it cannot continue."""

import contextlib
import errno
import math
import os
import signal
import sys

from absl import app, flags, logging

from bwcr_tf.system.errors import DataError


def run(main, again="the same command resumes", parse=None):
    """app.run(main), whose foreseen errors become one line and an exit code that is not 0.

    Args:
      again: what a user does after Ctrl-C.
      parse: argv -> the arguments of `main`, where some may be other than flags.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: helpers end, too

    logging.set_verbosity(logging.WARNING)
    for name in ("stdout", "stderr"):
        _prepare(name)
    with errors_in_one_line(again):
        _check_encoding(sys.argv)
        app.run(main, flags_parser=parse or _parse_flags)


def _prepare(name):
    """Makes a stream of `sys` take any letter, or nothing where it is closed, as of a service."""
    stream = getattr(sys, name)
    if stream is None:
        setattr(sys, name, open(os.devnull, "w"))
    elif hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")  # a log of Windows may not be in UTF-8


def _check_encoding(arguments):
    """Raises flags.Error for an argument of bytes that are not UTF-8: files keep it as text."""
    for text in arguments:
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise flags.Error(f"{text!a}: expected a name in UTF-8")


@contextlib.contextmanager
def errors_in_one_line(again="run it again"):
    """Ends the process with one line, and not with 0, where the block meets a foreseen error."""
    try:
        yield
    except (DataError, flags.Error) as error:
        line = " ".join(str(error).split())  # a file's name may have a line break
        sys.exit(f"error: {line}")
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; {again}")
    except BrokenPipeError:  # `| head`, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(f"stopped: its output is no longer read; {again}")
    except Exception as error:
        if out_of_space(error):
            sys.exit(f"error: the disk is full ({one_line(error)}); {again} once there is room")
        if not isinstance(error, OSError) or not error.filename:
            raise
        sys.exit(f"error: {error.filename}: {error.strerror}")


def _parse_flags(arguments):
    rest = flags.FLAGS(arguments)
    if rest[1:]:
        raise flags.Error(f"{rest[1]}: not a flag; expected --name=value")
    for name, value in flags.FLAGS.flag_values_dict().items():
        if isinstance(value, float) and not math.isfinite(
            value
        ):  # absl lets nan pass its bounds
            raise flags.Error(f"flag --{name}={value}: expected a number")
    return rest


def out_of_space(error):
    """Whether `error`, Python's or TensorFlow's, says that a file could not grow."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return getattr(error, "errno", None) in codes or "No space left" in str(error)


def one_line(error):
    """The last line of an error's message, or its type."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
