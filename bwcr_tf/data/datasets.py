"""The data sets: the protocol of each, and where its data come from."""

import collections
import dataclasses
import pathlib
from collections.abc import Callable

from bwcr_tf.boundary import PAPER_SIZE
from bwcr_tf.data import layouts
from bwcr_tf.system.errors import DataError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A row of the table: the protocol of Sec. 4, and what to tell a user who lacks the data."""

    read: Callable  # directory -> Collection
    pixel_mm: float | None  # None: proposed from the data's own spacings
    size: int | None  # pixels across a square grid; None: proposed from the data's own extents
    num_validation: int
    num_test: int | None  # None: a fifth of the pool; unused where the folders fix it
    source: str
    layout: str


_ACDC_LAYOUT = (
    "{training,testing}/patientNNN/{Info.cfg,patientNNN_frameMM.nii.gz,..._gt.nii.gz}"
)

# fmt: off
DATASETS = {
    "acdc": Dataset(
        layouts.read_acdc, pixel_mm=1.33, size=PAPER_SIZE, num_validation=5, num_test=50,
        layout=_ACDC_LAYOUT,
        source="the ACDC challenge, humanheart-project.creatis.insa-lyon.fr/database",
    ),
    "nci": Dataset(
        layouts.read_nci, pixel_mm=0.625, size=PAPER_SIZE, num_validation=4, num_test=30,
        layout="{Prostate-3T,PROSTATE-DIAGNOSIS}/[Images/]SUBJECT/**/*.dcm, SUBJECT.nrrd anywhere",
        source="The Cancer Imaging Archive, NCI-ISBI 2013 Challenge",
    ),
    "phantom": Dataset(
        layouts.read_acdc, pixel_mm=1.33, size=PAPER_SIZE, num_validation=5, num_test=None,
        layout=_ACDC_LAYOUT,
        source="generated on first use",
    ),
    "nnunet": Dataset(
        layouts.read_nnunet, pixel_mm=None, size=None, num_validation=5, num_test=None,
        layout="dataset.json, images{Tr,Ts}/CASE_0000.nii.gz, labels{Tr,Ts}/CASE.nii.gz",
        source="you: any data set in nnU-Net's raw layout",
    ),
    "annotators": Dataset(
        layouts.read_annotators, pixel_mm=None, size=None, num_validation=5, num_test=None,
        layout="{training_set,validation_set,testing_set}/CASE/"
        "{image.nii.gz,annotation_1.nii.gz,annotation_2.nii.gz,...}",
        source="you: any data set in the layout of the CURVAS challenge",
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
