"""The data sets: where they come from, and how their folders are read."""

import collections
import configparser
import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Callable

from bwcr_tf.data import header_checks, scans
from bwcr_tf.system.errors import DataError


@dataclasses.dataclass(frozen=True)
class Volume:
    """One labelled scan: a file, or a folder that holds one DICOM series."""

    name: str
    image: pathlib.Path
    label: pathlib.Path
    true_probabilities: pathlib.Path | None = None  # which only a phantom knows

    @property
    def files(self):
        """Every file that the volume is made of, in a fixed order."""
        images = scans.dicom_files(self.image) if self.image.is_dir() else [self.image]
        paths = [path for path in (*images, self.label, self.true_probabilities) if path]
        return list(dict.fromkeys(f for p in paths for f in (p, header_checks.data_file(p))))


@dataclasses.dataclass(frozen=True)
class Subject:
    """One patient; `stratum` is what splits are balanced over."""

    name: str
    stratum: str
    volumes: tuple[Volume, ...]


@dataclasses.dataclass(frozen=True)
class Collection:
    """What a folder holds. An empty `test` means that test subjects are drawn from the pool."""

    classes: tuple[str, ...]  # foreground, for labels 1, 2, ...
    pool: tuple[Subject, ...]
    test: tuple[Subject, ...] = ()

    @property
    def num_classes(self):
        """Background included."""
        return len(self.classes) + 1


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A row of the table: the protocol of Sec. 4, and what to tell a user who lacks the data."""

    read: Callable  # directory -> Collection
    pixel_mm: float | None  # None: proposed from the data's own spacings
    num_validation: int
    num_test: int | None  # None: a fifth of the pool; unused where the folders fix it
    source: str
    layout: str


def read_acdc(directory):
    """ACDC's layout: `training/` and `testing/`, a folder per patient with Info.cfg."""
    pool, test = (
        tuple(_acdc_patient(folder) for folder in sorted((directory / part).glob("patient*")))
        for part in ("training", "testing")
    )
    return Collection(("RV", "MYO", "LV"), pool, test)


def _acdc_patient(folder):
    info = configparser.ConfigParser()
    path = folder / "Info.cfg"
    try:
        info.read_string("[info]\n" + path.read_text("utf-8"))
        group = info["info"]["Group"]
        frames = {phase: int(info["info"][phase]) for phase in ("ED", "ES")}
    except (OSError, KeyError, ValueError, configparser.Error) as error:
        raise DataError(f"{path}: expected lines 'ED: n', 'ES: n' and 'Group: name'") from error
    volumes = []
    for phase, frame in frames.items():
        stem = f"{folder.name}_frame{frame:02}"
        files = (folder / f"{stem}{end}.nii.gz" for end in ("", "_gt", "_probabilities"))
        volumes.append(_volume(f"{folder.name}_{phase}", *files))
    return Subject(folder.name, group, tuple(volumes))


def _volume(name, image, label, true_probabilities=None):
    for path, what in ((image, "image"), (label, "label")):
        if not os.path.exists(path):  # False, too, for a name that no file can have
            raise DataError(f"{path}: the {what} of {name} is missing")
    known = true_probabilities and os.path.exists(true_probabilities)
    return Volume(name, image, label, true_probabilities if known else None)


def read_nci(directory):
    """NCI-ISBI 2013: per site, Images/<subject>/**/*.dcm and Labels/<subject>.nrrd."""
    subjects = []
    for site in ("Prostate-3T", "PROSTATE-DIAGNOSIS"):
        folders = (directory / site / "Images").glob("*")
        for folder in sorted(path for path in folders if path.is_dir()):
            label = directory / site / "Labels" / f"{folder.name}.nrrd"
            subjects.append(Subject(folder.name, site, (_volume(folder.name, folder, label),)))
    return Collection(("CG", "PZ"), tuple(subjects))


