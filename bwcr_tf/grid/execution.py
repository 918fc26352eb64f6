"""Runs jobs one after another."""

import shlex
import subprocess

from bwcr_tf.grid.jobs import mistaken
from bwcr_tf.system.progress import Progress


def execute(job):
    """Trains and scores one run; returns what failed, or None."""
    for name, arguments in (("training", job.train), ("evaluation", job.evaluate)):
        process = subprocess.Popen(arguments)
        try:
            code = process.wait()
        except KeyboardInterrupt:  # which the terminal sent to both
            process.wait()
            raise
        except SystemExit:
            process.terminate()
            process.wait()
            raise
        if code:
            return f"{name} ended with {code}"
    return None


def execute_all(jobs):
    """Runs what is not finished; returns {folder: what failed}."""
    remaining = [job for job in jobs if not job.finished]
    failures = mistaken(jobs)
    started, done = sum(job.started for job in remaining), len(jobs) - len(remaining)
    print(f"{len(jobs)} runs: {done} finished, {started} to resume, {len(remaining)} remain")
    progress = Progress("runs", len(jobs), done, seconds=0.0)
    for job in remaining:
        print(f"\n{job.folder}\n{shlex.join(job.train)}", flush=True)
        reason = execute(job)
        if reason:
            failures[job.folder] = reason
        progress.advance(text=f"{len(failures)} failed" if failures else "")
    return failures
