"""Files that are whole or not there."""

import contextlib
import csv
import io
import json
import os
import secrets

from bwcr_tf.system.errors import DataError

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

    fcntl = None
_BUSY = BlockingIOError if fcntl else PermissionError


def temporary_path(path):
    """A path beside the pathlib.Path `path`, another one each time.

    Processes that share a folder may have one process number: each is 1 in its container.
    """
    return path.with_name(f"{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")


@contextlib.contextmanager
def atomic_path(path):
    """A path beside the pathlib.Path `path` to write to; renamed to it if the block succeeds."""
    temporary = temporary_path(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(path, busy):
    """Keeps other processes out of such a block, by a lock on a file `path`, which stays.

    Raises:
      DataError: another process is in it now; `busy` is the message.
    """
    with open(path, "w") as file:
        try:
            if fcntl:  # the lock of a killed process is gone with it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except _BUSY as error:
            raise DataError(busy) from error
        except OSError:
            pass  # a file system without locks
        yield


def content(path):
    """The bytes of a file, or None where there is none."""
    return path.read_bytes() if path.exists() else None


def write(path, content):
    """Writes a file of text (in UTF-8) or bytes."""
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name without content


def write_json(path, value):
    """Writes a file of JSON."""
    write(path, json.dumps(value, indent=1) + "\n")


def read_csv(path):
    """csv.DictReader of a file in UTF-8, of which a quoted cell may hold any character."""
    text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write the mark
    return csv.DictReader(io.StringIO(text, newline=""))


def write_csv(path, columns, rows, form):
    """Writes a table of dicts: floats in a form such as `.6f`, a cell that its row lacks empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        cells = {k: f"{v:{form}}" if isinstance(v, float) else v for k, v in row.items()}
        writer.writerow(cells)
    write(path, text.getvalue())
