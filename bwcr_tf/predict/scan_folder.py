"""Which scans a folder holds, and what they are called."""

import collections
import os

from bwcr_tf.data import channels, dicom, formats, itk_files
from bwcr_tf.predict import page_style
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError

ENDINGS = {  # of a scan: of what is predicted from it
    ".nii.gz": ".nii.gz", ".nii": ".nii.gz",
    ".nrrd": ".nrrd", ".nhdr": ".nrrd",
    ".mha": ".mha", ".mhd": ".mha",
}  # fmt: skip


def find_scans(source, output, pattern="*"):
    """Dict of name to path of the scans in `source`; names are paths within the output folder.

    Hidden files are left out, and what is in the output folder or in one of an earlier call. A name
    keeps its ending only where two scans would share it.

    Raises:
      DataError: there is none, or none called as `pattern` says; `output` is the folder of the
        scans or in a DICOM series; or `source` is such a series, but not that alone.
    """
    if not source.exists():
        raise DataError(f"{source}: not there")
    if not pattern.strip("./"):
        raise DataError(f"--pattern='{pattern}': expected one such as '*.nii.gz'")
    folder = source if source.is_dir() else source.parent
    if output.resolve() == folder.resolve():
        raise DataError(f"{output}: holds the scans; choose another output folder")
    if not source.is_dir() or _is_series(source, pattern):
        paths = {os.path.basename(os.path.abspath(source)): source}
    else:
        paths = _inside(source, output, pattern)
    _refuse_inside(output, paths.values())
    count = collections.Counter(map(shorten, paths))
    return {shorten(name) if count[shorten(name)] == 1 else name: paths[name] for name in paths}


def _is_series(source, pattern):
    """Whether a folder is a DICOM series: one scan, from which no pattern chooses.

    Raises:
      DataError: it holds other scans, too, or there is a pattern.
    """
    slices = dicom.dicom_files(source, deep=False)
    if not slices:
        return False
    others = [p for p in sorted(source.rglob("*")) if p.is_file() and ending(p)]
    if others := [path for path in others if not formats.is_hidden(path, source)]:
        raise DataError(
            f"{source}: the DICOM file {slices[0].name} beside {others[0].name}; expected one "
            "series and nothing else, or a folder for each series"
        )
    if pattern != "*":
        raise DataError(f"{source}: a DICOM series, one scan; expected no --pattern")
    return True


def _inside(source, output, pattern):
    """Dict of path within a folder to path of its scans."""
    outputs = [*_outputs(source, output)]
    visible = [p for p in sorted(source.rglob("*")) if not is_left_out(p, source, outputs)]
    paths = [path for path in visible if is_scan(path)]
    if other := [path for path in visible if formats.is_other(path)]:
        errors.warn(
            f"{other[0]}: {len(other)} such files are not read; expected {formats.READ}"
        )
    if links := [p for p in visible if p.is_symlink() and p.is_dir() and p not in paths]:
        errors.warn(
            f"{links[0]}: {len(links)} links to folders not followed; copy what they hold"
        )
    if not paths:
        raise DataError(f"{source}: no scans here; expected {formats.READ}, a folder each")
    found = {p.relative_to(source).as_posix(): p for p in paths if p.match(pattern)}
    if not found:
        raise DataError(
            f"{source}: no scan of {len(paths)} is called {pattern}; expected a --pattern such as "
            f"'{paths[0].name}'"
        )
    return found


def _refuse_inside(output, paths):
    """Raises DataError where an output folder is in a DICOM series, of which it would be a part."""
    place = output.resolve()
    for path in paths:
        if path.is_dir() and path.resolve() in (place, *place.parents):
            raise DataError(
                f"{output}: in the DICOM series {path}; choose another output folder"
            )


def by_case(paths, names):
    """{CASE: the path of its first channel}, for a model of the channels `names`, of several.

    Args:
      paths: dict of name to path, as of `find_scans`. What is not called CASE_0000, ... stays
        under its path; `channel_paths` refuses it.
    """
    if len(names) == 1:
        return paths
    cases = {}
    for name, path in paths.items():
        found = channels.split_name(shorten(name))
        cases.setdefault(found[0] + ending(name) if found else str(path), path)
    return cases


def channel_paths(path, names):
    """The paths of all channels of the scan of which `path` is one, beside it; `[path]` of one.

    Raises:
      DataError: one is missing or too many, or the path is not called CASE_0000, ...
    """
    if len(names) == 1:
        return [path]
    stem = shorten(path.name)
    end, own = path.name[len(stem) :], channels.split_name(stem)
    if not own:
        expected = ", ".join(f"{stem}_{k:04}{end} ({name})" for k, name in enumerate(names))
        raise DataError(f"{path}: a name without a channel; expected {expected}, the model's")
    found = {}
    for other in sorted(path.parent.iterdir()):
        name = channels.split_name(other.name.removesuffix(end))
        if name and other.name.endswith(end) and name[0] == own[0]:
            found[name[1]] = other
    return channels.of_case(path.with_name(own[0]), found, end, names)


def refuse_channels(paths):
    """Raises DataError where scans look like channels, in a folder for a model of one channel.

    That is where CASE_0000 and CASE_0001 lie on one grid. Scans that are merely numbered, of
    several patients, do not.
    """
    for name, path in paths.items():
        case, number = channels.split_name(name) or (name, None)
        other = paths.get(f"{case}_0001")
        if number == 0 and other and _grid(path) == _grid(other) is not None:
            raise DataError(
                f"{other}: on the grid of {path.name}, as a second channel of {case}; expected "
                "one channel, the model's (--pattern='*_0000*' predicts one of them)"
            )


def _grid(path):
    """Size, spacing, origin and direction of each file of a scan; None where one has none.

    In the order of places: the files of two DICOM series may be named in any.
    """
    files = dicom.dicom_files(path) if path.is_dir() else [path]
    try:
        readers = [(file, itk_files.header(file)) for file in files]
        return sorted((r.GetSize(), *itk_files.geometry(file, r)) for file, r in readers)
    except DataError:
        return None


def _outputs(source, output):
    """Folders below `source` with no scans but predictions: `output`, and earlier ones, named."""
    if source.resolve() in output.resolve().parents:  # it may hold `source`, too
        yield output.resolve()
    for page in sorted(source.rglob("index.html")):
        folder = page.parent.resolve()
        if folder not in (source.resolve(), output.resolve()) and page_style.is_ours(page):
            errors.warn(f"{page.parent}: predictions of this command, which are left out")
            yield folder


def is_left_out(path, source, outputs):
    """Whether a path in `source` is hidden, in one of the folders `outputs`, or one of them."""
    place = path.resolve()
    if place in outputs and page_style.is_ours(place / "index.html"):
        return True  # it may hold DICOM Segmentations
    return formats.is_hidden(path, source) or not {*place.parents}.isdisjoint(outputs)


def is_scan(path):
    """Whether a path is a scan by its ending or its DICOM files; warns if it cannot be read."""
    try:
        return bool(dicom.dicom_files(path, deep=False) if path.is_dir() else ending(path))
    except PermissionError as error:
        errors.warn(f"{error.filename}: no permission to read it; {path} is left out")
        return False


def ending(path):
    """That of ENDINGS which a path has, or an empty text."""
    return next((e for e in ENDINGS if str(path).lower().endswith(e)), "")


def shorten(name):
    """A name without the ending of a scan."""
    return name[: len(name) - len(ending(name))]
