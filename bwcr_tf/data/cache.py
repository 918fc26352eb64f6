"""Preprocessed volumes, made in parallel and kept on disk."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import pathlib
import zipfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from bwcr_tf.data import grids, preprocess, shifts
from bwcr_tf.system import errors, files
from bwcr_tf.system.errors import DataError
from bwcr_tf.system.progress import Progress

_FORMAT = 8  # of a cached case; raise it when scans are read or refused otherwise
_DAMAGE = OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile


def prepare(subjects, settings, cache_dir, workers=None, shift=None):
    """Cases of all volumes of `subjects`, from the cache or made in parallel processes.

    A cached case is found by the content of its files and the settings, is written whole or not
    at all, and is made again where it cannot be read.

    Args:
      shift: name and severity of one of `shifts`, or None.

    Raises:
      DataError: of the first volume that cannot be used.
    """
    cache_dir = pathlib.Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    how = settings, shift
    jobs = [
        (subject.name, volume, *how, cache_dir / f"{_key(volume, *how)}.npz")
        for subject in subjects
        for volume in subject.volumes
    ]
    cases = {job[-1]: load_case(job[-1]) for job in jobs}
    _make_missing([job for job in jobs if cases[job[-1]] is None], cases, workers)
    cases = [
        dataclasses.replace(cases[path], subject=subject, name=volume.name)
        for subject, volume, *_, path in jobs
    ]
    _check_planes(cases, settings)
    return cases


def _make_missing(jobs, cases, workers):
    """Adds what the `_prepare_one` of each of `jobs` makes, in parallel processes, to `cases`."""
    if not jobs:
        return
    progress = Progress("preprocessing volumes", len(jobs))
    context = multiprocessing.get_context("spawn")  # a fork after TensorFlow may hang
    with ProcessPoolExecutor(workers or _cores(), mp_context=context) as pool:
        futures = {pool.submit(_prepare_one, *job): job[-1] for job in jobs}
        try:
            for future in as_completed(futures):
                future.result()
                cases[futures[future]] = load_case(futures[future])
                progress.advance()
        except BrokenProcessPool as error:
            raise DataError(
                "preprocessing volumes: a process was killed, perhaps for lack of memory; the same "
                "command continues with what is not in the cache"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _cores():
    """The processor cores that this process may use; at most 61, which Windows can wait for."""
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return min(len(affinity(0)), 61)


def _check_planes(cases, settings):
    """Warns of cases of which the slices seem to be cut in another plane than the model's."""
    found = [case.name for case in cases if grids.cut_across(case.original_grid, settings)]
    if found:
        errors.warn(
            f"{len(found)} of {len(cases)} volumes seem to be sliced in another plane "
            f"than the model's, {settings.orientation}: {', '.join(found[:5])}"
            f"{', ...' if found[5:] else ''}; leave them out, or resample them to one plane"
        )


def _key(volume, settings, shift=None):
    made_by = [_FORMAT, preprocess.VERSION, dataclasses.asdict(settings)]
    made_by += ["ignore"] * volume.ignore
    if shift:  # what it draws depends on the scan's name
        made_by += [*shift, shifts.SHIFTS[shift[0]].values[shift[1] - 1], volume.name]
    digest = hashlib.sha256(json.dumps(made_by).encode())
    for file in volume.files:
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()[:32]


def _prepare_one(subject, volume, settings, shift, path):
    save_case(preprocess.preprocess(volume, settings, subject, shift), path)


def save_case(case, path):
    """Writes a case as the .npz `path`."""
    arrays = {
        name: json.dumps(dataclasses.astuple(value)) if isinstance(value, grids.Grid) else value
        for name, value in vars(case).items()
        if value is not None
    }
    with files.atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def load_case(path):
    """The case that `path` holds, or None if it is not there or not whole."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        for name in {"grid", "original_grid", "plane_grid"} & arrays.keys():
            arrays[name] = grids.Grid(*map(tuple, json.loads(str(arrays[name]))))
        return preprocess.Case(**arrays | {k: str(arrays[k]) for k in ("name", "subject")})
    except _DAMAGE:
        return None
