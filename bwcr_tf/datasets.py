"""The data sets: where they come from, how their folders are read, and how subjects are split."""

import collections
import configparser
import contextlib
import dataclasses
import gzip
import hashlib
import itertools
import json
import math
import os
import pathlib
import re
import zlib
from collections.abc import Callable

import numpy as np
import SimpleITK as sitk


class DataError(ValueError):
    """Something in the user's data is not as it must be; the message is one line for the user."""


@dataclasses.dataclass(frozen=True)
class Volume:
    """One labelled scan: a file, or a folder that holds one DICOM series."""

    name: str
    image: pathlib.Path
    label: pathlib.Path
    truth: pathlib.Path | None = None  # class probabilities, which only a phantom knows

    @property
    def files(self):
        """Every file that the volume is made of, in a fixed order."""
        images = dicom_files(self.image) if self.image.is_dir() else [self.image]
        return [*images, self.label, *([self.truth] if self.truth else [])]


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


@dataclasses.dataclass(frozen=True)
class Split:
    """Subjects of one run."""

    training: tuple[Subject, ...]
    validation: tuple[Subject, ...]
    test: tuple[Subject, ...]

    def names(self):
        """{part: names of its subjects}."""
        return {
            part: tuple(subject.name for subject in getattr(self, part))
            for part in ("training", "validation", "test")
        }


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
    return Subject(
        folder.name,
        group,
        tuple(
            _volume(
                f"{folder.name}_{phase}",
                folder / f"{folder.name}_frame{frame:02}.nii.gz",
                folder / f"{folder.name}_frame{frame:02}_gt.nii.gz",
                folder / f"{folder.name}_frame{frame:02}_probabilities.nii.gz",
            )
            for phase, frame in frames.items()
        ),
    )


def _volume(name, image, label, truth=None):
    for path, what in ((image, "image"), (label, "label")):
        if not os.path.exists(path):  # False, too, for a name that no file can have
            raise DataError(f"{path}: the {what} of {name} is missing")
    return Volume(name, image, label, truth if truth and os.path.exists(truth) else None)


def read_nci(directory):
    """NCI-ISBI 2013: per site, Images/<subject>/**/*.dcm and Labels/<subject>.nrrd."""
    subjects = []
    for site in ("Prostate-3T", "PROSTATE-DIAGNOSIS"):
        for folder in sorted(
            path for path in (directory / site / "Images").glob("*") if path.is_dir()
        ):
            label = directory / site / "Labels" / f"{folder.name}.nrrd"
            subjects.append(Subject(folder.name, site, (_volume(folder.name, folder, label),)))
    return Collection(("CG", "PZ"), tuple(subjects))


def read_nnunet(directory):
    """nnU-Net's raw layout with one channel; imagesTs is the test set where it is labelled."""
    path = directory / "dataset.json"
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
    if values != tuple(range(len(values))) or len(values) < 2:
        raise DataError(f"{path}: label values {values[:5]}; expected 0 to the last class")
    if not re.fullmatch(r"(\.\w+)+", ending):
        raise DataError(f"{path}: file_ending {ending[:20]!r}; expected '.nii.gz', say")
    suffix = f"_0000{ending}"

    def subjects(images, labels):
        for image in sorted((directory / images).glob(f"*{suffix}")):
            name = image.name.removesuffix(suffix)
            volume = _volume(name, image, directory / labels / f"{name}{ending}")
            yield Subject(name, "", (volume,))

    test = tuple(subjects("imagesTs", "labelsTs")) if (directory / "labelsTs").is_dir() else ()
    return Collection(names[1:], tuple(subjects("imagesTr", "labelsTr")), test)


_ACDC_LAYOUT = (
    "{training,testing}/patientNNN/{Info.cfg,patientNNN_frameMM.nii.gz,..._gt.nii.gz}"
)

