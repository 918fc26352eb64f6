"""Which scans a folder holds, and what they are called."""

import collections
import os

from bwcr_tf.data import dicom, formats
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

ENDINGS = {  # of a scan: of what is predicted from it
    ".nii.gz": ".nii.gz", ".nii": ".nii.gz",
    ".nrrd": ".nrrd", ".nhdr": ".nrrd",
    ".mha": ".mha", ".mhd": ".mha",
}  # fmt: skip


def find_scans(source, output, pattern="*"):
    """Dict of name to path of the scans in `source`; names are paths within the output folder.

    Hidden files and what is in the output folder are left out. A name keeps its ending only
    where two scans would share it.

    Raises:
      DataError: there is none, or `output` is the folder of the scans.
    """
    if not source.exists():
        raise DataError(f"{source}: not there")
    folder = source if source.is_dir() else source.parent
    if output.resolve() == folder.resolve():
        raise DataError(f"{output}: holds the scans; choose another output folder")
    if not source.is_dir() or dicom.dicom_files(source, deep=False):
        return {shorten(os.path.basename(os.path.abspath(source))): source}
    visible = [p for p in sorted(source.rglob("*")) if not is_left_out(p, source, output)]
    paths = [path for path in visible if is_scan(path)]
    found = {p.relative_to(source).as_posix(): p for p in paths if p.match(pattern)}
    if other := [path for path in visible if formats.is_other(path)]:
        errors.warn(f"{other[0]}: {len(other)} such not read; expected {formats.READ}")
    if not found:
        raise DataError(f"{source}: no scans here; expected {formats.READ}, a folder each")
    count = collections.Counter(map(shorten, found))
    return {shorten(name) if count[shorten(name)] == 1 else name: found[name] for name in found}


def is_left_out(path, source, output):
    """Whether a path in `source` is hidden or in the output folder."""
    inside = source.resolve() in output.resolve().parents  # `output` may hold `source`, too
    own = inside and output.resolve() in path.resolve().parents
    return own or formats.is_hidden(path, source)


def is_scan(path):
    """Whether a path is a scan by its ending or its DICOM files."""
    return bool(dicom.dicom_files(path, deep=False) if path.is_dir() else ending(path))


def ending(path):
    """That of ENDINGS which a path has, or an empty text."""
    return next((e for e in ENDINGS if str(path).lower().endswith(e)), "")


def shorten(name):
    """A name without the ending of a scan."""
    return name[: len(name) - len(ending(name))]
