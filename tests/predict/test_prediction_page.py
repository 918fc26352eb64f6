import dataclasses
import itertools
import json
import math
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from conftest import heart, write_image

from bwcr_tf.data import preprocess
from bwcr_tf.predict import page, segmentation, volumetry
from bwcr_tf.predict.thumbnails import Thumbnail
from bwcr_tf.system.errors import DataError

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CLASSES = ("LV", "LV_wall")
NASTY = 'a/b <i>"é"&\n\u2028x'


def thumbnail(number):
    return Thumbnail(number, (4, 2), "data:,a", "data:,b", {(1, 0.5): "M0 0l1 1 2-1"})


def article(name, score, warnings=()):
    row = {"scan": name, "LV_ml": 12.345, "LV_wall_ml": 6.0, "LV_wall_low_95": 5.04, "x": 1.0}
    return page.article(name, name, score, CLASSES, row, [thumbnail(1)], warnings)


def order(output):
    return re.findall(
        '<article data-scan="([^"]*)"', (output / "index.html").read_text("utf-8")
    )


def test_uncertainty_is_the_mean_entropy_of_the_voxels_that_may_be_foreground():
    p = np.array([[0.5, 0.5, 0], [0.2, 0.4, 0.4], [0.95, 0.05, 0], [0, 1, 0]], np.float32)
    expected = (math.log(2) + 0.2 * math.log(5) + 0.8 * math.log(2.5)) / 3  # not the third
    assert page.uncertainty(p.reshape(1, 2, 2, 3)) == pytest.approx(expected, rel=1e-6)
    assert page.uncertainty(p[2].reshape(1, 1, 1, 3)) == math.inf


def test_structures_that_are_nowhere_the_most_likely_are_warned_of():
    p = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.5]]).reshape(1, 1, 2, 3)
    arrays = p, p[..., [0, 2, 1]], np.eye(3).reshape(1, 1, 3, 3)
    rows = [volumetry.of_scan(array, 1e-4, CLASSES) for array in arrays]
    told = [page.missing_structures(row, CLASSES) for row in rows]
    assert told == ["not found: LV", "not found: LV_wall", ""]


def test_scans_that_need_a_person_come_first_and_earlier_ones_stay(tmp_path):
    page.write(tmp_path, {"a": article("a", 0.1), "b": article("b", 0.3)}, "m")
    articles = page.read(tmp_path, "m")
    articles |= {"c": article("c", math.inf), "b": article("b", 0.05), "d": article("d", 0.2)}
    page.write(tmp_path, articles, "m")
    assert order(tmp_path) == ["c", "d", "a", "b"]


def test_names_and_warnings_are_text_whatever_they_hold(tmp_path):
    page.write(tmp_path, {NASTY: article(NASTY, 0.1, ["<script>\n"])}, "m")
    found = page.read(tmp_path, "m")
    assert list(found) == [NASTY]
    assert not any(part in found[NASTY] for part in ("<i>", "<script>", "\n"))


def test_volumes_are_shown_by_structure_whatever_their_columns():
    found = article("a", 0.1)
    assert re.findall("<th>([^<]*)</th>", found) == ["", "ml", "low 95"]
    rows = re.findall(r'<tr><th style="[^"]*">(.*?)</th>(.*?)</tr>', found)
    assert rows == [("LV", "<td>12.3</td><td></td>"), ("LV_wall", "<td>6</td><td>5.04</td>")]


def test_a_page_of_another_origin_is_not_overwritten(tmp_path):
    (tmp_path / "index.html").write_text("<title>mine</title>")
    with pytest.raises(DataError, match="index.html: not of this command"):
        page.read(tmp_path, "m")


@pytest.fixture(scope="module")
def model(intensity_model):
    return segmentation.load(intensity_model(preprocess.Settings(4, 48, 1.5, n4_shrink=0)))