DATASETS = {
    "acdc": Dataset(
        read_acdc,
        pixel_mm=1.33,
        num_validation=5,
        num_test=50,
        source="the ACDC challenge, humanheart-project.creatis.insa-lyon.fr/database",
        layout=_ACDC_LAYOUT,
    ),
    "nci": Dataset(
        read_nci,
        pixel_mm=0.625,
        num_validation=4,
        num_test=30,
        source="The Cancer Imaging Archive, NCI-ISBI 2013 Challenge",
        layout="{Prostate-3T,PROSTATE-DIAGNOSIS}/{Images/SUBJECT/**/*.dcm,Labels/SUBJECT.nrrd}",
    ),
    "phantom": Dataset(
        read_acdc,
        pixel_mm=1.33,
        num_validation=5,
        num_test=None,
        source="made on the spot",
        layout=_ACDC_LAYOUT,
    ),
    "nnunet": Dataset(
        read_nnunet,
        pixel_mm=None,
        num_validation=5,
        num_test=None,
        source="you: any data set in nnU-Net's raw layout",
        layout="dataset.json, images{Tr,Ts}/CASE_0000.nii.gz, labels{Tr,Ts}/CASE.nii.gz",
    ),
}


def find(name, directory):
    """The Collection that `directory` holds.

    Raises:
      DataError: nothing is there, saying where the data set is obtained and its layout.
    """
    dataset, directory = DATASETS[name], pathlib.Path(directory)
    collection = dataset.read(directory) if directory.is_dir() else None
    if not collection or not collection.pool:
        raise DataError(
            f"{directory}: no {name} data here. Source: {dataset.source}. Layout: {dataset.layout}"
        )
    return collection


def split(name, collection, ntr, run):
    """The Split of `run` with `ntr` training subjects (Sec. 4), the same on every machine.

    The test set is the folder's own, or drawn once for all runs. Validation subjects come next and
    then the training subjects, all in an order that is random but takes the strata in turn;
    a smaller training set is part of a larger one.

    Raises:
      DataError: `ntr` is larger than what is left.
    """
    dataset, pool, test = DATASETS[name], list(collection.pool), list(collection.test)
    if not test:
        count = len(pool) // 5 if dataset.num_test is None else dataset.num_test
        test = _balanced_order(pool, "test")[:count]
        pool = [subject for subject in pool if subject not in test]
    order = _balanced_order(pool, f"run {run}")
    left = len(order) - dataset.num_validation
    if not 1 <= ntr <= left:
        raise DataError(
            f"ntr={ntr}: expected 1 to {max(left, 0)}, for of "
            f"{len(collection.pool + collection.test)} subjects {len(test)} are for test "
            f"and {dataset.num_validation} for validation"
        )
    stop = dataset.num_validation + ntr
    return Split(
        tuple(order[dataset.num_validation : stop]), tuple(order[: stop - ntr]), tuple(test)
    )


def _balanced_order(subjects, purpose):
    """Subjects in a random order, which depends on names alone, that takes the strata in turn."""

    def draw(text):
        return hashlib.sha256(f"{purpose}/{text}".encode()).hexdigest()

    strata = collections.defaultdict(list)
    for subject in sorted(subjects, key=lambda subject: draw(subject.name)):
        strata[subject.stratum].append(subject)
    turns = [
        (rank, draw(stratum), subject)
        for stratum, members in strata.items()
        for rank, subject in enumerate(members)
    ]
    return [subject for _, _, subject in sorted(turns, key=lambda turn: turn[:2])]


def read_image(path):
    """A scan as a float32 sitk.Image of three dimensions: a file, or a folder with one series.

    Raises:
      DataError: unreadable, truncated, not 3D, not scalar, not finite, or constant.
    """
    image = _read_series(path) if path.is_dir() else _read_file(path)
    image = sitk.Cast(image, sitk.sitkFloat32)
    pixels = sitk.GetArrayViewFromImage(image)
    if not np.isfinite(pixels).all():
        raise DataError(
            f"{path}: {np.count_nonzero(~np.isfinite(pixels))} pixels are NaN or infinite"
        )
    if pixels.min() == pixels.max():
        raise DataError(f"{path}: constant image, every pixel is {pixels.min():g}")
    return image


