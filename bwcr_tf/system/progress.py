"""A progress line with the time that remains."""

import sys
import time


class Progress:
    """Writes `label  done/total  text  remaining 12:34` to stderr.

    The line is rewritten in place on a terminal, and written anew every `seconds` elsewhere.
    `done` counts what an earlier process did: the estimate comes from this one's pace alone.
    """

    def __init__(self, label, total, done=0, seconds=15.0):
        self.label, self.total, self.done = label, total, done
        self.terminal = sys.stderr.isatty()
        self.interval = 0.2 if self.terminal else seconds
        self.first, self.started, self.shown = done, time.monotonic(), time.monotonic()

    def advance(self, count=1, text=""):
        """Counts `count` more as done and shows it if the line is due."""
        self.done += count
        now = time.monotonic()
        if self.done >= self.total or now - self.shown >= self.interval:
            self.shown = now
            pace = (now - self.started) / max(self.done - self.first, 1)
            if self.done >= self.total:
                clock = f"took {duration(now - self.started)}"
            else:
                clock = f"remaining {duration(pace * (self.total - self.done))}"
            self.write(
                f"{self.label}  {self.done}/{self.total}  {text + '  ' if text else ''}{clock}"
            )

    def write(self, line):
        """Shows `line`, over the last one on a terminal."""
        end = "\n" if not self.terminal or self.done >= self.total else ""
        start = "\r\033[K" if self.terminal else ""
        print(f"{start}{line}", end=end, file=sys.stderr, flush=True)


def duration(seconds):
    """`3:04` or `2:03:04` for a number of seconds."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
