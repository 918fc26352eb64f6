import configparser
import time

import numpy as np
import pytest
import SimpleITK as sitk

from bwcr_tf.data import datasets
from bwcr_tf.phantom import anatomy, annotators, tissue
from bwcr_tf.phantom import dataset as phantom
from bwcr_tf.system.errors import DataError

SUBJECTS = range(1, 6)
PIXEL = np.zeros((1, 1)), np.zeros((1, 1))  # a grid of one


@pytest.fixture(scope="module")
def volumes():
    """{(number, frame): Volume} of the first subjects."""
    return {(n, f): phantom.make_volume(0, n, f) for n in SUBJECTS for f in phantom.FRAMES}


def scene(number):
    """Traits, `tissue.Scene` and `annotators.doubt_mm` of a subject's ED."""
    traits = anatomy.draw_traits(np.random.default_rng([0, number]), phantom.group_of(number))
    traits = anatomy.in_frame(traits, "ED")
    found = tissue.make_scene(traits, np.random.default_rng(number))
    return traits, found, annotators.doubt_mm(traits, found)


def read(path):
    image = sitk.ReadImage(str(path))
    return image, sitk.GetArrayFromImage(image)


def everyone_draws(probabilities):
    """Slices [Z] well below the base; nearer to it, all pixels hang on one decision."""
    return 1 - probabilities[..., 0].min(axis=(1, 2)) > 0.9999


