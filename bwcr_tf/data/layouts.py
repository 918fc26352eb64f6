"""How the folders of the data sets are laid out: one reader for each layout."""

import configparser
import dataclasses
import functools
import os
import pathlib

from bwcr_tf.data import channels, dataset_json, formats, patients, scans
from bwcr_tf.data.subjects import Collection, Subject, Volume
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError


def read_acdc(directory):
    """ACDC's layout: `training/` and `testing/`, a folder per patient with Info.cfg."""
    pool, test = (
        tuple(_acdc_patient(folder) for folder in formats.visible(directory / part, "patient*"))
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
    """NCI-ISBI 2013: per site, [Images/]SUBJECT/**/*.dcm; SUBJECT[_correctedLabels].nrrd anywhere.

    So both the tidy layout, with the labels in Labels/, and the archive's own folders are read.
    """
    labels = {}
    # Labels/ may be a link, which the first does not follow
    files = {*directory.rglob("*.nrrd"), *directory.glob("*/Labels/*.nrrd")}
    for path in sorted(path for path in files if not formats.is_hidden(path, directory)):
        name = path.stem.removesuffix("_correctedLabels")
        if name in labels:
            raise DataError(f"{path}: {labels[name]} is a label of {name}, too; expected one")
        labels[name] = path
    subjects = []
    for site in ("Prostate-3T", "PROSTATE-DIAGNOSIS"):
        images = directory / site / "Images"
        images = images if images.is_dir() else directory / site
        for folder in filter(pathlib.Path.is_dir, formats.visible(images)):
            if folder.name != "Labels":
                missing = directory / site / "Labels" / f"{folder.name}.nrrd"
                volume = _volume(folder.name, folder, labels.pop(folder.name, missing))
                subjects.append(Subject(folder.name, site, (volume,)))
    for name, path in labels.items():
        raise DataError(f"{path}: the image of {name} is missing")
    return Collection(("CG", "PZ"), tuple(subjects))


def read_nnunet(directory):
    """nnU-Net's raw layout; imagesTs is the test set where it is labelled.

    Each case is a patient, unless `patients` in dataset.json, {case: patient}, says otherwise.
    """
    path = directory / "dataset.json"
    about = dataset_json.read(path)
    pool, test = (
        list(_nnunet_volumes(directory, part, about))
        if part == "Tr" or (directory / "labelsTs").is_dir()
        else []
        for part in ("Tr", "Ts")
    )
    pool, test = patients.subjects(path, about, pool, test)
    return Collection(about.classes, pool, test, about.channel_names)


def _nnunet_volumes(directory, part, about):
    """Yields the Volume of each case of imagesTr or imagesTs."""
    folder, ending, found = directory / f"images{part}", about.ending, {}
    _warn_of_others(folder, ending)
    for path in formats.visible(folder, f"*{ending}"):
        if name := channels.split_name(path.name.removesuffix(ending)):
            case, number = name
            found.setdefault(case, {})[number] = path
    for path in formats.visible(directory / f"labels{part}", f"*{ending}"):
        found.setdefault(path.name.removesuffix(ending), {})  # without an image, perhaps
    for case, paths in found.items():
        image, *others = channels.of_case(folder / case, paths, ending, about.channel_names)
        volume = _volume(case, image, directory / f"labels{part}" / f"{case}{ending}")
        more = {"other_channels": tuple(others), "ignore": about.ignore}
        yield dataclasses.replace(volume, **more)


@functools.cache  # so once for each data set, however often it is read
def _warn_of_others(folder, ending):
    """Warns of scans in a folder that are not read, as they end otherwise."""
    scans_there = filter(formats.is_read, formats.visible(folder))
    if others := [path for path in scans_there if not path.name.endswith(ending)]:
        found = f"{others[0]}: {len(others)} such files are not read"
        errors.warn(f"{found}; expected {ending}, the file_ending of dataset.json")


def read_annotators(directory):
    """CURVAS's layout: `training_set/`, `validation_set/` and `testing_set/`, a folder per case.

    A set of which no case is annotated counts as absent. The validation set joins the pool, from
    which validation subjects are drawn. An optional dataset.json names classes, and `patients` as
    in nnU-Net's layout; without it, classes are class1, ... up to the largest value in the
    annotations of the first case.
    """
    training, validation, test = (
        _annotated_cases(directory / part)
        for part in ("training_set", "validation_set", "testing_set")
    )
    description = directory / "dataset.json"
    about = dataset_json.read(description) if description.exists() else None
    if about and len(about.channel_names) > 1:
        count = len(about.channel_names)
        raise DataError(f"{description}: {count} channels; expected one, image.nii.gz")
    if about and about.ignore:
        raise DataError(f"{description}: label 'ignore'; expected none for several annotators")
    pool, test = patients.subjects(description, about, training + validation, test)
    if about:
        return Collection(about.classes, pool, test)
    return Collection(_numbered_classes(pool[0].volumes[0]) if pool else (), pool, test)


def _annotated_cases(folder):
    """A Volume for each case in a folder; none if the folder or every annotation is absent."""
    cases = list(filter(pathlib.Path.is_dir, formats.visible(folder)))
    annotations = {
        case: [p for p in formats.visible(case) if p.name.lower().startswith("annotation")]
        for case in cases
    }
    if not any(annotations.values()):
        return ()
    return tuple(_annotated_case(case, paths) for case, paths in annotations.items())


def _annotated_case(folder, annotations):
    names = [f"annotation_{k}.nii.gz" for k in range(1, max(len(annotations), 1) + 1)]
    if strange := sorted({path.name for path in annotations} - set(names)):
        found = f"{len(annotations)} annotations, {strange[0]} among them"
        raise DataError(f"{folder}: {found}; expected {names[0]} to {names[-1]}")
    first, *others = (folder / name for name in names)
    volume = _volume(folder.name, folder / "image.nii.gz", first)
    return dataclasses.replace(volume, other_labels=tuple(others))


def _numbered_classes(volume):
    """class1, class2, ... for the values in the annotations of a volume."""
    values = sorted(set().union(*map(scans.label_values, volume.labels)))
    if len(values) < 2 or values != list(range(len(values))):
        found = f"label values {values[:5]} here and in the case's other annotations"
        raise DataError(
            f"{volume.label}: {found}; expected 0 to the last class, or a dataset.json"
        )
    return tuple(f"class{int(value)}" for value in values[1:])
