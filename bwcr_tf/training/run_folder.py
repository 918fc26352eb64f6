"""The folder of a run: what is in it, and that it stays the folder of one set of flags."""

import dataclasses
import hashlib
import json
import pathlib

from bwcr_tf.data import datasets, preprocess
from bwcr_tf.system import files
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import flag_roles


@dataclasses.dataclass(frozen=True)
class RunSpec:
    """split.json: who is trained on, and everything that evaluation has to know."""

    dataset: str
    classes: tuple[str, ...]
    settings: preprocess.Settings
    training: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    calibration: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()  # () in runs of earlier versions: one, whatever it is called

    @property
    def hash(self):
        """Short digest of the data set's name and the lists of subjects."""
        lists = [self.dataset, self.training, self.validation, self.test]
        text = json.dumps(lists + [self.calibration] * bool(self.calibration))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def calibration_part(self):
        """The part of the split that probabilities are calibrated on."""
        return "calibration" if self.calibration else "validation"

    def subjects(self, part, directory):
        """The subjects.Subject records of `part` ("test", say) in a data folder.

        Raises:
          DataError: one of them is not there, or the classes or channels are others.
        """
        collection = datasets.find(self.dataset, directory)
        for what in ("classes", "channels"):
            found, expected = getattr(collection, what), getattr(self, what)
            if found != (expected or found[:1]):
                found, expected = map(", ".join, (found, expected or ["one"]))
                raise DataError(f"{directory}: {what} {found}; expected {expected}, the run's")
        found = {subject.name: subject for subject in collection.pool + collection.test}
        missing = [name for name in getattr(self, part) if name not in found]
        if missing:
            raise DataError(
                f"{directory}: {part} subject {missing[0]} of the split is not here"
            )
        return [found[name] for name in getattr(self, part)]


def path(runs_dir, dataset, ntr, method, number):
    """The folder of a run: <runs_dir>/<dataset>/ntr<N>/<method>/run<k>."""
    return pathlib.Path(runs_dir, dataset, f"ntr{ntr}", method, f"run{number}")


def claim(folder, flags, spec):
    """Makes the folder of a run, or checks that it was made with the same flags and split.

    Args:
      flags: dict of flag names to values, kept as flags.txt, which `--flagfile` reads. Of a run
        that was there, it is given the places of data and cache, which may be others now.

    Raises:
      DataError: the folder belongs to other flags or another split, and stays as it is; the
        first difference is named. Or its path is one of `_make`'s.
    """
    _make(folder)
    found = load_spec(folder) if (folder / "split.json").exists() else None
    new, old = {name: str(value) for name, value in flags.items()}, {}
    if (folder / "flags.txt").exists():
        old = read_flags(folder)
        flag_roles.compare(folder, old, new, found, spec)
    if found not in (None, spec, dataclasses.replace(spec, channels=())):
        raise DataError(f"{folder}: split.json differs from the split of the data found now")
    if (kept := flag_roles.at_places(old, new) if old else new) != old:
        lines = (f"--{name}={value}\n" for name, value in sorted(kept.items()))
        files.write(folder / "flags.txt", "".join(lines))
    if not found:
        split = dataclasses.asdict(spec) | {"hash": spec.hash}
        if not spec.calibration:  # as in runs of earlier versions
            del split["calibration"]
        split["digest"] = digest(split, flag_roles.training_flags(read_flags(folder)))
        files.write_json(folder / "split.json", split)


def _make(folder):
    """Makes the folder of a run.

    Raises:
      DataError: its path has characters by which TensorFlow writes files, but does not find them
        again.
    """
    if set("[\\") & set(folder.as_posix()):
        raise DataError(f"{folder}: expected a path without [ and \\, where TensorFlow reads")
    folder.mkdir(parents=True, exist_ok=True)


def lock(folder):
    """Keeps other processes from claiming and training the run of `folder` while a block runs.

    Raises:
      DataError: one is training it now, or its path is one of `_make`'s.
    """
    _make(folder)
    return files.lock(folder / "lock", f"{folder}: another process is training this run")


def digest(*content):
    """SHA-256 of what JSON makes of `content`, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_flags(folder):
    """flags.txt as a dict of texts.

    Raises:
      DataError: there is none, it is cut short, or a line is not --name=value.
    """
    file = pathlib.Path(folder) / "flags.txt"
    try:
        text = file.read_text("utf-8")
        if not text.endswith("\n"):
            raise ValueError("cut short")
        return dict(line[2:].split("=", 1) for line in text[:-1].split("\n"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not a run's flags (--name=value lines expected)") from error


def data_dir(flags):
    """Folder of a run's data set."""
    return flags.get("data_dir") or f"data/{flags['dataset']}"


def load_spec(folder):
    """The RunSpec in split.json.

    Raises:
      DataError: there is none, or it or flags.txt was changed.
    """
    file = pathlib.Path(folder) / "split.json"
    try:
        fields = json.loads(file.read_text("utf-8"))
        expected = fields.pop("digest", None)  # a run of an earlier version has none
        found = digest(fields, flag_roles.training_flags(read_flags(folder)))
        expected_hash = fields.pop("hash")
        settings = preprocess.Settings(**fields.pop("settings"))
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
        spec = RunSpec(settings=settings, **fields)
    except DataError:
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: not the split of a run; was the run started?") from error
    if spec.hash != expected_hash or expected not in (None, found):
        raise DataError(f"{file}: it or flags.txt was changed after the run was started")
    return spec
