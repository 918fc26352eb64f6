"""Segments scans: python -m bwcr_tf.predict --model=RUN_DIR --input=SCAN_OR_FOLDER --output=DIR.

For the scan NAME, on its own grid and in its own format (DICOM series: NIfTI):

    NAME_labels         uint8 (uint16 above 256 classes): the most likely class of each voxel
    NAME_probabilities  float32, 4D: the class is the last axis; background is 0
    NAME_entropy        float32: -sum_c p_c log p_c, in nats

and a row of volumes.csv (see docs/volumes.md); with --dicom_seg, for a DICOM series, also
NAME_labels.dcm and NAME_probabilities.dcm. index.html shows all scans, the most uncertain first.
A folder may hold scans (NIfTI, NRRD, MetaImage), folders of one DICOM series each, or be such a
series itself.
"""

import pathlib
import sys

from absl import flags

from bwcr_tf.system import command, quiet, source
from bwcr_tf.system.errors import DataError

FLAGS = flags.FLAGS


def define_flags():
    """The flags of this command."""
    flags.DEFINE_string("model", None, "Folder of a run or a SavedModel.", required=True)
    flags.DEFINE_string("input", None, "Scan, or folder of scans.", required=True)
    flags.DEFINE_string("output", None, "Folder to write to.", required=True)
    flags.DEFINE_string("pattern", "*", "Which files of an input folder are scans, by name.")
    flags.DEFINE_enum(
        "orientation",
        "auto",
        source.table_keys("bwcr_tf.predict.orientation", "MODES"),
        "How scans are oriented: by header, as stored, or by in-plane search. auto: the "
        "header's, with a warning where another is clearly more likely; docs/predict.md.",
    )
    flags.DEFINE_integer(
        "max_tiles",
        None,
        "Most tiles per slice, if a scan exceeds the model's grid; 1: its centre alone. [the "
        "model's: 256 or 1, by the Dice of validation scans]",
        1,
    )
    flags.DEFINE_boolean(
        "dicom_seg", False, "DICOM series: writes DICOM Segmentations, too (extra `dicom`)."
    )


def main(_):
    """Predicts what the flags name; ends with a line for each scan that failed."""
    import SimpleITK as sitk

    from bwcr_tf.predict import scan_folder

    output = pathlib.Path(FLAGS.output)
    paths = scan_folder.find_scans(pathlib.Path(FLAGS.input), output, FLAGS.pattern)
    write_also = dicom_writer(paths) if FLAGS.dicom_seg else None
    quiet.import_tensorflow()
    from bwcr_tf.predict import segmentation

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    model = segmentation.load(FLAGS.model)
    paths = scan_folder.by_case(paths, model.channels)
    if len(model.channels) == 1 and FLAGS.pattern == "*":
        scan_folder.refuse_channels(paths)
    failures = segmentation.predict_all(
        paths, model, output, FLAGS.orientation, write_also, FLAGS.max_tiles
    )
    print(f"{output}/: {len(paths) - len(failures)} of {len(paths)} scans predicted")
    if failures:
        sys.exit("\n".join(f"error: {failure}" for failure in failures))


def dicom_writer(paths):
    """The function that writes DICOM Segmentations of the scans of a dict of name to path.

    Raises:
      DataError: the extra `dicom` is not installed, or a scan is not DICOM.
    """
    try:
        from bwcr_tf.predict import dicom_segmentation
    except ImportError as error:
        raise DataError(f"{error.name} is missing: pip install '.[dicom]'") from error
    dicom_segmentation.require_dicom(paths)
    return dicom_segmentation.write


if __name__ == "__main__":
    define_flags()
    command.run(main, "run it again")
