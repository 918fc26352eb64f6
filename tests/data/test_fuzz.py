"""Mutated files: one clear line or a correct read, in bounded time and memory.

    BWCR_FUZZ_CASES=15000 python -m pytest tests/test_fuzz.py

runs that many cases, a thousand of each kind of file. They run in processes of their own, which
may crash. A case depends on its number alone: python tests/test_fuzz.py 123 124 repeats 123.
"""

import copy
import csv
import gzip
import json
import os
import pathlib
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk

sys.path[:0] = map(str, pathlib.Path(__file__).parents[:3])  # where this file runs as a script
import dicom_writer
from conftest import dicom_tags, heart, write_image, write_patient

from bwcr_tf.data import datasets, scans
from bwcr_tf.system.errors import DataError

CASES = int(os.environ.get("BWCR_FUZZ_CASES", 180))
KINDS = (
    *("short.nii", "float.nii", "short.nii.gz", "inner.nii.gz", "raw.nrrd", "gzip.nrrd"),
    *("raw.mha", "zlib.mha", "apart.nhdr", "apart.mhd", "dicom", "label.nii.gz"),
    *("dataset.json", "Info.cfg", "frames.dcm"),
)
SECONDS, MEGABYTES = 5, 1000

EXTREMES = (0, 1, -1, 2, 3, 127, 128, 255, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, -2)
FLOATS = (0.0, -1.0, 1e-40, 1e38, float("nan"), float("inf"), float("-inf"))
WORDS = (
    *("", "0", "-1", "1e400", "nan", "inf", "99999999999999999999", "9" * 5000, "1.5", "32767"),
    *("2147483647", "-0.0", "ü", "\ud800", "../..", "/../", "\0", "%(x)s", "[", "**", "a\nb"),
    *("/etc/passwd", "LIST", "LOCAL", "float", "complex", "MET_FLOAT_ARRAY", "raw", "bzip2"),
)
VALUES = (
    *(None, True, False, 0, 1, -1, 2**31, 10**30, 0.5, 1e300, float("nan"), float("inf")),
    *("", "1", "a/b", "/../", "*", "**", "[", "ü", "\ud800", "a\nb", "\0", "x" * 5000),
    *([], {}, [1], [[1, 2]], {"a": 1}, {"": 0}, {"background": 0}, {"0": 0, "1": 0}),
)


def mutate(content, rng, header):
    """The content of a file with one to three changes, most of them in its header."""
    for _ in range(rng.randint(1, 3)):
        end = min(len(content), header if rng.random() < 0.9 else len(content)) or 1
        at, size = rng.randrange(end), rng.choice((1, 2, 4, 8))
        what = rng.randrange(8)
        if what == 0:
            content[at : at + 1] = bytes([rng.randrange(256)])
        if what == 1 or what == 2:
            value = rng.choice(EXTREMES) % 256**size
            at -= at % size
            content[at : at + size] = value.to_bytes(size, rng.choice(("little", "big")))
        if what == 3:
            at -= at % 4
            content[at : at + 4] = np.float32(rng.choice(FLOATS)).tobytes()
        if what == 4:
            content[at:at] = rng.randbytes(size)
        if what == 5:
            del content[at : at + rng.choice((1, 2, 16, 100))]
        if what == 6:
            content[at:at] = content[at : at + rng.choice((4, 16, 348))]
        if what == 7:
            words = list(re.finditer(rb"[^\s:=,(){}\\\0]+", content[:end]))
            if words:
                start, stop = rng.choice(words).span()
                content[start:stop] = rng.choice(WORDS).encode("utf-8", "surrogatepass")
    return content


def mutate_json(text, rng):
    """JSON of which one to three values or names are swapped for others."""
    root = {"": json.loads(text)}
    for _ in range(rng.randint(1, 3)):
        parent = root
        key = ""
        while isinstance(parent[key], dict) and parent[key] and rng.random() < 0.8:
            parent, key = parent[key], rng.choice(list(parent[key]))
        value = copy.deepcopy(rng.choice(VALUES))
        if rng.random() < 0.3 and key:
            parent[rng.choice(WORDS)] = parent.pop(key)
        else:
            parent[key] = value
    return json.dumps(root[""]).encode()