def entries(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_same_seed_gives_the_same_arrays(volumes):
    for before, again in zip(volumes[2, "ES"], phantom.make_volume(0, 2, "ES"), strict=True):
        np.testing.assert_array_equal(before, again)


def test_subjects_frames_and_seeds_differ(volumes):
    one = volumes[1, "ED"]
    assert len({v.spacing_mm for v in volumes.values()}) == len(SUBJECTS)
    assert len({v.image.shape for v in volumes.values()}) > len(SUBJECTS) / 2
    assert volumes[1, "ES"].image.shape == one.image.shape
    assert (volumes[1, "ES"].image != one.image).mean() > 0.5
    assert phantom.make_volume(1, 1, "ED").spacing_mm != one.spacing_mm


def test_volumes_have_the_documented_types_and_sizes(volumes):
    for image, label_map, probabilities, spacing_mm in volumes.values():
        assert (image.dtype, label_map.dtype) == (np.int16, np.uint8)
        assert image.shape == label_map.shape == probabilities.shape[:3]
        assert set(np.unique(label_map)) == {0, 1, 2, 3}
        assert 6 <= image.shape[0] <= 10 and all(128 <= n <= 160 for n in image.shape[1:])
        assert 1.4 <= spacing_mm[0] == spacing_mm[1] <= 1.7 and 8 <= spacing_mm[2] <= 10


def test_probabilities_are_a_distribution(volumes):
    for volume in volumes.values():
        p = volume.probabilities
        assert p.dtype == np.float32 and p.shape[-1] == 4
        assert p.min() >= 0 and p.max() <= 1
        np.testing.assert_array_equal(p.sum(-1), 1)
        assert 0.01 < (p.max(-1) < 0.9).mean() < 0.2  # some doubt, and not everywhere


def test_probabilities_are_the_mean_over_annotators():
    _, found, sds_mm = scene(1)
    crop = np.s_[:, 25:-25:2, 25:-25:2]
    contours = [
        c._replace(excess_mm=c.excess_mm[crop], theta=c.theta[crop]) for c in found.contours
    ]
    found = found._replace(contours=contours)
    p = annotators.class_probabilities(found, sds_mm)
    rng, count = np.random.default_rng(0), 300
    counts = np.zeros_like(p)
    for _ in range(count):
        counts += annotators.draw_label_map(rng, found, sds_mm)[..., None] == np.arange(4)
    # Annotators are independent, so the counts are binomial.
    score = (counts - count * p) / np.sqrt(count * p * (1 - p) + 1e-9)
    ambiguous = (p > 0.05) & (p < 0.95)
    assert np.abs(score[ambiguous]).max() < 5.5
    score = score[ambiguous & everyone_draws(p)[:, None, None, None]]
    assert score.size > 1000
    assert abs(score.mean()) < 0.1
    assert 0.8 < np.mean(score**2) < 1.2


def test_the_drawn_label_is_calibrated(volumes):
    """Pixels of a volume share one annotator: volumes, not pixels, are the sample."""
    gaps = np.zeros((len(volumes), 4, 5))  # drawn less expected pixels, by class and p
    sizes = np.zeros_like(gaps)
    for row, volume in enumerate(volumes.values()):
        certain = everyone_draws(volume.probabilities)
        p = volume.probabilities[certain]
        drawn = volume.label_map[certain][..., None] == np.arange(4)
        for fifth in range(5):
            inside = (p > max(fifth / 5, 0.01)) & (p <= min((fifth + 1) / 5, 0.99))
            gaps[row, :, fifth] = ((drawn - p) * inside).sum((0, 1, 2))
            sizes[row, :, fifth] = inside.sum((0, 1, 2))
    assert sizes.sum(0).min() > 500
    gap = gaps.sum(0) / sizes.sum(0)
    error = np.sqrt((gaps**2).sum(0)) / sizes.sum(0)
    assert np.all(np.abs(gap) < np.minimum(0.15, 3 * error))


def circle(levels, radius_mm=30.0):
    radii_mm = np.full((levels, len(anatomy.ANGLES)), radius_mm)
    return anatomy.outline(np.zeros((levels, 2)), radii_mm, PIXEL)


def test_annotators_agree_on_contrast_and_stray_without():
    y, x = np.mgrid[-40:41, -40:41] * 1.5
    half_disc = ((np.hypot(x, y) < 30) & (x > 0))[None].astype(float)  # no left edge
    outline = circle(1)
    sd_mm = annotators.contour_sd_mm(half_disc, outline, 1.5, 1.0)[0]
    right, left = (np.abs(anatomy.ANGLES) < 1), (np.abs(anatomy.ANGLES) > 2.2)
    np.testing.assert_allclose(sd_mm[right], annotators.SHARP_MM, atol=0.1)
    np.testing.assert_allclose(sd_mm[left], annotators.SHARP_MM + annotators.VAGUE_MM, atol=0.1)


def test_ambiguity_is_larger_where_tissue_hides_the_right_ventricle():
    hidden, seen = [], []
    for number in (1, 2, 4):
        traits, found, (_, _, rv_sd_mm) = scene(number)
        opacity = tissue.look_alike(traits["hidden"][0], found.depth_mm)
        away = np.cos(anatomy.ANGLES - traits["rotation"]) > 0.3  # the free wall
        upper = (found.depth_mm < 40)[:, None] & away
        hidden.extend(rv_sd_mm[upper & (opacity > 0.7)])
        seen.extend(rv_sd_mm[upper & (opacity < 0.1)])
    assert np.mean(hidden) > 1.3 * np.mean(seen)


def test_an_annotators_hand_has_unit_variance_and_repeats_its_length():
    outline = circle(3)
    rng = np.random.default_rng(0)
    strays = np.stack([annotators.hand(rng, outline) for _ in range(400)])
    np.testing.assert_allclose(strays.std(axis=(0, 2)), 1, atol=0.05)
    step = round(annotators.CORRELATION_MM / 30 * len(anatomy.ANGLES) / (2 * np.pi))
    along = (strays * np.roll(strays, step, axis=2)).mean()
    assert along == pytest.approx(np.exp(-0.5), abs=0.05)
    assert (strays[:, 0] * strays[:, 1]).mean() == pytest.approx(0.4, abs=0.06)


def test_systole_has_smaller_cavities_of_plausible_size(volumes):
    for number in SUBJECTS:
        voxel_ml = np.prod(volumes[number, "ED"].spacing_mm) / 1000
        diastole, systole = (
            volumes[number, frame].probabilities.sum((0, 1, 2)) * voxel_ml
            for frame in ("ED", "ES")
        )
        assert systole[1] < diastole[1] and systole[3] < diastole[3]
        assert np.all((diastole[1:] > 40) & (diastole[1:] < 400))


def test_anatomy_follows_the_group():
    middle, endo, wall, rv = np.array([20.0]), {}, {}, {}
    for group in anatomy.GROUPS:
        traits = anatomy.in_frame(anatomy.draw_traits(np.random.default_rng(0), group), "ED")
        outlines = anatomy.outlines(traits, middle, np.zeros((1, 2)), PIXEL)
        endo[group], epi, rv[group] = (o.radius_mm[0] for o in outlines)
        wall[group] = epi - endo[group]
    assert max(endo, key=lambda g: endo[g].mean()) == "DCM"
    assert max(wall, key=lambda g: wall[g].mean()) == "HCM"
    assert max(rv, key=lambda g: rv[g].mean()) == "RV"
    assert min(wall, key=lambda g: wall[g].min() / wall[g].max()) == "MINF"


def test_the_five_groups_are_evenly_spread():
    groups = [phantom.group_of(n) for n in range(1, 46)]
    assert {groups.count(g) for g in ("DCM", "HCM", "MINF", "NOR", "RV")} == {9}


def test_folders_have_the_acdc_layout_and_equal_geometry(tmp_path, volumes):
    done = []
    directory = tmp_path / "new" / "phantom"
    assert phantom.write(directory, 1, 1, advance=lambda: done.append(1))
    assert len(done) == 2
    assert entries(directory.parent) == ["phantom"]
    assert entries(directory) == ["testing", "training"]
    names = ["frame01", "frame01_gt", "frame12", "frame12_gt"]
    expected = ["Info.cfg", *(f"patient001_{name}.nii.gz" for name in names)]
    assert entries(directory / "training" / "patient001") == expected
    folder = directory / "testing" / "patient002"
    info = configparser.ConfigParser()
    info.read_string("[info]\n" + (folder / "Info.cfg").read_text())
    assert dict(info["info"]) == {"ed": "1", "es": "12", "group": "HCM"}
    for frame, index in phantom.FRAMES.items():
        stem = f"patient002_frame{index:02d}"
        suffixes = ("", "_gt", "_probabilities")
        images, arrays = zip(
            *(read(folder / f"{stem}{s}.nii.gz") for s in suffixes), strict=True
        )
        for array, part in zip(arrays, volumes[2, frame], strict=False):
            assert array.dtype == part.dtype
            np.testing.assert_array_equal(array, part)
        for image in images:
            assert image.GetSize() == images[0].GetSize()
            assert image.GetSpacing() == images[0].GetSpacing()
            assert image.GetOrigin() == images[0].GetOrigin()
            assert image.GetDirection() == images[0].GetDirection()
        np.testing.assert_allclose(images[0].GetSpacing(), volumes[2, frame].spacing_mm, 1e-6)


@pytest.fixture
def instant(monkeypatch, volumes):
    """Every subject is the first one, so that writing takes no time."""
    monkeypatch.setattr(phantom, "make_volume", lambda seed, number, frame: volumes[1, frame])


def test_a_failure_midway_leaves_nothing(tmp_path, monkeypatch, volumes):
    def make_volume(seed, number, frame):
        if number == 2:
            raise RuntimeError("disk full")
        return volumes[1, frame]

    monkeypatch.setattr(phantom, "make_volume", make_volume)
    with pytest.raises(RuntimeError, match="disk full"):
        phantom.write(tmp_path / "phantom", 2, 1)
    assert entries(tmp_path) == []


def test_an_interruption_stops_the_work_and_leaves_nothing(tmp_path, monkeypatch):
    made = []

    def write_subject(folder, *_):
        folder.mkdir(parents=True)
        made.append(folder)
        time.sleep(0.01)

    def advance():
        (scratch,) = entries(tmp_path)  # beside the target, so that a rename suffices
        assert scratch != "phantom"
        raise KeyboardInterrupt

    monkeypatch.setattr(phantom, "write_subject", write_subject)
    with pytest.raises(KeyboardInterrupt):
        phantom.write(tmp_path / "phantom", 40, 0, advance=advance)
    assert entries(tmp_path) == []
    assert len(made) < 20


def test_the_slower_of_two_writers_discards_its_own(tmp_path, instant):
    directory = tmp_path / "phantom"

    def other_process():
        directory.mkdir(exist_ok=True)
        (directory / "theirs").touch()

    assert not phantom.write(directory, 1, 0, advance=other_process)
    assert entries(tmp_path) == ["phantom"] and entries(directory) == ["theirs"]
    assert not phantom.write(directory, 1, 0)
    assert entries(directory) == ["theirs"]


def test_an_empty_folder_is_filled(tmp_path, instant):
    (tmp_path / "phantom").mkdir()
    assert phantom.write(tmp_path / "phantom", 1, 0)
    assert entries(tmp_path / "phantom") == ["training"]


def test_a_file_of_its_name_is_left_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom, "write_subject", None)
    (tmp_path / "phantom").write_text("notes")
    assert not phantom.write(tmp_path / "phantom", 1, 0)
    with pytest.raises(DataError, match="phantom: no phantom data here"):
        datasets.find("phantom", tmp_path / "phantom")
    assert (tmp_path / "phantom").read_text() == "notes"
