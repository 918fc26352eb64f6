import dataclasses
import json

import numpy as np
import pytest
import SimpleITK as sitk
from conftest import heart, write_image

from bwcr_tf.data import channels, datasets, measured, normalization, preprocess, scans
from bwcr_tf.data.settings import Settings
from bwcr_tf.data.subjects import Volume
from bwcr_tf.system import errors
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder

PLAIN = Settings(2, 48, 1.5, n4_shrink=0)
TWO = dataclasses.replace(PLAIN, windows=(None, None))


@pytest.fixture
def root(tmp_path):
    """Three cases of nnU-Net's layout; T2 is the heart of another seed."""
    names = {"0": "T1", "1": "T2"}
    info = {"channel_names": names, "labels": {"background": 0, "a": 1}}
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    for seed, case in enumerate("abc"):
        image, label_map = heart(seed)
        write_image(tmp_path / f"imagesTr/{case}_0000.nii.gz", image)
        write_image(tmp_path / f"imagesTr/{case}_0001.nii.gz", heart(seed + 10)[0])
        label_map = (label_map > 0).astype(np.uint8)
        write_image(tmp_path / f"labelsTr/{case}.nii.gz", label_map)
    return tmp_path


def test_channels_are_read_in_order_and_each_is_normalized_by_itself(root):
    collection = datasets.find("nnunet", root)
    assert collection.channels == ("T1", "T2") and len(collection.pool) == 3
    volume = collection.pool[1].volumes[0]
    assert [path.name for path in volume.images] == ["b_0000.nii.gz", "b_0001.nii.gz"]
    assert set(volume.images) < set(volume.files)
    found = preprocess.preprocess(volume, TWO).image
    for k, path in enumerate(volume.images):
        alone = preprocess.preprocess(Volume("b", path, volume.label), PLAIN).image
        np.testing.assert_array_equal(found[..., k], alone[..., 0])
    assert np.abs(found[..., 0] - found[..., 1]).max() > 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "b_0001.nii.gz").unlink(),
            r"b_0001.nii.gz: the image of b is missing; found 0000, expected 0000 \(T1\), 0001 ",
        ),
        (
            lambda folder: (folder / "b_0000.nii.gz").unlink(),
            r"b_0000.nii.gz: the image of b is missing; found 0001",
        ),
        (
            lambda folder: (folder / "b_0001.nii.gz").rename(folder / "b_0002.nii.gz"),
            r"b_0002.nii.gz: channel 0002 of b; expected 0000 \(T1\), 0001 \(T2\)",
        ),
    ],
)
def test_a_case_of_other_channels_is_refused(change, message, root):
    change(root / "imagesTr")
    with pytest.raises(DataError, match=message):
        datasets.find("nnunet", root)