def write_originals(folder):
    """Whole files of every kind; the data sets' folders lie in nnunet/ and acdc/."""
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    image, label_map = heart(1, shape=(3, 24, 28))
    label = write_image(folder / "label.nii.gz", label_map)
    for name in ("short.nii", "short.nii.gz", "inner.nii.gz", "raw.nrrd", "raw.mha"):
        write_image(folder / name, image)
    write_image(folder / "float.nii", image.astype(np.float32))
    for name in ("gzip.nrrd", "zlib.mha", "apart.nhdr", "apart.mhd"):
        compressed = not name.startswith("apart")
        sitk.WriteImage(sitk.ReadImage(folder / "short.nii"), folder / name, compressed)
    (folder / "dicom").mkdir()
    for z, pixels in enumerate(image):
        part = sitk.GetImageFromArray(pixels)
        part.SetSpacing((1.5, 1.5))
        for tag, value in dicom_tags(z, (0, 0, 8 * z)).items():
            part.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / "dicom" / f"{z}.dcm"))
        writer.Execute(part)
    positions = [(0, 0, 8 * z) for z in range(3)]
    dicom_writer.write_frames(folder / "frames.dcm", image, positions)
    write_patient(folder / "acdc" / "training" / "patient001", 1)
    info = {"channel_names": {"0": "T1"}, "labels": {"background": 0, "a": 1, "b": 2, "c": 3}}
    for part, name in (("imagesTr", "x_0000.nii.gz"), ("labelsTr", "x.nii.gz")):
        (folder / "nnunet" / part).mkdir(parents=True)
        shutil.copy(label, folder / "nnunet" / part / name)
    (folder / "nnunet" / "dataset.json").write_text(
        json.dumps(info | {"file_ending": ".nii.gz"})
    )


def break_one(number, folder):
    """Changes one file of `write_originals`.

    Returns:
      Its kind, its path, whether it is only cut short, and the most bytes of pixels in it.
    """
    rng, kind = random.Random(number), KINDS[number % len(KINDS)]
    folders = {"dataset.json": "nnunet", "Info.cfg": "acdc/training/patient001"}
    path = folder / folders.get(kind, "") / kind
    file = path / f"{rng.randrange(3)}.dcm" if kind == "dicom" else path
    content = file.read_bytes()
    cut = rng.random() < 0.1
    if cut:
        content = content[: rng.randrange(len(content))]
    elif kind == "dataset.json" and rng.random() < 0.8:
        content = mutate_json(content, rng)
    elif kind in ("inner.nii.gz", "label.nii.gz"):
        content = mutate(bytearray(gzip.decompress(content)), rng, 352)
    else:
        size = {"dicom": 1200, "frames.dcm": 1200, "short.nii.gz": 40}.get(kind, 420)
        content = mutate(bytearray(content), rng, size)
    packed = kind in ("inner.nii.gz", "label.nii.gz") and not cut
    file.write_bytes(gzip.compress(content, 1) if packed else content)
    return kind, path, cut, max(len(content), 2 * 3 * 24 * 28)