@pytest.fixture(scope="module")
def predicted(model, tmp_path_factory):
    """The output folder of three hearts: one plain, one in noise, one without LV where the
    network looks (72 mm)."""
    folder = tmp_path_factory.mktemp("page")
    plain, label_map = heart(1, (12, 40, 44))
    noise = np.random.default_rng(0).normal(0, 40, plain.shape)
    without = np.pad(np.where(label_map == 3, 200, plain), ((0, 0), (40, 40), (40, 40)), "wrap")
    without[:, :20, :20] = 800
    without[:, :30, 30:] = without[:, -30:] = 200
    model = dataclasses.replace(model, class_frequencies=(1, 0, 0, 0))
    scans = {"scan 10": plain + noise, "scan 2": plain, "scan 1": without}
    for name, array in scans.items():
        path = write_image(folder / "in" / f"{name}.nii.gz", array.astype(np.int16))
        assert not segmentation.predict_all({name: path}, model, folder / "out", max_tiles=1)
    return folder / "out"


def test_page_needs_no_other_file_and_no_network(predicted):
    text = (predicted / "index.html").read_text("utf-8")
    assert set(order(predicted)) == {"scan 1", "scan 2", "scan 10"}
    sources = re.findall(r'(?:src|href|url\()="?([^">]*)', text)
    assert sources and all(source.startswith("data:image/webp;base64,") for source in sources)
    assert len(text) < 50_000 * 3
    assert text.count('<p class="warning">not found: LV<') == 1


def test_interrupted_prediction_leaves_the_page_of_what_was_done(model, tmp_path, monkeypatch):
    paths = {
        name: write_image(tmp_path / "in" / f"{name}.nii.gz", heart(1)[0])
        for name in ("a", "b")
    }
    predict, calls = segmentation.predict_oriented, itertools.count()

    def interrupted(*arguments):
        if next(calls):
            raise KeyboardInterrupt
        return predict(*arguments)

    monkeypatch.setattr(segmentation, "predict_oriented", interrupted)
    with pytest.raises(KeyboardInterrupt):
        segmentation.predict_all(paths, model, tmp_path / "out")
    assert order(tmp_path / "out") == ["a"]


CLICKS = """
<script>addEventListener("load", () => {
  const log = [], scans = () => [...document.querySelectorAll("article")].map(a => a.dataset.scan);
  const click = element => {  // what is in its middle, as a finger would
    element.scrollIntoView({block: "center"});
    const box = element.getBoundingClientRect();
    document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2).click();
  };
  const slices = () => [...document.querySelector("article").querySelectorAll("figure")]
    .filter(figure => figure.offsetParent).map(figure => figure.offsetWidth);
  log.push(scans());
  click(document.querySelector("[data-sort=scan]"));
  log.push(scans());
  click(document.querySelector("[data-sort=uncertainty]"));
  log.push(scans(), slices());
  click(document.querySelector("h2 button"));
  log.push(slices(), document.querySelector("h2 button").ariaExpanded);
  click(document.querySelector("h2 button"));
  log.push(slices());
  const contour = document.querySelector("figure path");
  log.push(contour.checkVisibility());
  click(document.querySelector("#contours"));
  log.push(contour.checkVisibility());
  log.push([...document.images].every(image => image.naturalWidth > 20));
  log.push(document.documentElement.scrollWidth <= innerWidth, innerWidth);
  document.title = JSON.stringify(log);
});</script>
"""


def clicked(path, width):
    """What CLICKS saw on a page, in a window of `width` pixels."""
    copy = path.with_name("clicked.html")
    copy.write_text(path.read_text("utf-8") + CLICKS, "utf-8")
    command = [
        BROWSER,
        "--headless",
        "--disable-gpu",
        f"--window-size={width},844",
        "--dump-dom",
    ]
    command += ["--no-sandbox"] * (os.getuid() == 0)
    command += [f"--user-data-dir={path.parent / 'profile'}", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(re.search("<title>(.*?)</title>", done.stdout)[1])


@pytest.mark.skipif(not BROWSER, reason="no Chromium here")
@pytest.mark.parametrize("width", [1366, 500])
def test_click_through_in_a_browser(width, predicted):
    first, by_name, again, slices, opened, state, closed, *rest = clicked(
        predicted / "index.html", width
    )
    assert (
        first == again and first[-1] == "scan 2" and by_name == ["scan 1", "scan 2", "scan 10"]
    )
    assert len(slices) == 5 == len(closed)
    figures = (
        (predicted / "index.html").read_text("utf-8").split("<article")[1].count("<figure")
    )
    assert len(opened) == figures > 5 and state == "true"
    assert min(opened) > 1.4 * max(slices)
    assert rest == [True, False, True, True, width]
