"""A prediction as DICOM Segmentations that reference the scan's series (highdicom; PS3.3, A.51)."""

import warnings

import highdicom
import numpy as np
import pydicom
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

import bwcr_tf
from bwcr_tf.data import coding, dicom, itk_files, slice_planes
from bwcr_tf.predict import outputs
from bwcr_tf.system.errors import DataError

_TISSUE = "85756007", "Tissue", "Tissue"  # of a structure without a code


def require_dicom(paths):
    """Raises DataError unless every path of a dict of scans is read as DICOM."""
    for path in paths.values():
        if not itk_files.is_dicom(path):
            raise DataError(f"{path}: not DICOM; expected DICOM series only, for --dicom_seg")


def write(folder, path, probabilities, model):
    """Writes labels.dcm, BINARY, and probabilities.dcm, FRACTIONAL (PROBABILITY), to a folder.

    Args:
      path: of the DICOM scan, a folder or a file.
      probabilities: [Z, Y, X, C] on its grid; stored in steps of 1/255, without background.

    Raises:
      DataError: the scan's files lack what a Segmentation must tell of its source.
    """
    found = {
        "labels": outputs.label_map(probabilities),
        "probabilities": probabilities[..., 1:],
    }
    with warnings.catch_warnings():  # pydicom's, of values in the scan's files
        warnings.simplefilter("ignore")
        sources, order = read_sources(path)
        for number, (what, array) in enumerate(found.items(), start=1):
            try:
                segmentation = _segmentation(sources, array[order], model, number)
            except (AttributeError, TypeError, ValueError) as error:
                raise DataError(f"{path}: {error}; expected a complete DICOM image") from error
            segmentation.save_as(folder / f"{what}.dcm")


def read_sources(path):
    """The datasets of a scan's files, and the index of each of their frames in the volume."""
    paths = dicom.dicom_files(path) if path.is_dir() else [path]
    planes = [p for file in paths for p in slice_planes.planes_of(file, itk_files.header(file))]
    order, (*_, step_mm) = slice_planes.arrange(planes)
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in paths]
    for source in sources:
        complete(source, sources[0], step_mm)
    return sources, np.argsort(order)


def complete(source, first, step_mm):
    """Gives a dataset what highdicom asks for and `slice_planes`, which checked it, does not.

    That is one orientation for all, not just to 1e-3, a SliceThickness, and, of frames, both what
    they share and their measures in the groups that are shared.
    """
    if "PerFrameFunctionalGroupsSequence" not in source:
        source.ImageOrientationPatient = first.ImageOrientationPatient
        if not source.get("SliceThickness"):
            source.SliceThickness = f"{step_mm:.10g}"
        return
    if not source.get("SharedFunctionalGroupsSequence"):
        source.SharedFunctionalGroupsSequence = [pydicom.Dataset()]
    shared, frame = (
        source[name][0]
        for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    )
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if name not in shared:
            shared[name] = frame[name]


def _segmentation(sources, pixels, model, number):
    """Segmentation `number`, from 1, of a label map [Z, Y, X] or probabilities [Z, Y, X, C-1]."""
    binary = pixels.ndim == 3
    return Segmentation(
        source_images=sources,
        pixel_array=pixels,
        segmentation_type="BINARY" if binary else "FRACTIONAL",
        fractional_type="PROBABILITY",
        max_fractional_value=255,
        omit_empty_frames=binary,
        segment_descriptions=_segments(model),
        series_instance_uid=highdicom.UID(),
        specific_character_set="ISO_IR 192",  # UTF-8, for names of classes
        series_number=_series_number(int(sources[0].get("SeriesNumber") or 0), number),
        series_description=f"bwcr_tf {'labels' if binary else 'probabilities'}",
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="bwcr_tf",
        manufacturer_model_name="bwcr_tf",
        software_versions=bwcr_tf.__version__,
        device_serial_number=model.name,
        content_label="LABELS" if binary else "PROBABILITIES",
    )


def _series_number(source, number):
    """The SeriesNumber of Segmentation `number` of a series, from that of the series."""
    found = 100 * source + number
    return found if 0 < found < 2**31 else max(source, 1)  # the most that IS holds (PS3.5, 6.2)


def _segments(model):
    """The SegmentDescriptions of the model's classes, coded where its model.json has codes."""
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name="bwcr_tf",
        family=codes.DCM.ArtificialIntelligence,
        version=bwcr_tf.__version__,
        parameters={"model": model.digest},
    )
    found = []
    for number, name in enumerate(model.classes, start=1):
        code, meaning, category = model.codes.get(name, _TISSUE)
        found.append(
            SegmentDescription(
                segment_number=number,
                segment_label=name[:64],
                segmented_property_category=Code(coding.CATEGORIES[category], "SCT", category),
                segmented_property_type=Code(code, "SCT", meaning),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
            )
        )
    return found