def complaint(read, name):
    """(What `read` returns, "") or (None, what is wrong with how it failed)."""
    try:
        return read(), ""
    except DataError as error:
        text = str(error)
        if "\n" in text or name not in text or len(text) > 600:
            return None, f"unclear message: {text!r}"
        if "Failed to allocate" in text:
            return None, f"memory was asked for: {text}"
        return None, ""
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def examine(kind, path, cut, most, original):
    """What is wrong with how the file that `break_one` broke is read; empty if nothing is."""
    if kind in ("dataset.json", "Info.cfg"):
        name, depth = {"dataset.json": ("nnunet", 0), "Info.cfg": ("acdc", 2)}[kind]
        root = path.parents[depth]
        found, wrong = complaint(lambda: datasets.find(name, root), str(root))
        return wrong or (found and examine_collection(found, root)) or ""
    if kind == "label.nii.gz":
        label, wrong = complaint(lambda: scans.read_label(path, original, 4), str(path))
        if label and (
            label.GetSize() != original.GetSize() or sitk.GetArrayViewFromImage(label).max() > 3
        ):
            return "another label map"
        return wrong
    header, wrong = complaint(lambda: scans.read_header(path), str(path))
    image, wrong_image = complaint(lambda: scans.read_image(path), str(path))
    if wrong or wrong_image or not image:
        return wrong or wrong_image
    if not header:
        return "an image without a header"
    if cut and sitk.Hash(image) != sitk.Hash(original):
        return "a cut file was read"
    if image.GetNumberOfPixels() * bytes_per_pixel(path) > most:
        return f"{image.GetNumberOfPixels()} pixels, more than the file holds"
    return examine_image(image, header, kind == "dicom")


def bytes_per_pixel(path):
    """That of the file, not of the image, which ITK may have rescaled."""
    if path.is_dir():
        return 2
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if path.name.endswith((".nii", ".nii.gz")):
        return int(reader.GetMetaData("bitpix")) // 8
    return sitk.Image(1, 1, 1, reader.GetPixelID()).GetSizeOfPixelComponent()


def examine_collection(found, root):
    files = [f for s in found.pool + found.test for v in s.volumes for f in (v.image, v.label)]
    if not all(file.is_file() and root in file.resolve().parents for file in files):
        return f"files outside the folder or missing: {files}"
    names = [*found.classes, *(subject.stratum for subject in found.pool)]
    if not all(isinstance(name, str) for name in names) or not found.classes:
        return f"names {names}"
    return ""


def examine_image(image, header, dicom):
    _, size, spacing = header
    where = np.array([*image.GetSpacing(), *image.GetOrigin(), *image.GetDirection()])
    if image.GetDimension() != 3 or image.GetPixelID() != sitk.sitkFloat32:
        return f"{image.GetDimension()}D {image.GetPixelIDTypeAsString()}"
    if not np.isfinite(where).all() or min(*image.GetSpacing(), *spacing) <= 0:
        return f"geometry {where.tolist()}, {spacing}"
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        return "pixels are not finite"
    if not dicom and (image.GetSize(), image.GetSpacing()) != (size, spacing):
        return f"header {header}; image {image.GetSize()}, {image.GetSpacing()}"
    return ""


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # MB


def main(start, stop):
    """Prints each case's number and what is wrong with it; a crash is known by the last line."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = pathlib.Path(scratch, "whole")
        write_originals(whole)
        original = scans.read_image(whole / "short.nii")
        status = pathlib.Path("/proc/self/status").read_text()
        used = 1024 * int(re.search(r"VmSize:\s+(\d+)", status)[1])
        limit = used + 3 * MEGABYTES * 2**20  # to spare the machine
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(start, stop):
            folder = pathlib.Path(scratch, str(number))
            shutil.copytree(whole, folder)
            kind, *broken = break_one(number, folder)
            print(number, kind, end=" ", flush=True)
            begin = time.process_time(), peak()
            wrong = examine(kind, *broken, original)
            seconds, megabytes = time.process_time() - begin[0], peak() - begin[1]
            if seconds > SECONDS or megabytes > MEGABYTES:
                wrong += f" {seconds:.1f} s, {megabytes} MB"
            print(repr(wrong), flush=True)
            shutil.rmtree(folder)


def campaign(start, stop):
    """The lines that `main` prints; where a process ends, the next continues."""
    lines = []
    while start < stop:
        command = [sys.executable, __file__, str(start), str(stop)]
        with tempfile.TemporaryFile("w+", errors="replace") as out:
            code = subprocess.run(command, stdout=out, timeout=60 + (stop - start)).returncode
            out.seek(0)
            lines += out.read().splitlines()
        assert lines, "the first process did not start"
        lines[-1] += f" exit code {code}" if code else ""
        start = int(lines[-1].split()[0]) + 1
    return lines


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_mutated_files_are_refused_in_one_line_or_read_correctly():
    lines = campaign(0, CASES)
    assert [int(line.split()[0]) for line in lines] == list(range(CASES))
    assert not [line for line in lines if not line.endswith(" ''")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_originals(folder)
    return folder


@pytest.fixture
def files(whole, tmp_path):
    """A copy of the files of `write_originals`, all of which can be read."""
    return shutil.copytree(whole, tmp_path / "files")


def patch(path, at, content):
    """Writes bytes over a file's, or swaps some of them for others."""
    old = path.read_bytes()
    start, length = (at, len(content)) if isinstance(at, int) else (old.index(at), len(at))
    path.write_bytes(old[:start] + content + old[start + length :])
    return path


