"""A run from its data to its trained network: find the data, build the trainer, fit."""

import dataclasses
import pathlib
import signal

import keras
import numpy as np
import tensorflow as tf

from bwcr_tf import pipeline
from bwcr_tf.data import cache, channels, coverage, datasets, normalization, preprocess, splits
from bwcr_tf.data.settings import parse_size
from bwcr_tf.evaluation import calibration_record
from bwcr_tf.methods import METHODS
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import build, checkpoints, labels, run_folder, training_data
from bwcr_tf.training.monitor import Monitor
from bwcr_tf.training.selection import NotFinite, Selection


def find_data(options, directory):
    """The run_folder.RunSpec of a run and its subjects by part; writes the phantom if asked for.

    Args:
      options: namespace of the flags of `python -m bwcr_tf.training`.

    Raises:
      DataError: there are no data, or the grid's size cannot be pooled.
    """
    size = options.size and parse_size(options.size)
    directory = pathlib.Path(directory)
    if options.dataset == "phantom":
        phantom.write(directory)
    collection = datasets.find(options.dataset, directory)
    counts = options.ntr, options.run, options.num_calibration or 0
    split = splits.split(options.dataset, collection, *counts)
    grid = size, options.pixel_mm, options.n4_shrink
    settings = preprocess.propose(collection, datasets.DATASETS[options.dataset], *grid)
    volumes = [volume for subject in split.training for volume in subject.volumes]
    windows = channels.windows(collection.channels, volumes, collection.num_classes)
    settings = dataclasses.replace(settings, windows=windows)
    found, parts = (options.dataset, collection.classes, settings), split.names()
    spec = run_folder.RunSpec(*found, channels=collection.channels, **parts)
    return spec, {part: getattr(split, part) for part in parts}


def train(folder, spec, subjects, options, flags):
    """Trains the run in `folder` from where it stands to its last step.

    Args:
      flags: dict of what sets runs apart, for TensorBoard.

    Returns:
      The best validation Dice.

    Raises:
      DataError: the grid cuts off over 5 % of the labels; or the run was trained to its end, and
        its checkpoints are gone.
    """
    refuse_without_checkpoints(folder)
    if not options.jit:  # Keras compiles nothing while it is on, whatever it is asked for
        tf.config.experimental.enable_op_determinism()
    cases = prepare(spec, subjects, options)
    described = training_data.describe(cases["training"], spec.settings.num_classes)
    training_data.write(folder, training_data.with_version(folder, described))
    keras.utils.set_random_seed(build.seed(options))
    trainer = build.trainer(spec.settings, options)
    network = build.network(spec.settings, options.width)  # for the averages
    monitor = Monitor(folder, flags, spec.classes)
    how = cases["validation"], folder, options.eval_every, options.steps, monitor.report
    selection = Selection(trainer, network, *how)
    start = selection.restore()
    describe(folder, spec, cases, start, options)
    if start < options.steps:
        monitor.begin(start, options.steps)
        fit(trainer, selection, monitor, cases.pop("training"), start, options)
    return float(selection.best)


def refuse_without_checkpoints(folder):
    """Raises DataError for a run that was trained to its end, and whose checkpoints are gone."""
    if calibration_record.finished(folder) and not checkpoints.paths(folder / "checkpoints"):
        raise DataError(
            f"{folder}: trained to its end, but its checkpoints are gone; evaluate.py and "
            "bwcr_tf.export need none. Delete the run to train it again"
        )


def prepare(spec, subjects, options):
    """{part: its preprocess.Cases}, with the annotators that count; of the test subjects, none.

    Raises:
      DataError: the grid cuts off over 5 % of the labels.
    """
    cases = {
        part: cache.prepare(subjects[part], spec.settings, options.cache_dir)
        for part in ("training", "validation", "calibration")
    }
    coverage.check([case for some in cases.values() for case in some], spec.settings, True)
    which = options.labels or "first"
    return {part: labels.select_annotators(some, which) for part, some in cases.items()}


def fit(trainer, selection, monitor, cases, start, options):
    """Trains from step `start` to the last one; Ctrl-C and SIGTERM leave a checkpoint behind."""
    names = np.repeat([case.name for case in cases], [len(case.image) for case in cases])
    num_classes = trainer.network.output_shape[-1]
    steps = {"batch_size": options.batch_size, "start": start, "steps": options.steps}
    how = {"seed": build.seed(options), "parallel": options.jit}
    slices = labels.slices(cases, options.labels or "first", num_classes)
    del cases[:]  # once is enough in memory
    batches = pipeline.batches(slices, num_classes, trainer.method, **steps, **how)
    del slices  # of which it has a copy
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, selection.stop)
    try:
        trainer.steps_per_execution = build.steps_per_call(start, options)
        trainer.fit(batches, callbacks=[selection, monitor], verbose=0, shuffle=False)
    except NotFinite as error:
        rows = options.batch_size, len(names), build.seed(options)
        last = range(error.step - trainer.steps_per_execution, error.step)
        scans = np.unique([names[pipeline.slice_indices(step, *rows)] for step in last])
        whose = "its batch is" if len(last) == 1 else f"the last {len(last)} batches are"
        raise DataError(
            f"{error}; {whose} of {', '.join(scans)}; the last good "
            f"checkpoint is {(error.found or ['none'])[0]}. Look at these scans, or delete the "
            "run and train with a lower --learning_rate"
        ) from error
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def describe(folder, spec, cases, start, options):
    """Prints what is about to be trained, on what."""
    devices = tf.config.list_physical_devices("GPU")
    device = (
        tf.config.experimental.get_device_details(devices[0])["device_name"]
        if devices
        else "CPU"
    )
    grid, views = spec.settings, METHODS[options.method].num_views
    print(f"data        {spec.dataset}, classes {', '.join(spec.classes)}, split {spec.hash}")
    if grid.windows != (None,):
        print(f"channels    {normalization.in_words(spec.channels, grid)}")
    for part, found in cases.items():
        if not found:
            continue
        count = sum(len(case.image) for case in found)
        print(f"{part:12}{len(getattr(spec, part))} subjects, {count} slices")
    print(f"test        {len(spec.test)} subjects")
    print("grid        {} x {} at {:g} mm".format(*grid.shape, grid.pixel_mm))
    print(f"method      {options.method}, {views} view(s), on {device}")
    print(f"steps       {options.steps}, {start} done before; run folder {folder}", flush=True)
