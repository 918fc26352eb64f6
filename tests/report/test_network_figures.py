import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import write_image
from report_runs import kept_figures

from bwcr_tf import unet
from bwcr_tf.data.preprocess import Settings
from bwcr_tf.export import ensemble
from bwcr_tf.report import network_figures
from bwcr_tf.training.run_folder import RunSpec

# Keras 3.15, NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")


@pytest.fixture
def drawn(monkeypatch):
    yield from kept_figures(monkeypatch, network_figures)


def test_figure_4_is_drawn_by_the_networks_of_the_runs(drawn, tmp_path):
    unet.save(unet.build_unet((32, 32), 4, width=4), tmp_path / "best.keras")
    spec = SimpleNamespace(
        classes=("RV", "MYO", "LV"), settings=Settings(4, 32, 8.0, n4_shrink=0)
    )
    run = SimpleNamespace(
        dataset="phantom", ntr=3, number="1", scale=1, label="DA", folder=tmp_path, spec=spec,
        flags={},
    )  # fmt: skip
    (figure,) = network_figures.confidence_maps(tmp_path, [run], tmp_path)
    assert figure.path == tmp_path / "confidence_maps.png" and "earlier" not in figure.caption
    image, truth, predicted = (axis.images[0].get_array() for axis in drawn[0].axes[:3])
    assert image.shape == truth.shape == predicted.shape == (32, 32)
    assert 0.5 < truth.max() <= 1 and 0 < predicted.min() < predicted.max() < 1


def test_networks_of_other_preprocessing_than_the_first_are_left_out(tmp_path):
    specs = [SimpleNamespace(settings=Settings(4, size)) for size in (32, 64, 32)]
    found = [SimpleNamespace(spec=spec, folder=tmp_path) for spec in specs]
    (tmp_path / "best.keras").touch()
    drawn = []
    (figure,) = network_figures._figure(
        tmp_path / "a.png", tmp_path, "Shown.", found, lambda some, path: drawn.extend(some)
    )
    assert drawn == [found[0], found[2]]
    assert figure.caption == "Shown. Networks of other preprocessing are left out."


def annotated(tmp_path, names, seed=0):
    """A run of DA, its network drawn by `seed`, on cases that two annotators outline.

    With a `seed`, it is an ensemble.
    """
    folder = tmp_path / f"run{seed}"
    folder.mkdir()
    network = unet.build_unet((32, 32), 2, width=4)
    unet.save(ensemble.average([network] * (1 + seed)), folder / "best.keras")
    spec = RunSpec("annotators", ("class1",), Settings(2, 32, 1.5, n4_shrink=0), (), (), names)
    flags = {"data_dir": str(tmp_path / "data"), "dataset": "annotators"}
    return SimpleNamespace(
        dataset="data", ntr=3, number="1", label=f"DA {seed}", folder=folder, spec=spec,
        flags=flags,
    )  # fmt: skip


def write_cases(root, names):
    """Cases of two slices, the second marked: 8 x 8 pixels by both annotators, 8 by one."""
    for part in ("training_set", "testing_set"):
        for name in names:
            labels = np.zeros((2, 2, 32, 32), np.uint8)
            labels[:, 1, 12:20, 12:20] = 1
            labels[0, 1, 20, 12:20] = 1
            folder = root / part / (name if part == "testing_set" else f"other-{name}")
            image = np.random.default_rng(0).normal(0, 1, (2, 32, 32)).astype(np.float32)
            write_image(folder / "image.nii.gz", image)
            for k, label in enumerate(labels, 1):
                write_image(folder / f"annotation_{k}.nii.gz", label)
    (root / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "class1": 1}}))


def test_test_subjects_are_shown_as_annotators_and_networks_see_them(drawn, tmp_path):
    names = tuple(f"case{i}" for i in range(9))
    write_cases(tmp_path / "data", names)
    methods = {f"DA {k}": [annotated(tmp_path, names, k)] for k in (0, 1)}
    (figure,) = network_figures.annotated_cases(tmp_path, "the setting", methods, tmp_path)
    assert figure.path == tmp_path / "cases_data_ntr3.png"
    assert "the setting" in figure.caption and "LIDC" not in figure.caption
    tiles = [axis.images[0].get_array() for axis in drawn[0].axes[:-1]]
    assert len(tiles) == 4 * (2 + len(methods))
    _, fraction, *predicted = tiles[:4]
    assert fraction.shape == (21, 21)  # nine rows and a margin of six on each side
    assert [np.count_nonzero(fraction == f) for f in (0.5, 1.0)] == [8, 64]
    a, b = (np.asarray(p) for p in predicted)
    assert 0 < a.min() < a.max() < 1 and np.abs(a - b).max() > 1e-3


def test_without_networks_or_data_a_picture_is_that_of_an_earlier_report(tmp_path):
    names = ("LIDC-IDRI-0001", "LIDC-IDRI-0002")
    methods = {"DA": [annotated(tmp_path, names)]}  # no data
    folder, root = tmp_path / "new", tmp_path / "old"
    (root / "figures").mkdir(parents=True)
    folder.mkdir()
    assert network_figures.annotated_cases(folder, "", methods, root) == []
    (root / "figures/cases_data_ntr3.png").write_bytes(b"earlier")
    (figure,) = network_figures.annotated_cases(folder, "", methods, root)
    assert figure.path.read_bytes() == b"earlier"
    assert "Armato" in figure.caption
    assert figure.caption.endswith("CC BY 3.0. Picture of an earlier report.")