def refused(path, message):
    """Asserts that `path` is refused in one line with `message`, by a regular expression."""
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}.*: .*{message}") as caught:
        scans.read_image(path)
    assert "\n" not in str(caught.value)


def test_whole_files_are_read(files):
    names = [kind for kind in KINDS[:11] if kind != "dicom"]
    pixels = [sitk.GetArrayFromImage(scans.read_image(files / name)) for name in names]
    for found in pixels:
        np.testing.assert_array_equal(found, heart(1, shape=(3, 24, 28))[0])
    assert scans.read_image(files / "dicom").GetSpacing() == (1.5, 1.5, 8)


ROWS, COLUMNS = (b"\x28\0%c\0\2\0\0\0" % c for c in (0x10, 0x11))  # DICOM's tag and length
SCALE = b"ElementToIntensityFunction"  # ITK passes over it
HUGE = np.array([32767] * 3, "<i2").tobytes()  # dim[1] to dim[3]


@pytest.mark.parametrize(
    "name, at, content, message",
    [
        ("short.nii", 42, HUGE, "4032 bytes of pixels; its header says"),
        ("raw.nrrd", b"28 24 3", b"32767 32767 32767", "4032 bytes of pixels"),
        ("gzip.nrrd", b"28 24 3", b"32767 32767 32767", "4032 bytes of pixels"),
        ("raw.mha", b"28 24 3", b"32767 32767 32767", "4032 bytes of pixels"),
        ("zlib.mha", b"28 24 3", b"28 24 4", "4032 bytes of pixels; its header says 5376"),
        ("zlib.mha", b"DataSize = ", b"DataSize = 1 \nX = ", "0 bytes of pixels"),
        ("zlib.mha", b"DataSize = ", b"DataSize = 0\nX = ", "without"),
        ("zlib.mha", b"CompressedDataSize", b"X", "CompressedData without"),
        ("raw.mha", b"NDims = 3", b"NDims = 3\nHeaderSize = 9", "HeaderSize"),
        (
            "raw.mha",
            b"NDims = 3",
            b"NDims = 3\n" + b" " + SCALE + b"Slope = -2",
            "Slope of values is -2",
        ),
        (
            "raw.mha",
            b"NDims = 3",
            b"NDims = 3\n" + SCALE + b"Offset: x",
            "Offset of values is x",
        ),
        ("apart.mhd", b"28 24 3", b"32767 32767 32767", "4032 bytes of pixels"),
        ("apart.nhdr", b"28 24 3", b"32767 32767 32767", "4032 bytes of pixels"),
        ("apart.nhdr", b"apart.raw", b"/dev/zero", "0 bytes of pixels"),
        (
            "dicom/0.dcm",
            ROWS + b"\x18\0" + COLUMNS + b"\x1c\0",
            ROWS + b"\xff\xff" + COLUMNS + b"\xff\xff",
            "bytes of pixels; its header says 4294836225",
        ),
        ("dicom/0.dcm", ROWS + b"\x18", ROWS + b"\x17", "not match the required size"),
        ("short.nii", 70, np.array([32, 64], "<i2").tobytes(), "one real number"),
        ("short.nii", 80, np.float32(-1.5).tobytes(), "spacing"),
        ("short.nii", 292, np.float32(np.nan).tobytes(), "origin"),
        ("float.nii", 108, np.float32(np.inf).tobytes(), "cannot be read"),
        ("raw.mha", b"28 24 3", b"28 0 3", "size"),
        ("raw.mha", b"NDims = 3", b"NDims = 1000", "strange line"),  # crashes ITK
        ("raw.nrrd", b"kinds: ", b"kinds: " + b"9" * 2000, "strange line"),  # crashes ITK
        (
            "raw.nrrd",
            b"kinds: ",
            b"\0:=" + b"9" * 5000 + b"\nkinds: ",
            "strange line",
        ),  # this, too
    ],
)
def test_false_header_is_refused(files, name, at, content, message):
    path = patch(files / name, at, content)
    refused(path.parent if path.suffix == ".dcm" else path, message)