def test_a_second_channel_is_refused_where_dataset_json_has_one(root):
    info = json.loads((root / "dataset.json").read_text()) | {"channel_names": {"0": "T1"}}
    (root / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(
        DataError, match=r"a_0001.nii.gz: channel 0001 of a; expected 0000 \(T1"
    ):
        datasets.find("nnunet", root)


def ramp(path, size, spacing, origin):
    """A scan whose pixels are x + 10 y + 100 z of their place in mm."""
    z, y, x = np.indices(size).astype(np.float32)
    x, y, z = (i * mm + start for i, mm, start in zip((x, y, z), spacing, origin, strict=True))
    return write_image(path, x + 10 * y + 100 * z, spacing, origin)


def test_a_channel_on_another_grid_is_placed_by_position(tmp_path):
    first = ramp(tmp_path / "a_0000.nii.gz", (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 0))
    other = ramp(tmp_path / "a_0001.nii.gz", (12, 90, 100), (1.0, 1.0, 4.0), (-10, -6, -4))
    image, placed = channels.read([first, other])
    found, expected = map(sitk.GetArrayFromImage, (placed, image))
    assert measured.padding(placed) is None
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_what_another_channel_does_not_cover_is_padding_in_it(tmp_path):
    first = ramp(tmp_path / "a_0000.nii.gz", (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 0))
    other = ramp(tmp_path / "a_0001.nii.gz", (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 16))
    with errors.warnings_heard() as warnings:
        placed = channels.read([first, other])[1]
    missing = np.isnan(sitk.GetArrayFromImage(measured.with_nan(placed)))
    assert missing[:2].all() and not missing[2:].any() and not warnings
    scaled = sitk.GetArrayFromImage(normalization.normalize(placed, PLAIN))
    values = sitk.GetArrayFromImage(scans.read_image(other))[:3]
    low, high = np.percentile(values, (2, 98))
    np.testing.assert_allclose(
        scaled[2:], np.clip((values - low) / (high - low), 0, 1), atol=1e-4
    )
    assert not scaled[:2].any()
    with errors.warnings_heard() as warnings:
        channels.read([first, ramp(other, (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 24))])
    assert [text.split(": ", 1)[1][:10] for text in warnings] == ["covers 40%"]


def test_padding_of_a_channel_on_another_grid_stays_padding(tmp_path):
    first = ramp(tmp_path / "a_0000.nii.gz", (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 0))
    pixels = heart(1, (5, 80, 88))[0].astype(np.float32)
    pixels[:, :21] = np.nan  # up to y = 15 mm
    other = write_image(tmp_path / "a_0001.nii.gz", pixels, (0.75, 0.75, 8.0))
    placed = channels.read([first, other])[1]
    missing = np.isnan(sitk.GetArrayFromImage(measured.with_nan(placed)))
    assert missing[:, :11].all() and not missing[:, 11:].any()


def test_a_channel_beside_the_first_is_refused(tmp_path):
    first = ramp(tmp_path / "a_0000.nii.gz", (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 0))
    other = ramp(tmp_path / "a_0001.nii.gz", (5, 40, 44), (1.5, 1.5, 8.0), (0, 0, 1000))
    message = r"a_0001.nii.gz: does not overlap the first channel, .*a_0000.nii.gz; origin "
    with pytest.raises(DataError, match=message):
        channels.read([first, other])


def test_ct_is_clipped_to_the_window_of_the_training_foreground(tmp_path):
    """nnU-Net's percentiles; a volume counts once, however much foreground it has."""
    rng, volumes, pooled = np.random.default_rng(0), [], []
    for number, (count, mean) in enumerate([(8, 0), (24, 300)]):
        image = rng.normal(-900, 20, (3, 40, 44)).astype(np.float32)
        label_map = np.zeros(image.shape, np.uint8)
        label_map[:, 4:36, :count] = 1
        label_map[:, :, 30:] = 2  # to ignore: not of the foreground
        image[label_map == 1] += rng.normal(900 + mean, 50, 3 * 32 * count)
        path = write_image(tmp_path / f"{number}.nii.gz", image)
        label = write_image(tmp_path / f"{number}_label.nii.gz", label_map)
        volumes.append(Volume(str(number), path, label, ignore=True))
        pooled.append(rng.choice(image[label_map == 1], 200_000))
    (window,) = channels.windows(("ct",), volumes, 2)
    np.testing.assert_allclose(window, np.percentile(pooled, (0.5, 99.5)), atol=5)
    x = np.concatenate(pooled)
    clipped = np.clip(image, *window)
    z_scored = (clipped - x.mean()) / x.std()  # as nnU-Net has it; then to [0, 1]
    low, high = (np.array(window) - x.mean()) / x.std()
    settings = dataclasses.replace(PLAIN, windows=(window,), n4_shrink=2)  # which CT is spared
    found = normalization.normalize(scans.read_image(path), settings, window)
    expected = (z_scored - low) / (high - low)
    np.testing.assert_allclose(sitk.GetArrayFromImage(found), expected, atol=1e-4)


def test_each_channel_has_its_own_window(root):
    images = channels.read(datasets.find("nnunet", root).pool[1].volumes[0].images)
    settings = dataclasses.replace(PLAIN, windows=(None, (0.0, 400.0)))
    found = map(sitk.GetArrayFromImage, preprocess.normalized(images, settings))
    first, second = map(sitk.GetArrayFromImage, images)
    low, high = np.percentile(first, (2, 98))
    expected = np.clip((first - low) / (high - low), 0, 1), np.clip(second / 400, 0, 1)
    np.testing.assert_allclose(list(found), expected, atol=1e-5)


def test_only_channels_that_are_called_ct_have_a_window(root):
    volumes = [subject.volumes[0] for subject in datasets.find("nnunet", root).pool]
    assert channels.windows(("T1", "MR CT-like"), volumes, 2) == (None, None)
    first, second = channels.windows(("T1", "CT"), volumes, 2)
    values = [
        sitk.GetArrayFromImage(scans.read_image(v.images[1]))[
            sitk.GetArrayFromImage(scans.read_label(v.label, scans.read_image(v.image), 2)) > 0
        ]
        for v in volumes
    ]
    alike = [np.quantile(some, np.linspace(0, 1, 10_000)) for some in values]
    assert first is None
    np.testing.assert_allclose(second, np.percentile(alike, (0.5, 99.5)), rtol=0.02)


def test_ct_without_labelled_foreground_is_refused(tmp_path):
    path = write_image(tmp_path / "a.nii.gz", heart(1)[0])
    label = write_image(tmp_path / "l.nii.gz", np.zeros((3, 40, 44), np.uint8))
    with pytest.raises(DataError, match=r"channel 0000 \(CT\): no training foreground"):
        channels.windows(("CT",), [Volume("a", path, label)], 2)


def test_split_json_keeps_channels_and_windows_and_refuses_others(root, tmp_path):
    settings = dataclasses.replace(PLAIN, windows=(None, (-100.5, 240.0)))
    spec = run_folder.RunSpec(
        "nnunet", ("a",), settings, ("a",), ("b",), ("c",), channels=("T1", "T2")
    )
    run_folder.claim(tmp_path / "run", {"method": "da"}, spec)
    run_folder.claim(tmp_path / "run", {"method": "da"}, spec)
    assert run_folder.load_spec(tmp_path / "run") == spec
    assert json.loads((tmp_path / "run/split.json").read_text())["channels"] == ["T1", "T2"]
    assert [subject.name for subject in spec.subjects("test", root)] == ["c"]
    for names, told in ((("T2", "T1"), "T2, T1"), ((), "one")):
        other = dataclasses.replace(spec, channels=names)
        with pytest.raises(DataError, match=f"channels T1, T2; expected {told}, the run's"):
            other.subjects("test", root)


def test_a_run_of_an_earlier_version_resumes_with_one_channel_of_any_name(tmp_path):
    spec = run_folder.RunSpec("nnunet", ("a",), PLAIN, ("a",), ("b",), ("c",), channels=("T1",))
    run_folder.claim(tmp_path, {"method": "da"}, spec)
    split = json.loads((tmp_path / "split.json").read_text())
    del split["channels"], split["settings"]["windows"], split["digest"]
    (tmp_path / "split.json").write_text(json.dumps(split))
    run_folder.claim(tmp_path, {"method": "da"}, spec)
    for settings in (TWO, dataclasses.replace(PLAIN, windows=((-100, 240),))):
        with pytest.raises(DataError, match="split.json differs"):
            run_folder.claim(
                tmp_path, {"method": "da"}, dataclasses.replace(spec, settings=settings)
            )
