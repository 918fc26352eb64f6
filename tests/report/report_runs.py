"""Folders of scored runs, as evaluate.py leaves them, with scores that a test chooses."""

import json

import matplotlib.pyplot as plt
import numpy as np

from bwcr_tf.data import preprocess
from bwcr_tf.report import scored_runs
from bwcr_tf.training import run_folder

COLUMNS = "subject,volume,class,dice,hd95_mm,ece,ece_all,tace,tace_paper,nll,brier"
BANDS = {"edges": [0, 5], "count": [9, 9, 0], "gap": [0.2, 0.1, None], "ece": [0.3, 0.1, None]}
LEVELS = {"fraction": [0, 0.5, 1], "count": [9, 3, 5], "probability": [0, 0.4, 1]}
LEVELS["error"] = [0, 0.3, 0]
TABLE = {"count": [0, 4, 6], "confidence": [0.0, 2.0, 5.4], "correct": [0, 1, 6]}


def write_run(
    root, method, run, ece, dataset="acdc", scale=1.0, ntr=5, data_dir="d", labels=None,
    test=("a", "b"), **more,
):  # fmt: skip
    """A scored run of subjects a (two volumes) and b; `ece` [3] are the volumes' ECE."""
    folder = root / dataset / f"ntr{ntr}" / method / f"run{run}"
    folder.mkdir(parents=True)
    lines = [COLUMNS]
    volumes = [name for name in ("a_ED", "a_ES", "b_ED") if name[0] in test]
    for volume, value in zip(volumes, ece, strict=True):
        for name, hd95 in ("RV", 3.0), ("LV", 5.0):
            lines.append(f"{volume[0]},{volume},{name},0.8,{hd95},,,0.15,0.01,,")
        lines.append(f"{volume[0]},{volume},all,0.8,,{value},0.02,0.15,0.01,0.3,0.1")
    for table in ("scores", *(["scores_calibrated"] if "scores_calibrated" in more else [])):
        (folder / f"{table}.csv").write_text("\n".join(lines) + "\n")
    given = {"method": method, "dataset": dataset, "ntr": ntr, "run": run, "data_dir": data_dir}
    given |= {"steps": 2000, "consistency_scale": scale}
    given |= {"labels": labels} if labels else {}
    given |= {"radius": 10.0} if "cr" in method else {}
    settings = preprocess.Settings(num_classes=3, size=96, pixel_mm=2.66)
    spec = run_folder.RunSpec(dataset, ("RV", "LV"), settings, ("c",), ("d",), test)
    run_folder.claim(folder, given, spec)
    average = {"ece": {"mean": float(np.mean(ece))}, "tace": {"mean": 0.15}}
    summary = {"scores": {"all": average}, "reliability": TABLE, "distance": BANDS, **more}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def annotate(folder, ece, human=True, **truth):
    """Scores the run of `folder` against annotators: its `ece` [3] by volume."""
    header, *lines = (folder / "scores.csv").read_text().splitlines()
    values = iter(ece)
    for i, line in enumerate(lines):
        cells = line.split(",")
        if cells[2] == "all":
            cells[5] = str(next(values))
        lines[i] = ",".join([*cells, "1.5", "0.25"])
    header = f"{header},volume_crps_ml,volume_error"
    (folder / "scores_annotators.csv").write_text("\n".join([header, *lines]) + "\n")
    summary = json.loads((folder / "summary.json").read_text())
    summary["truth"] = {"disagreed": 0.3, "reliability": TABLE, "levels": LEVELS} | truth
    summary["truth"] |= {"variation": 0.1, "rms": 0.1, "label_variation": 0.1}
    of_one = {"ece": {"mean": 0.24, "sd": 0.08}, "dice": {"mean": 0.79, "sd": 0.11}}
    summary["annotators"] = {"human": {"all": of_one}} if human else {}
    (folder / "summary.json").write_text(json.dumps(summary))


def kept_figures(monkeypatch, module):
    """For a fixture: the list of the figures that `module` draws instead of saving them."""
    kept = []
    monkeypatch.setattr(module, "save", lambda figure, path: kept.append(figure))
    yield kept
    for figure in kept:
        plt.close(figure)


def write_runs(tmp_path):
    """The folder of runs of DA and BWCR (two each) and CR, and one of CR with lambda = 10."""
    root = tmp_path / "results"
    for run, shift in (1, 0.0), (2, 0.02):
        write_run(root, "da", run, [0.20 + shift, 0.30, 0.10])
        write_run(root, "bwcr", run, [0.10 + shift, 0.10, 0.05])
    write_run(root, "cr", 1, [0.15, 0.2, 0.08])
    write_run(root / "lambda10", "cr", 1, [0.12, 0.1, 0.08], scale=10.0)
    return root


def of_method(results, method):
    return [run for run in scored_runs.load(results) if run.method == method and run.scale == 1]
