"""The preprocessed subjects that a run is calibrated with."""

from bwcr_tf.data import cache
from bwcr_tf.training import labels, run_folder

_TRAINING = 20  # subjects that choose the kind of interval


def load(folder, spec, data_dir=None, cache_dir=None):
    """{part: Cases} of a run, with the annotators that count; of training, the first 20 subjects.

    Args:
      data_dir, cache_dir: folders in place of the run's own.
    """
    flags = run_folder.read_flags(folder)
    directory = data_dir or run_folder.data_dir(flags)
    found = {}
    for part, most in (("training", _TRAINING), ("validation", None), ("calibration", None)):
        subjects = spec.subjects(part, directory)[:most]
        prepared = cache.prepare(subjects, spec.settings, cache_dir or flags["cache_dir"])
        found[part] = labels.select_annotators(prepared, flags.get("labels", "first"))
    return found