def test_a_header_that_scales_nothing_is_read(files):
    path, found = files / "raw.mha", sitk.ReadImage(files / "raw.mha")
    patch(path, b"NDims = 3", b"NDims = 3\n%bSlope = 1.0\n%bOffset = 0" % (SCALE, SCALE))
    np.testing.assert_array_equal(
        sitk.GetArrayFromImage(scans.read_image(path)), sitk.GetArrayFromImage(found)
    )


@pytest.mark.parametrize("name", ["short.nii", "raw.nrrd", "raw.mha", "zlib.mha", "apart.raw"])
def test_missing_pixels_are_not_made_up(files, name):
    path = files / name
    path.write_bytes(path.read_bytes()[:-100])
    apart = [files / "apart.mhd", files / "apart.nhdr"]
    for header in apart if name == "apart.raw" else [path]:
        refused(header, "")


def test_long_comments_and_keys_of_nrrd_are_read(files):
    many = b"9" * 2000
    lines = b"#" + many + b"\nkey:=" + many + b"\nkinds: "
    scans.read_image(patch(files / "raw.nrrd", b"kinds: ", lines))


def test_what_follows_the_pixels_does_not_fill_the_memory(files):
    path = files / "short.nii.gz"
    path.write_bytes(gzip.compress((files / "short.nii").read_bytes() + bytes(2**26), 1))
    tracemalloc.start()
    scans.read_image(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 2**23


def test_broken_slice_is_named_and_a_lost_one_is_noticed(files):
    (files / "dicom" / ".hidden.dcm").write_bytes(b"")
    (files / "dicom" / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    assert scans.read_image(files / "dicom").GetSize() == (28, 24, 3)
    shutil.copytree(files / "dicom", files / "broken")
    (files / "broken" / "1.dcm").write_bytes(b"")
    with pytest.raises(DataError, match="broken/1.dcm: cannot be read"):
        scans.read_image(files / "broken")
    shutil.copytree(files / "dicom", files / "apart")
    patch(files / "apart" / "1.dcm", rb"0\0\8", rb"0\0\1")
    refused(files / "apart", "1 to 15 mm apart; expected one step")
    patch(files / "dicom" / "1.dcm", rb"1\0\0\0\1\0", rb"0\1\0\1\0\0")
    refused(files / "dicom", "several orientations")


def test_slices_are_ordered_by_their_positions(files):
    dicom = files / "dicom"
    for old, new in (("0", "x"), ("2", "0"), ("x", "2")):
        (dicom / f"{old}.dcm").rename(dicom / f"{new}.dcm")
    found = scans.read_image(dicom)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), heart(1, shape=(3, 24, 28))[0])
    assert found.GetOrigin() == (0, 0, 0)


