"""What is meant for the user: the error that ends a command, and warnings."""

import contextlib
import sys

_listeners = []


class DataError(ValueError):
    """Something in the user's data is not as it must be; the message is one line for the user."""


def warn(text):
    """Tells the user, on stderr, of something that may be wrong but stops nothing."""
    print(f"\nwarning: {text}", file=sys.stderr, flush=True)
    for heard in _listeners:
        heard.append(text)


@contextlib.contextmanager
def warnings_heard():
    """A list, to which every warning is added while the block runs."""
    heard = []
    _listeners.append(heard)
    try:
        yield heard
    finally:
        _listeners.remove(heard)
