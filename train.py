"""Trains one method on one data set: python train.py --method=bwcr --dataset=acdc --ntr=10."""

import os
import pathlib
import signal
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported

import keras
import numpy as np
import tensorflow as tf
from absl import flags, logging

from bwcr_tf import pipeline, unet
from bwcr_tf.data import cache, datasets, preprocess, splits
from bwcr_tf.evaluation import temperature
from bwcr_tf.export import saved_model
from bwcr_tf.methods import METHODS
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.system import command
from bwcr_tf.system.errors import DataError
from bwcr_tf.trainer import Trainer
from bwcr_tf.training import run_folder
from bwcr_tf.training.monitor import Monitor
from bwcr_tf.training.selection import NotFinite, Selection

flags.DEFINE_enum("method", "bwcr", list(METHODS), "Row of methods.METHODS to train.")
flags.DEFINE_enum("dataset", "phantom", list(datasets.DATASETS), "Data set.")
flags.DEFINE_string("data_dir", None, "Folder of the data set. [data/<dataset>]")
flags.DEFINE_integer("ntr", 10, "Training subjects, N_tr of the paper.", lower_bound=1)
flags.DEFINE_integer("run", 1, "Which draw of training and validation subjects.", 1, 10**6)
flags.DEFINE_string("runs_dir", "runs", "Folder of all runs.")
flags.DEFINE_string("cache_dir", "cache", "Folder of preprocessed volumes.")
flags.DEFINE_integer("steps", 50000, "Training steps.", lower_bound=1)
flags.DEFINE_integer("batch_size", 16, "Images in a batch.", lower_bound=1)
flags.DEFINE_float("learning_rate", 1e-4, "Adam's; it falls linearly to 1e-3 of that.", 0.0)
flags.DEFINE_integer("size", None, "Side of the square grid, pixels. [192, or the data's]", 16)
flags.DEFINE_float(
    "pixel_mm", None, "Pixel spacing of the grid, mm. [the data set's]", 1e-3, 100.0
)
flags.DEFINE_integer("n4_shrink", 4, "In-plane shrink factor in N4; 0: no N4.", lower_bound=0)
flags.DEFINE_integer("width", 16, "Channels of the U-Net's first level.", lower_bound=1)
flags.DEFINE_float("consistency_scale", 1.0, "Factor on lambda(r), for Table 1.", 0.0)
flags.DEFINE_float("radius", 10.0, "R of Eq. (3), pixels of a grid of 192.", lower_bound=1e-3)
flags.DEFINE_bool("mixed_precision", False, "Activations in bfloat16, all else in float32.")
flags.DEFINE_bool("jit", False, "Compile the training step with XLA.")
flags.DEFINE_integer("eval_every", 100, "Steps between validations.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of weights, batches and transforms.", 0, 2**31)
flags.DEFINE_string("temperature", "fit", "Of the export: none, a value, or fit on validation.")
flags.register_validator(
    "temperature", temperature.valid, "expected none, fit or 0.001 to 1000"
)
for name in ("pixel_mm", "learning_rate", "radius", "consistency_scale"):
    flags.register_validator(name, lambda v: v is None or np.isfinite(v), "expected a number")
FLAGS = flags.FLAGS


def main(_):
    """Trains the run that the flags name, or resumes it."""
    if not FLAGS.jit:  # Keras compiles nothing while it is on, whatever it is asked for
        tf.config.experimental.enable_op_determinism()
    logging.set_verbosity(logging.WARNING)
    spec, subjects = find_data()
    folder = folder_of_flags()
    run_folder.claim(folder, run_flags(), spec)
    with run_folder.lock(folder):
        train(folder, spec, subjects)
    print(f"next        python evaluate.py --run_dir={folder}")


def train(folder, spec, subjects):
    """Trains the run in `folder` from where it stands, and exports its network."""
    cases = {
        part: cache.prepare(subjects[part], spec.settings, FLAGS.cache_dir)
        for part in ("training", "validation")
    }

    keras.utils.set_random_seed(seed())
    size, num_classes = spec.settings.size, spec.settings.num_classes
    trainer = build_trainer(size, num_classes)
    network = unet.build_unet(size, num_classes, FLAGS.width)  # for the averages
    monitor = Monitor(folder, run_flags(), spec.classes)
    selection = Selection(
        trainer,
        network,
        cases["validation"],
        folder,
        FLAGS.eval_every,
        FLAGS.steps,
        monitor.report,
    )
    start = selection.restore()
    describe(folder, spec, cases, start)
    if start < FLAGS.steps:
        monitor.begin(start, FLAGS.steps)
        fit(trainer, selection, monitor, cases.pop("training"), start)
    record = saved_model.export_run(folder, FLAGS.temperature, cases["validation"])
    print(f"temperature {record['temperature']:.3f}")
    print(f"best        validation Dice {float(selection.best):.3f}")


