"""What a data set holds: subjects, their volumes, and the files that these are made of."""

import dataclasses
import pathlib

from bwcr_tf.data import dicom, header_checks


@dataclasses.dataclass(frozen=True)
class Volume:
    """One labelled scan: a file, or a folder that holds one DICOM series; or several channels."""

    name: str
    image: pathlib.Path
    label: pathlib.Path
    true_probabilities: pathlib.Path | None = None  # which only a phantom knows
    other_labels: tuple[pathlib.Path, ...] = ()  # of annotators 2, 3, ...
    other_channels: tuple[pathlib.Path, ...] = ()
    ignore: bool = False  # whether the value after the last class's marks pixels to leave out

    @property
    def images(self):
        """The files of all channels, `image` first."""
        return (self.image, *self.other_channels)

    @property
    def labels(self):
        """The label files of all annotators, `label` first."""
        return (self.label, *self.other_labels)

    @property
    def files(self):
        """Every file that the volume is made of, in a fixed order."""
        images = dicom.dicom_files(self.image) if self.image.is_dir() else [self.image]
        images += self.other_channels
        paths = [path for path in (*images, *self.labels, self.true_probabilities) if path]
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
    channels: tuple[str, ...] = ("image",)

    @property
    def num_classes(self):
        """Background included."""
        return len(self.classes) + 1
