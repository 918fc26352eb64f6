"""Several runs as one: a folder like that of a run, whose network averages their probabilities.

(Lakshminarayanan et al., NeurIPS 2017.) The members' networks are averaged before calibration: the
mean of calibrated probabilities is less confident than they are, so each member's own map is left
out, and that of the ensemble is chosen by what the average does on subjects left out.
"""

import hashlib
import json
import math
import os
import pathlib

import keras
from keras import ops

from bwcr_tf import unet
from bwcr_tf.evaluation import calibration_record
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import checkpoints, flag_roles, run_folder, training_data

_RECORD = "members.json"  # digests of the members' networks


def find(run_dirs):
    """The folder of one run, or of the ensemble of several that commas separate.

    An ensemble's is made on first use: <runs_dir>/<dataset>/ntr<N>/<method>x<K>/run1, beside its
    first member.

    Raises:
      DataError: the runs differ in more than method, seed and subjects, or are not trained to
        their end; or the folder is of others.
    """
    if pathlib.Path(run_dirs).is_dir() or "," not in run_dirs:  # its own path may have commas
        return pathlib.Path(run_dirs)
    folders = [pathlib.Path(part) for part in run_dirs.split(",")]
    specs = [run_folder.load_spec(folder) for folder in folders]
    flags = [run_folder.read_flags(folder) for folder in folders]
    check(folders, specs, flags)
    own_flags = shared_flags(folders, flags)
    beside = os.path.normpath(folders[0] / ".." / "..")  # `run1` alone has no such parents
    folder = pathlib.Path(beside, own_flags["method"], "run1")
    run_folder.claim(folder, own_flags, join(specs))
    write_network(folder, folders)
    if all(data := [training_data.read(member_folder) for member_folder in folders]):
        training_data.write(folder, training_data.join(data))
    return folder


def is_new(folder):
    """Whether a folder is that of an ensemble that is not calibrated yet."""
    return (folder / _RECORD).exists() and not calibration_record.finished(folder)


def check(folders, specs, flags):
    """Raises DataError unless the runs can be members of one ensemble."""
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise DataError(f"{folders[0]}: a member is there twice; expected different runs")
    for folder, spec, found in zip(folders, specs, flags, strict=True):
        calibration_record.load(folder, spec.settings.num_classes)  # trained to the end
        for what in ("classes", "settings", "channels", "test"):
            one, other = getattr(spec, what), getattr(specs[0], what)
            if one != other:
                if what == "settings":
                    what, one, other = _first_difference(one, other)
                what = {"test": "test subjects"}.get(what, what)
                raise DataError(f"{folder}: {what} {one}; expected {other}, of {folders[0]}")
        one, other = (flag_roles.protocol(each) for each in (found, flags[0]))
        for name in sorted((one.keys() | other.keys()) - {"seed"}):
            if one.get(name) != other.get(name):
                raise DataError(
                    f"{folder}: made with --{name}={one.get(name)}; expected "
                    f"{other.get(name)}, of {folders[0]}"
                )


def _first_difference(settings, expected):
    """The first field of two Settings that differs, in words, and both values."""
    found, wanted = vars(settings), vars(expected)
    name = next(name for name in found if found[name] != wanted[name])
    why = " (of CT, by the training subjects: such runs have no ensemble)" * (name == "windows")
    return f"preprocessing {name}{why}", found[name], wanted[name]


def join(specs):
    """The RunSpec of an ensemble: whoever trained a member, trained it.

    Validation subjects are those of any member on whom none was trained, and calibration subjects
    those on whom none was validated either.
    """
    first = specs[0]
    training, validation, calibration = (
        dict.fromkeys(name for spec in specs for name in getattr(spec, part))
        for part in ("training", "validation", "calibration")
    )
    validation = [name for name in validation if name not in training]
    seen = {*training, *validation}
    return run_folder.RunSpec(
        first.dataset,
        first.classes,
        first.settings,
        tuple(training),
        tuple(validation),
        first.test,
        tuple(name for name in calibration if name not in seen),
        first.channels,
    )


def shared_flags(folders, flags):
    """flags.txt of an ensemble: what its members have in common, and who they are."""
    first = flags[0]
    same = {k: v for k, v in first.items() if all(found.get(k) == v for found in flags)}
    methods = list(dict.fromkeys(found["method"] for found in flags))
    names = [f"{found['method']}/run{found['run']}" for found in flags]
    return same | {
        "cache_dir": first["cache_dir"],
        "data_dir": run_folder.data_dir(first),
        "method": f"{'+'.join(methods)}x{len(folders)}",
        "run": "1",
        "members": ",".join(names),
    }


def write_network(folder, folders):
    """Writes best.keras of an ensemble, once.

    Raises:
      DataError: a member's network is another one than when it was written.
    """
    paths = [path / "best.keras" for path in folders]
    networks = [checkpoints.load_best(path) for path in folders]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    record = folder / _RECORD
    if record.exists():
        if json.loads(record.read_text("utf-8")) != digests:
            raise DataError(f"{folder}: of other networks than {paths[0]} and so on; delete it")
        return
    with files.atomic_path(folder / "best.keras") as temporary:
        unet.save(average(networks), temporary)
    files.write_json(record, digests)


def average(networks):
    """A network whose logits are the log of the mean probability of networks of one grid."""
    image = keras.Input(networks[0].input_shape[1:], name="image")
    logs = [ops.log_softmax(member(n, image, i)) for i, n in enumerate(networks, start=1)]
    total = ops.logsumexp(ops.stack(logs), axis=0)
    return keras.Model(image, total - math.log(len(networks)), name="ensemble")


def member(network, image, number):
    """The logits of a copy of a network, whose layers' names have its number in them."""

    def clone(layer):
        config = layer.get_config() | {"name": f"member{number}_{layer.name}"}
        return type(layer).from_config(config)

    copy = keras.models.clone_model(network, input_tensors=image, clone_function=clone)
    copy.set_weights(network.get_weights())
    return copy.output