def read_header(path):
    """Orientation code (`LPS`, say), size and spacing in mm of a scan, without its pixels."""
    with _reading(path):
        reader = _header(next(iter(dicom_files(path)), path) if path.is_dir() else path)
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines
    return code(reader.GetDirection()), reader.GetSize(), reader.GetSpacing()


def dicom_files(folder, deep=True):
    """The DICOM files in a folder (and, if `deep`, below it) in order, by ending or by content."""

    def is_dicom(file):
        if file.name.startswith(".") or file.name == "DICOMDIR":
            return False
        if file.suffix.lower() == ".dcm":
            return True
        with open(file, "rb") as content:
            return content.read(132)[128:] == b"DICM"

    files = sorted(folder.rglob("*") if deep else folder.iterdir())
    return [file for file in files if file.is_file() and is_dicom(file)]


def read_label(path, image, num_classes, place=False):
    """The label map of `image` as a uint8 sitk.Image on the image's own grid.

    With `place`, a label on another grid is put there by physical position (nearest neighbour).

    Raises:
      DataError: another shape or geometry, no overlap, or values that are not 0..num_classes-1.
    """
    label = _read_file(path)
    values = np.unique(sitk.GetArrayViewFromImage(label))
    strange = [value for value in values.tolist() if value not in range(num_classes)]
    if strange:
        raise DataError(f"{path}: label values {strange[:5]}; expected 0 to {num_classes - 1}")
    label = sitk.Cast(label, sitk.sitkUInt8)
    difference = _geometry_difference(label, image)
    if not difference:
        return label
    if not place:
        raise DataError(f"{path}: {difference}")
    placed = sitk.Resample(label, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    if values.any() and not sitk.GetArrayViewFromImage(placed).any():
        raise DataError(f"{path}: no label overlaps the image; {difference}")
    return placed


def _geometry_difference(label, image):
    """What differs between two grids, in words; empty if they agree."""
    for what in ("Size", "Spacing", "Origin", "Direction"):
        found, expected = (getattr(grid, f"Get{what}")() for grid in (label, image))
        if not np.allclose(found, expected, rtol=0, atol=1e-2 if what == "Origin" else 1e-3):
            found, expected = (
                tuple(round(v, 4) for v in values) for values in (found, expected)
            )
            return f"{what.lower()} {found}; expected {expected}, the image's"
    return ""


@contextlib.contextmanager
def _reading(path):
    """Turns what the libraries raise while they read `path` into a DataError of one line."""
    try:
        yield
    except DataError:
        raise
    except (
        *(OSError, EOFError, RuntimeError, ValueError, ArithmeticError, MemoryError),
        zlib.error,
    ) as error:
        reason = " ".join(str(error).rpartition("ERROR: ")[2].split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason[-300:]})") from error


def _read_file(path):
    with _reading(path):
        return _whole(path).Execute()


def _read_series(folder):
    files = dicom_files(folder)
    with _reading(folder):
        series = {}
        "".join(map(str, files)).encode()  # fails where ITK ends the process
        for parent in sorted({str(file.parent) for file in files}):
            for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(parent):
                series[uid] = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(parent, uid)
        if len(series) != 1:
            raise DataError(
                f"{folder}: {len(series)} DICOM series in {len(files)} files; expected one"
            )
        names = [pathlib.Path(name) for name in next(iter(series.values()))]
        if lost := sorted(set(files) - set(names)):
            raise DataError(f"{lost[0]}: no readable slice of the series beside it")
        places = [_whole(name).GetOrigin() for name in names]
        gaps_mm = [math.dist(*pair) for pair in itertools.pairwise(places)]
        if gaps_mm and not max(gaps_mm) < 1.1 * min(gaps_mm):
            raise DataError(
                f"{folder}: slices {min(gaps_mm):g} to {max(gaps_mm):g} mm apart; expected one step"
            )
        return sitk.ReadImage(names)


_LONG = rb"(?!#|[^:]*:=).{500}"  # neither a comment nor a key
_MANY = rb"\W*NDims(?!\W*\d\s)"
_CRASH = {".nrrd": _LONG, ".nhdr": _LONG, ".mha": _MANY, ".mhd": _MANY}  # lines that end ITK


