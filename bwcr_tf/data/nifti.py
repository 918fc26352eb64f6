"""Where a NIfTI file says that its voxels are: sform, qform and their codes (nibabel)."""

import nibabel
import numpy as np

from bwcr_tf.data import formats, header_checks

_MM = {1: 1e3, 3: 1e-3}  # a unit of xyzt_units (m, micrometre), else mm
_QFORM = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_header(path):
    """The nibabel.Nifti1Header of a file, unchecked: any field may be wrong."""
    with formats.open_unpacked(path) as file:
        return nibabel.Nifti1Header(file.read(348), check=False)


def geometry(header, reader):
    """Spacing and origin in mm, and direction, in DICOM's axes, as tuples.

    Those of the sform where its code is not 0, else of the qform, as nibabel, FSL and SPM do;
    a header with neither is ITK's `reader`'s. Axes that are not quite at right angles are replaced
    by the nearest that are.

    Raises:
      formats.Mismatch: the axes are further from right angles, or not finite.
    """
    found = reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        return found
    affine = _TO_LPS @ _affine(header)
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if not spacing_mm.min() > 0:
        raise formats.Mismatch(f"affine {affine[:3].tolist()}; expected spacings above 0")
    axes = header_checks.nearest_axes(affine[:3, :3] / spacing_mm)
    same = _corner_distance(_matrix(*found), affine, reader.GetSize())
    if same < 1e-3 * spacing_mm.min():  # ITK's digits are kept where it read the same
        return found
    return (
        tuple(spacing_mm.tolist()),
        tuple(affine[:3, 3].tolist()),
        tuple(axes.ravel().tolist()),
    )


def doubts(header):
    """What a header leaves in doubt about where its voxels are, in words, or ''."""
    if not (header["sform_code"] > 0 or header["qform_code"] > 0):
        return "neither sform nor qform says how the scan lies (codes 0); its axes are taken as LPS"
    if header["sform_code"] > 0 and (told := _other_spacing(header)):
        return told
    if not (header["sform_code"] > 0 and header["qform_code"] > 0):
        return ""
    sform = _affine(header)
    try:
        qform = _affine(header, "qform")
    except formats.Mismatch as error:
        return f"{error}; the sform is used"
    apart_mm = _corner_distance(qform, sform, header["dim"][1:4])
    if apart_mm <= 0.5 * np.linalg.norm(sform[:3, :3], axis=0).min():
        return ""
    mirrored = np.linalg.det(qform[:3, :3]) * np.linalg.det(sform[:3, :3]) < 0
    what = "mirror each other" if mirrored else f"are up to {apart_mm:.1f} mm apart"
    return f"its sform and qform {what}; the sform is used: check which one is right"


def _other_spacing(header):
    """How the lengths of the sform's axes differ from pixdim by over 1 %, in words, or ''."""
    mm = np.linalg.norm(_affine(header)[:3, :3], axis=0)
    pixdim = header["pixdim"][1:4] * _unit_mm(header)
    if np.allclose(mm, pixdim, rtol=0.01, atol=0):
        return ""
    sides = (" x ".join(f"{v:.4g}" for v in lengths) for lengths in (mm, pixdim))
    return "its sform has voxels of {} mm and its pixdim of {} mm; the sform is used".format(
        *sides
    )


def with_forms(content, shape, header):
    """The bytes `content` of a .nii up to its voxels, for another shape (x, y, z, ...).

    With the forms of a scan's `header`, if there is one: sform, qform, codes, spacings and units
    come back as they were.
    """
    found = nibabel.Nifti1Header(content[:348], check=False)
    found["dim"][: 1 + len(shape)] = len(shape), *shape
    if header is not None:
        for field in ("qform_code", "sform_code", "srow_x", "srow_y", "srow_z", *_QFORM):
            found[field] = header[field]
        found["pixdim"][:4] = header["pixdim"][:4]
        found["xyzt_units"] = header["xyzt_units"]
    return found.binaryblock + content[348:]


def _affine(header, form=None):
    """Matrix [4, 4] from voxels to mm in NIfTI's axes, by default that of the form in use."""
    form = form or ("sform" if header["sform_code"] > 0 else "qform")
    if header["pixdim"][0] == 0:  # which stands for 1 (nifti1.h), but nibabel refuses it
        header = header.copy()
        header["pixdim"][0] = 1
    try:
        affine = getattr(header, f"get_{form}")()
    except (ValueError, nibabel.spatialimages.HeaderDataError) as error:
        raise formats.Mismatch(f"its qform cannot be read ({error})") from error
    if not np.isfinite(affine).all():
        raise formats.Mismatch(f"its {form} is not finite: {affine[:3].tolist()}")
    return np.diag([*[_unit_mm(header)] * 3, 1.0]) @ affine


def _unit_mm(header):
    return _MM.get(int(header["xyzt_units"]) & 7, 1.0)


def _matrix(spacing_mm, origin, direction):
    """Matrix [4, 4] from voxels to mm of ITK's geometry."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = np.reshape(direction, (3, 3)) * spacing_mm, origin
    return matrix


def _corner_distance(first, second, size):
    """The largest distance between what two matrices make of a corner of a grid."""
    corners = np.array([*np.ndindex(2, 2, 2)]) * (np.array(size, float) - 1)
    difference = np.asarray(first) - second
    return np.linalg.norm(corners @ difference[:3, :3].T + difference[:3, 3], axis=1).max()