def read_nnunet(directory):
    """nnU-Net's raw layout with one channel; imagesTs is the test set where it is labelled."""
    classes, ending = _nnunet_description(directory / "dataset.json")
    suffix = f"_0000{ending}"

    def subjects(part):
        for image in sorted((directory / f"images{part}").glob(f"*{suffix}")):
            name = image.name.removesuffix(suffix)
            label = directory / f"labels{part}" / f"{name}{ending}"
            yield Subject(name, "", (_volume(name, image, label),))
        for label in sorted((directory / f"labels{part}").glob(f"*{ending}")):
            name = label.name.removesuffix(ending)
            _volume(name, directory / f"images{part}" / f"{name}{suffix}", label)

    test = tuple(subjects("Ts")) if (directory / "labelsTs").is_dir() else ()
    return Collection(classes, tuple(subjects("Tr")), test)


def _nnunet_description(path):
    """Foreground classes and the ending of all files, from a dataset.json."""
    try:
        info = json.loads(path.read_text("utf-8"))
        labels = [(int(str(value)), name) for name, value in info["labels"].items()]
        values, names = zip(*sorted(labels), strict=True)
        "".join(names).encode()  # JSON can hold text that no file can
        channels = dict(info.get("channel_names", info.get("modality", {"0": ""})))
        ending = str(info.get("file_ending", ".nii.gz"))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: expected JSON with 'labels': {{name: integer}}") from error
    if len(channels) != 1:
        raise DataError(f"{path}: {len(channels)} channels; images of one channel are expected")
    if taken := {"all", "mean", "ignore"} & set(names[1:]):
        raise DataError(f"{path}: label {min(taken)!r}; expected the name of a structure")
    if values != tuple(range(len(values))) or len(values) < 2:
        raise DataError(f"{path}: label values {values[:5]}; expected 0 to the last class")
    if not re.fullmatch(r"(\.\w+)+", ending):
        raise DataError(f"{path}: file_ending {ending[:20]!r}; expected '.nii.gz', say")
    return names[1:], ending


_ACDC_LAYOUT = (
    "{training,testing}/patientNNN/{Info.cfg,patientNNN_frameMM.nii.gz,..._gt.nii.gz}"
)

# fmt: off
DATASETS = {
    "acdc": Dataset(
        read_acdc, pixel_mm=1.33, num_validation=5, num_test=50, layout=_ACDC_LAYOUT,
        source="the ACDC challenge, humanheart-project.creatis.insa-lyon.fr/database",
    ),
    "nci": Dataset(
        read_nci, pixel_mm=0.625, num_validation=4, num_test=30,
        layout="{Prostate-3T,PROSTATE-DIAGNOSIS}/{Images/SUBJECT/**/*.dcm,Labels/SUBJECT.nrrd}",
        source="The Cancer Imaging Archive, NCI-ISBI 2013 Challenge",
    ),
    "phantom": Dataset(
        read_acdc, pixel_mm=1.33, num_validation=5, num_test=None, layout=_ACDC_LAYOUT,
        source="generated on first use",
    ),
    "nnunet": Dataset(
        read_nnunet, pixel_mm=None, num_validation=5, num_test=None,
        layout="dataset.json, images{Tr,Ts}/CASE_0000.nii.gz, labels{Tr,Ts}/CASE.nii.gz",
        source="you: any data set in nnU-Net's raw layout",
    ),
}
# fmt: on


def find(name, directory):
    """The Collection that `directory` holds.

    Raises:
      DataError: nothing is there, saying where the data set is obtained and its layout; or two
        subjects, one for test perhaps, have one name.
    """
    dataset, directory = DATASETS[name], pathlib.Path(directory)
    collection = dataset.read(directory) if directory.is_dir() else None
    if not collection or not collection.pool:
        raise DataError(
            f"{directory}: no {name} data here. Source: {dataset.source}. Layout: {dataset.layout}"
        )
    count = collections.Counter(subject.name for subject in collection.pool + collection.test)
    if twice := [name for name, times in count.items() if times > 1]:
        raise DataError(f"{directory}: {twice[0]} is there twice; expected one of each name")
    return collection