def _header(path):
    """ITK's reader of a file after its header, which must be that of a 3D scan."""
    if crash := _CRASH.get(path.suffix.lower()):
        with open(path, "rb") as file:
            for line in itertools.takewhile(bytes.strip, file):
                if re.match(crash, line):
                    raise DataError(f"{path}: strange line {line[:20]}... in its header")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path).encode().decode())  # ITK ends the process where this fails
    reader.ReadImageInformation()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if (reader.GetDimension(), reader.GetNumberOfComponents()) != (3, 1) or "complex" in kind:
        raise DataError(
            f"{path}: {reader.GetDimension()}D with {reader.GetNumberOfComponents()} "
            f"components a pixel ({kind}); expected 3D with one real number"
        )
    size, spacing_mm = reader.GetSize(), reader.GetSpacing()
    place = (*reader.GetOrigin(), *reader.GetDirection())
    if not (min(*size, *spacing_mm) > 0 and np.isfinite((*spacing_mm, *place)).all()):
        raise DataError(f"{path}: size {size}, spacing {spacing_mm}, origin and axes {place}")
    return reader


def _whole(path):
    """ITK's reader of a file with all pixels that its header says, for which ITK will make room."""
    reader, name = _header(path), path.name.lower()
    count = math.prod(reader.GetSize())
    most = 1032 * path.stat().st_size  # what deflate can pack into the file
    if name.endswith((".nii", ".nii.gz")):
        size = int(reader.GetMetaData("bitpix")) // 8
        found = _nifti_pixels(path, reader, min(count * size, most))
    elif name.endswith(tuple(_CRASH)):
        size = sitk.Image(1, 1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()
        found = _text_pixels(path, count * size)
    else:
        size, found = 1, most
    if found < count * size:
        raise DataError(f"{path}: {found} bytes of pixels; its header says {count * size}")
    return reader


def _nifti_pixels(path, reader, size):
    """Bytes of pixels in a NIfTI file, where `size` are needed. Raises on what ITK is silent about.

    That is a gzip file cut short, a spacing of zero, which it takes for 1 mm, and values that
    are not finite, which it takes for zero.
    """
    with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
        header = file.read(348)
        order = "<" if header[:4] == b"\x5c\x01\0\0" else ">"  # sizeof_hdr is 348
        file.seek(max(348, int(np.frombuffer(header, order + "f4", 1, 108)[0])))  # vox_offset
        pixels = file.read(size + 2**20)  # past the end, where gzip checks its sum
    spacing_mm = np.frombuffer(header, order + "f4", 3, 80)
    if not 0 < spacing_mm.min() <= spacing_mm.max() < np.inf:
        raise DataError(f"{path}: spacing {spacing_mm.tolist()} mm; expected above zero")
    if kind := {"16": "f4", "64": "f8"}.get(reader.GetMetaData("datatype")):
        values = np.frombuffer(pixels, order + kind, min(size, len(pixels)) // int(kind[1]))
        if wrong := np.count_nonzero(~np.isfinite(values)):
            raise DataError(f"{path}: {wrong} pixels are NaN or infinite")
    return len(pixels)


def _text_pixels(path, size):
    """Bytes of pixels in a NRRD or MetaImage file or the one it names, where `size` are needed."""
    content = path.read_bytes()
    head = re.match(rb"(?s).*?(\n\r?\n|ElementDataFile[^\n]*\n|\Z)", content)[0]
    pixels = content[len(head) :]
    apart = re.search(rb"(?im)^(?:ElementDataFile *=|data ?file:) *([^\r\n]*)", head)
    if apart and (file := path.parent / os.fsdecode(apart[1].strip())).is_file():
        pixels = file.read_bytes()
    if re.search(rb"(?im)^(CompressedData *= *[t1]|encoding: *gz)", head):
        pixels = zlib.decompressobj(47).decompress(pixels, size)  # zlib's format or gzip's
    return len(pixels)