def seed():
    """The seed of this run: another one for each draw of subjects."""
    return FLAGS.seed + 1000 * FLAGS.run


def build_trainer(size, num_classes):
    """The compiled Trainer that the flags ask for."""
    dtype = "mixed_bfloat16" if FLAGS.mixed_precision else "float32"
    network = unet.build_unet(size, num_classes, FLAGS.width, dtype)
    trainer = Trainer(
        network, METHODS[FLAGS.method], FLAGS.radius * size / 192, FLAGS.consistency_scale
    )
    rate = keras.optimizers.schedules.PolynomialDecay(
        FLAGS.learning_rate, FLAGS.steps, 1e-3 * FLAGS.learning_rate
    )
    trainer.compile(keras.optimizers.Adam(rate), jit_compile=FLAGS.jit)
    return trainer


def fit(trainer, selection, monitor, cases, start):
    """Trains from step `start` to the last one; Ctrl-C and SIGTERM leave a checkpoint behind."""
    names = np.repeat([case.name for case in cases], [len(case.image) for case in cases])
    batches = pipeline.batches(
        stack(cases),
        trainer.network.output_shape[-1],
        trainer.method,
        FLAGS.batch_size,
        start,
        FLAGS.steps,
        seed(),
    )
    del cases[:]  # once is enough in memory
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, selection.stop)
    try:
        trainer.fit(batches, callbacks=[selection, monitor], verbose=0, shuffle=False)
    except NotFinite as error:
        rows = pipeline.slice_indices(error.step - 1, FLAGS.batch_size, len(names), seed())
        raise DataError(
            f"{error}; its batch is of {', '.join(np.unique(names[rows]))}; the last good "
            f"checkpoint is {(error.found or ['none'])[0]}. Look at these scans, or delete the "
            "run and train with a lower --learning_rate"
        ) from error
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)


def find_data():
    """The runs.RunSpec of this run and its subjects by part; makes the phantom if it is asked for.

    Raises:
      DataError: there are no data, or the grid's size cannot be pooled.
    """
    if FLAGS.size and FLAGS.size % 16:
        raise DataError(f"size={FLAGS.size}: expected a multiple of 16, for four poolings")
    directory = pathlib.Path(run_folder.data_dir(run_flags()))
    if FLAGS.dataset == "phantom":
        phantom.write(directory)
    collection = datasets.find(FLAGS.dataset, directory)
    split = splits.split(FLAGS.dataset, collection, FLAGS.ntr, FLAGS.run)
    settings = preprocess.propose(
        collection,
        datasets.DATASETS[FLAGS.dataset],
        FLAGS.size,
        FLAGS.pixel_mm,
        FLAGS.n4_shrink,
    )
    spec = run_folder.RunSpec(FLAGS.dataset, collection.classes, settings, **split.names())
    return spec, {part: getattr(split, part) for part in split.names()}


def folder_of_flags():
    """The folder of this run: <runs_dir>/<dataset>/ntr<N>/<method>/run<k>."""
    return pathlib.Path(
        FLAGS.runs_dir, FLAGS.dataset, f"ntr{FLAGS.ntr}", FLAGS.method, f"run{FLAGS.run}"
    )


def run_flags():
    """This script's flags that are set, as a dict."""
    found = {
        flag.name: flag.value for flag in FLAGS.get_key_flags_for_module(sys.modules[__name__])
    }
    return {name: value for name, value in found.items() if value is not None}


def stack(cases):
    """All slices of the training volumes, as `pipeline.batches` takes them."""
    fields = {"images": "image", "label_maps": "label_map", "distance": "distance"}
    slices = {
        name: np.concatenate([getattr(case, field) for case in cases])
        for name, field in fields.items()
    }
    return slices | {"images": slices["images"][..., None]}


def describe(folder, spec, cases, start):
    """Prints what is about to happen."""
    devices = tf.config.list_physical_devices("GPU")
    device = (
        tf.config.experimental.get_device_details(devices[0])["device_name"]
        if devices
        else "CPU"
    )
    slices = {part: sum(len(case.image) for case in found) for part, found in cases.items()}
    print(f"data        {spec.dataset}, classes {', '.join(spec.classes)}, split {spec.hash}")
    for part, count in slices.items():
        print(f"{part:12}{len(getattr(spec, part))} subjects, {count} slices")
    print(f"test        {len(spec.test)} subjects")
    print(
        f"grid        {spec.settings.size} x {spec.settings.size} at {spec.settings.pixel_mm:g} mm"
    )
    print(f"method      {FLAGS.method}, {METHODS[FLAGS.method].num_views} view(s), on {device}")
    print(f"steps       {FLAGS.steps}, {start} done before; run folder {folder}", flush=True)


if __name__ == "__main__":
    command.run(main)
