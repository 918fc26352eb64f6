"""Trains one method on one data set: python train.py --method=bwcr --dataset=acdc --ntr=10."""

import shlex
import sys
import types

from absl import flags

from bwcr_tf.system import command, errors, quiet, source

FLAGS = flags.FLAGS


def define_flags():
    """The flags of a run: names and defaults of the paper."""
    methods = source.table_keys("bwcr_tf.methods", "METHODS")
    datasets = source.table_keys("bwcr_tf.data.datasets", "DATASETS")
    labels = source.table_keys("bwcr_tf.training.labels", "LABELS")
    maps = ["auto", "none", *source.table_keys("bwcr_tf.evaluation.calibration", "PARAMETERS")]
    # fmt: off
    flags.DEFINE_enum("method", "bwcr", methods, "Row of methods.METHODS to train.")
    flags.DEFINE_enum("dataset", "phantom", datasets, "Data set.")
    flags.DEFINE_enum("labels", None, labels, "Annotator 1, one drawn a step, or the mean. [first]")
    flags.DEFINE_string("data_dir", None, "Folder of the data set. [data/<dataset>]")
    flags.DEFINE_integer("ntr", 10, "Training subjects, N_tr of the paper.", lower_bound=1)
    flags.DEFINE_integer("run", 1, "Which draw of training and validation subjects.", 1, 10**6)
    flags.DEFINE_string("runs_dir", "runs", "Folder of all runs.")
    flags.DEFINE_string("cache_dir", "cache", "Folder of preprocessed volumes.")
    flags.DEFINE_integer("steps", 50000, "Training steps.", lower_bound=1)
    flags.DEFINE_integer("batch_size", 16, "Images in a batch.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 1e-4, "Adam's; it falls linearly to 1e-3 of that.", 0.0)
    flags.DEFINE_string("size", None, "Grid: rows,columns, or a square's side. [the data set's]")
    flags.DEFINE_float("pixel_mm", None, "Pixel spacing, mm. [the data set's]", 1e-3, 100.0)
    flags.DEFINE_integer("n4_shrink", 4, "In-plane shrink factor in N4; 0: no N4.", lower_bound=0)
    flags.DEFINE_integer("width", 16, "Channels of the U-Net's first level.", lower_bound=1)
    flags.DEFINE_float("consistency_scale", 1.0, "Factor on lambda(r), for Table 1.", 0.0)
    flags.DEFINE_float("radius", None, "R of Eq. (3), pixels at 192 x 192. [the method's]", 1e-3)
    flags.DEFINE_bool("mixed_precision", False, "Activations in bfloat16, all else in float32.")
    flags.DEFINE_bool("jit", False, "Compile the training step with XLA.")
    flags.DEFINE_integer("eval_every", 100, "Steps between validations.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of weights, batches and transforms.", 0, 2**31)
    flags.DEFINE_integer("num_calibration", None, "Size of the calibration set. [validation's]", 1)
    flags.DEFINE_enum("calibration", "auto", maps, "Map to export; auto: by the calibration set.")
    flags.DEFINE_float("coverage", 0.9, "Coverage of volumes' intervals; 0: none.", 0.0, 0.999)
    # fmt: on


def run_flags():
    """This command's flags that are set, as a dict."""
    found = FLAGS.get_key_flags_for_module(sys.modules[__name__])
    return {flag.name: flag.value for flag in found if flag.value is not None}


def main(_):
    """Trains the run that the flags name, or resumes it, and exports its network."""
    quiet.import_tensorflow()
    from bwcr_tf.export import calibration_words
    from bwcr_tf.training import build, run, run_folder

    given = run_flags()
    options = types.SimpleNamespace(**FLAGS.flag_values_dict())
    if radius := build.radius(build.find_method(options)):
        given["radius"] = radius
    directory = run_folder.data_dir(given)
    spec, subjects = run.find_data(options, directory)
    folder = run_folder.path(
        options.runs_dir, options.dataset, options.ntr, options.method, options.run
    )
    with run_folder.lock(folder):
        run_folder.claim(folder, given, spec)
        best = run.train(folder, spec, subjects, options, given)
        record = export(folder, spec, directory, options)
    print(f"calibration {record['kind']}. {calibration_words.how(record)}")
    print_best(folder, best)
    print(f"next        python evaluate.py {shlex.quote(f'--run_dir={folder}')}")


def export(folder, spec, directory, options):
    """The calibration record of a trained run, which is exported with the map that flags ask for.

    Where they ask for none, an export that is there stays: bwcr_tf.export may have made it.
    """
    from bwcr_tf.evaluation import calibration_record
    from bwcr_tf.export import calibration_cases, saved_model

    exported = calibration_record.finished(folder) and (folder / "saved_model").is_dir()
    if exported and not (FLAGS["calibration"].present or FLAGS["coverage"].present):
        return calibration_record.load(folder, spec.settings.num_classes)[0]
    cases = calibration_cases.load(folder, spec, directory, options.cache_dir)
    choice = options.calibration, options.coverage
    return saved_model.export_run(folder, *choice, cases, directory)[0]


def print_best(folder, best):
    """Prints the best validation Dice and the step it is of; warns where that is an early one."""
    from bwcr_tf.training import validations

    rows = validations.read(folder / "validation.csv")
    print(f"best        validation Dice {best:.3f}{validations.in_words(rows)}")
    if validations.is_early(rows):
        errors.warn(
            f"{folder}: the weights are of step {validations.selected(rows)}, where validation "
            "Dice was highest: expect unsure probabilities; compare evaluate.py --weights=last, or "
            "take another --run, which has other validation subjects"
        )


if __name__ == "__main__":
    define_flags()
    command.run(main)
