"""Which files are scans: their formats by name and content, and what is left out of a folder."""

import gzip
import re
import zlib

NIFTI, TEXT = (".nii", ".nii.gz"), (".nrrd", ".nhdr", ".mha", ".mhd")
READ = (
    f"NIfTI-1 ({', '.join(NIFTI)}), NRRD in raw or gzip ({', '.join(TEXT[:2])}), "
    f"MetaImage ({', '.join(TEXT[2:])}) or DICOM"
)

_SCANS = {
    (".mgz", ".mgh"): "FreeSurfer's format",
    (".img", ".hdr", ".img.gz", ".hdr.gz"): "Analyze, or NIfTI as a pair of files,",
    (".mnc", ".mnc.gz"): "MINC",
    (".gipl", ".gipl.gz"): "GIPL",
    (".par", ".rec"): "Philips PAR/REC",
    (".head", ".brik", ".brik.gz"): "AFNI's format",
    (".nii.bz2", ".nii.xz", ".nii.zst", ".nii.zip"): "NIfTI in another compression than gzip",
}
_NOT_READ = _SCANS | {
    (".tif", ".tiff"): "TIFF",
    (".png", ".jpg", ".jpeg", ".bmp", ".gif"): "a picture without spacings",
    (".vtk", ".vti"): "VTK",
    (".npy", ".npz", ".mat", ".h5", ".hdf5"): "an array without spacings",
    (".zip", ".tar", ".tgz", ".7z", ".rar"): "an archive",
    (".bz2", ".xz", ".zst", ".gz"): "a compressed file that is not NIfTI in gzip",
}
_CONTENT = {
    (b"II*\0", b"MM\0*"): "TIFF",
    (b"\x89PNG", b"\xff\xd8\xff", b"GIF8"): "a picture without spacings",
    (b"\x89HDF", b"\x93NUMPY"): "an array without spacings",
    (b"PK\3\4", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"): "an archive or a compressed file",
}


class Mismatch(ValueError):
    """A file does not hold what its header claims, or claims what no scan has."""


def is_hidden(path, folder):
    """Whether a path in `folder` is hidden (`._scan.nii.gz`, `.DS_Store`) or in what is hidden."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def visible(folder, pattern="*"):
    """The paths in a folder that match a pattern, in order, without those that are hidden."""
    return [path for path in sorted(folder.glob(pattern)) if not is_hidden(path, folder)]


def has_ending(path, endings):
    """Whether a file's name ends in one of a tuple of endings, in small letters or large."""
    return path.name.lower().endswith(endings)


def open_unpacked(path):
    """A file open for reading, through gzip if its name ends in .gz."""
    return (gzip.open if has_ending(path, ".gz") else open)(path, "rb")


def is_read(path):
    """Whether a file's name is that of a scan in a format that is read, DICOM apart."""
    return has_ending(path, NIFTI + TEXT)


def is_other(path):
    """Whether a file's name is that of a scan in a format that is not read."""
    return any(has_ending(path, endings) for endings in _SCANS)


def other_format(path):
    """What a file is, in words, if its name or content says a format that is not read, or ''."""
    with open(path, "rb") as file:
        start = file.read(2**16)
    if has_ending(path, NIFTI):
        return _other_nifti(path, start)
    if has_ending(path, TEXT):
        encoding = re.search(rb"(?im)^encoding: *(bzip2|bz2)\b", start.partition(b"\n\n")[0])
        return "NRRD in bzip2" if encoding else ""
    if start[128:132] == b"DICM":
        return ""
    by_name = (kind for endings, kind in _NOT_READ.items() if has_ending(path, endings))
    by_content = (kind for starts, kind in _CONTENT.items() if start.startswith(starts))
    return next(by_name, "") or next(by_content, "")


def _other_nifti(path, start):
    """What a file with NIfTI's ending is, if it is not NIfTI-1 as its ending says."""
    packed = has_ending(path, ".gz")
    if start[:2] == b"\x1f\x8b" and not packed:
        return "NIfTI in gzip, of which the name ends in .nii.gz,"
    if packed:
        try:
            with gzip.open(path, "rb") as file:
                start = file.read(4)
        except (OSError, EOFError, zlib.error):
            return ""  # it says what is wrong when it is read
    return "NIfTI-2" if start[:4] in (b"\x1c\2\0\0", b"\0\0\2\x1c") else ""  # sizeof_hdr is 540