def test_a_name_that_is_not_utf8_is_refused(files):  # SimpleITK ends the process
    for name in ("short.nii", "dicom/1.dcm"):
        (files / name).rename((files / name).with_stem("\udcff"))
    (files / "dicom" / "0.dcm").rename(files / "dicom" / "\udcfe.dcm")
    (files / "dicom" / "2.dcm").unlink()
    refused(files / "\udcff.nii", "")
    refused(files / "dicom", "")
    with pytest.raises(DataError):
        scans.read_header(files / "dicom")
    refused((files / "dicom").rename(files / "\udcff"), "")


@pytest.mark.parametrize(
    "change",
    [
        *({"channel_names": value} for value in (5, 0.5, None, "T")),
        *({"file_ending": value} for value in ("", "/../", "**", "[", ".nii/../x", None, 1)),
        *(
            {"labels": {"background": 0, "a": value}}
            for value in (0.5, 1e999, True, [1], {}, 0)
        ),
        {"labels": {"background": 0, "\ud800": 1}},
        {"labels": {}},
    ],
)
def test_false_dataset_json_is_refused(files, change):
    path = files / "nnunet" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=f"^{re.escape(str(path))}: "):
        datasets.find("nnunet", files / "nnunet")


def test_deeply_nested_dataset_json_is_refused(files):
    (files / "nnunet" / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="dataset.json: expected JSON"):
        datasets.find("nnunet", files / "nnunet")


def test_frame_number_too_long_for_a_file_name_is_refused(files):
    patch(files / "acdc/training/patient001/Info.cfg", b"ED: 1", b"ED: " + b"1" * 300)
    with pytest.raises(DataError, match="the image of patient001_ED is missing"):
        datasets.find("acdc", files / "acdc")


ODD = ("a b", "ü", "日本 😀", "x..", "a,b", 'say "a"', "two\nlines", "-x", "%s", "sub..dir/c")


def test_odd_names_stay_in_the_output_folder_and_whole_in_the_table(files, tmp_path):
    import tensorflow as tf

    from bwcr_tf.data import preprocess
    from bwcr_tf.predict import scan_folder, segmentation

    source, output = tmp_path / "in", tmp_path / "out"
    names = (*ODD, "link")
    for name in ODD:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(files / "short.nii.gz", source / f"{name}.nii.gz")
    (source / "link.nii.gz").symlink_to(files / "short.nii.gz")
    for hidden in ("...nii.gz", "..hidden/a.nii.gz", ".a.nii.gz"):
        (source / hidden).parent.mkdir(exist_ok=True)
        shutil.copy(files / "short.nii.gz", source / hidden)
    scans = scan_folder.find_scans(source, output)
    assert set(scans) == set(names)

    def signature(image):
        return {"probabilities": tf.fill([*image.shape[:3], 2], 0.5)}

    model = segmentation.Model(("a",), preprocess.Settings(2, 32), signature, "0", {}, (1, 0))
    before = set(tmp_path.rglob("*"))
    assert not segmentation.predict_all(scans, model, output)
    for path in set(tmp_path.rglob("*")) - before:
        assert output.resolve() in (path.resolve(), *path.resolve().parents)
    for name in names:
        assert (output / f"{name}_labels.nii.gz").is_file()
    with open(output / "volumes.csv", newline="", encoding="utf-8") as table:
        assert [row["scan"] for row in csv.DictReader(table)] == list(scans)


@pytest.mark.parametrize("name", ["...nii.gz", "..hidden.nii.gz", ".nii.gz", "....nii.gz"])
def test_a_scan_named_by_dots_stays_in_the_output_folder(name, tmp_path):
    from bwcr_tf.predict import scan_folder

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).touch()
    (scan,) = scan_folder.find_scans(tmp_path / "in" / name, tmp_path / "out")
    assert (tmp_path / "out" / f"{scan}_labels.nii.gz").resolve().parent == tmp_path / "out"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
