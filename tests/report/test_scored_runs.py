import dataclasses
import shutil

import pytest
from report_runs import annotate, write_run, write_runs

from bwcr_tf.data import preprocess
from bwcr_tf.report import scored_runs, tables
from bwcr_tf.system.errors import DataError
from bwcr_tf.training import run_folder


@pytest.mark.parametrize("layout", ["nnunet", "annotators"])
def test_a_custom_data_set_goes_by_the_name_of_its_folder(layout, tmp_path):
    write_run(tmp_path, "da", 1, [0.1] * 3, layout, data_dir="../data/hippocampus")
    assert scored_runs.load(tmp_path)[0].dataset == "hippocampus"


def test_one_name_for_two_data_sets_is_refused(tmp_path):
    write_run(tmp_path, "da", 1, [0.1] * 3, "nnunet", data_dir="x/own")
    more = {"data_dir": "y/own", "test": ("a",)}
    write_run(tmp_path / "other", "bwcr", 1, [0.1] * 2, "nnunet", **more)
    with pytest.raises(DataError, match="other test subjects or classes than .* name of own$"):
        scored_runs.load(tmp_path)


def test_runs_on_other_labels_are_a_row_of_their_own_after_all_others(tmp_path):
    for labels in ("mean", "sample", "first", None):
        for method in ("nacl", "da"):
            if labels != "first" or method == "nacl":
                write_run(
                    tmp_path / str(labels), method, 1 + (labels == "first"), [0.1] * 3,
                    labels=labels,
                )  # fmt: skip
    found = [(run.label, run.number) for run in scored_runs.load(tmp_path)]
    assert found == [
        *(("DA", "1"), ("NACL", "1"), ("NACL", "2")),
        *(("DA, labels mean", "1"), ("NACL, labels mean", "1")),
        *(("DA, labels sample", "1"), ("NACL, labels sample", "1")),
    ]


def test_a_custom_data_set_is_not_taken_for_a_known_one(tmp_path):
    write_run(tmp_path, "da", 1, [0.1] * 3, "nnunet", data_dir="/data/acdc")
    run = scored_runs.load(tmp_path)[0]
    assert run.dataset == "acdc (nnunet)" and not run.reported


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a,a_ED,all", "c,a_ED,all"),  # a subject of no one's
        ("b,b_ED,LV", "b,b_ED,RV"),  # twice, and none of LV
        ("a,a_ES,LV", "a,a_ED,LV"),  # twice
        ("b,b_ED,LV", "b,b_ED,XX"),
        ("a,a_ES,LV,0.8,5.0,,,0.15,0.01,,\n", ""),  # of one of two volumes
        (",0.02,", ",inf,"),
        (",0.02,", ",high,"),
        (",ece,", ",other,"),
        (",0.02,0.15,0.01,0.3,0.1", ""),  # cut short
    ],
)
def test_scores_that_are_not_those_of_the_split_are_refused(old, new, tmp_path):
    results = write_runs(tmp_path)
    path = results / "acdc/ntr5/da/run1/scores.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match="da/run1: not a complete run"):
        scored_runs.load(results)


def drop(path, volume):
    """Takes a volume out of a table of scores."""
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if f",{volume}," not in line) + "\n")


@pytest.mark.parametrize("name", ["scores", "scores_last"])
def test_a_table_without_a_volume_that_others_have_is_refused(name, tmp_path):
    results = write_runs(tmp_path)
    folder = results / "acdc/ntr5/da/run1"
    shutil.copy(folder / "scores.csv", folder / "scores_last.csv")
    drop(folder / f"{name}.csv", "a_ES")
    expected = rf"da/run1/{name}.csv: scores of 2 volumes.* the 3 in .*csv \(a_ES is"
    with pytest.raises(DataError, match=expected):
        scored_runs.load(results)


def test_volumes_of_one_annotator_are_missing_in_all_runs_or_none(tmp_path):
    for method in "da", "bwcr":
        annotate(write_run(tmp_path, method, 1, [0.1] * 3), [0.2] * 3)
        drop(tmp_path / f"acdc/ntr5/{method}/run1/scores_annotators.csv", "b_ED")
    found = scored_runs.load(tmp_path)
    assert [len(run.rows) for run in found] == [9, 9]
    assert [len(run.annotators) for run in found] == [6, 6]
    annotate(write_run(tmp_path, "cr", 1, [0.1] * 3), [0.2] * 3)
    with pytest.raises(
        DataError, match="cr/run1/scores_annotators.csv: scores of 3.* the 2 in .*b_ED"
    ):
        scored_runs.load(tmp_path)


def respecify(folder, *, flags=(), **split):
    """Makes the run of a folder one of other flags and another split."""
    given = run_folder.read_flags(folder) | dict(flags)
    spec = dataclasses.replace(run_folder.load_spec(folder), **split)
    for name in "flags.txt", "split.json":
        (folder / name).unlink()
    run_folder.claim(folder, given, spec)


@pytest.mark.parametrize("part", ["training", "validation"])
def test_runs_of_one_number_and_other_subjects_are_refused(part, tmp_path, capsys):
    results = write_runs(tmp_path)
    respecify(results / "acdc/ntr5/da/run2", **{part: ("x",)})
    with pytest.raises(
        DataError, match=f"da/run2: other {part} subjects than .*bwcr/run2; expected"
    ):
        scored_runs.load(results)
    members = {"members": "da/run1,da/run2"}.items()
    respecify(results / "acdc/ntr5/da/run2", flags=members)  # has those of all members
    assert len(scored_runs.load(results)) == 6 and not capsys.readouterr().err
    respecify(results / "acdc/ntr5/bwcr/run2", flags=members)
    with pytest.raises(DataError, match=f"da/run2: other {part} subjects than .*bwcr/run2"):
        scored_runs.load(results)


def test_runs_of_one_number_that_were_made_in_another_way_are_warned_of(tmp_path, capsys):
    results = write_runs(tmp_path)
    bwcr, da = (results / f"acdc/ntr5/{method}/run1" for method in ("bwcr", "da"))
    earlier = {"mixed_precision": "False", "jit": "True", "data_dir": "x", "labels": "first"}
    respecify(da, flags=earlier.items())
    scored_runs.load(results)
    assert not capsys.readouterr().err
    settings = preprocess.Settings(num_classes=3, size=64, pixel_mm=2.66)
    respecify(da, flags={"steps": "9"}.items(), settings=settings, calibration=("x", "y"))
    scored_runs.load(results)
    assert capsys.readouterr().err == (
        f"\nwarning: {da} and {bwcr} are compared, but differ in calibration subjects "
        "(x, y and none), size (64 and 96), steps (9 and 2000)\n"
        f"\nwarning: {da.parent}/run2 and {da} are averaged, but differ in size (96 and 64), "
        "steps (2000 and 9)\n"
    )


def test_runs_of_one_method_that_were_made_in_another_way_are_warned_of(tmp_path, capsys):
    folders = [write_run(tmp_path, "bwcr", run, [0.1] * 3) for run in (1, 2)]
    respecify(folders[1], flags={"radius": "20.0"}.items(), calibration=("x",))
    scored_runs.load(tmp_path)
    assert capsys.readouterr().err == (
        f"\nwarning: {folders[1]} and {folders[0]} are averaged, but differ in radius "
        "(20.0 and 10.0)\n"
    )


def test_windows_of_ct_are_by_the_training_subjects_of_each_run(tmp_path, capsys):
    folders = [write_run(tmp_path, "bwcr", run, [0.1] * 3) for run in (1, 2)]
    settings = run_folder.load_spec(folders[1]).settings
    windows = dataclasses.replace(settings, windows=((-100.0, 240.0),))
    respecify(folders[1], settings=windows)
    scored_runs.load(tmp_path)
    assert not capsys.readouterr().err


def test_ensembles_of_other_draws_are_rows_of_their_own_and_no_pair(tmp_path):
    for method, members, training in (
        ("dax2", "da/run1,da/run2", ("p", "q", "r")),
        ("da+bwcrx2", "da/run1,bwcr/run1", ("p", "q")),
        ("bwcrx2", "bwcr/run1,bwcr/run2", ("p", "q", "r")),
        ("crx2", "cr/run1,cr/run3", ("p", "s")),
    ):
        folder = write_run(tmp_path, method, 1, [0.1] * 3)
        respecify(folder, flags={"members": members}.items(), training=training)
    methods = scored_runs.group(scored_runs.load(tmp_path), "label")
    write_run(tmp_path, "bwcr", 1, [0.1] * 3)
    methods |= {"BWCR": scored_runs.load(tmp_path / "acdc/ntr5/bwcr")}
    assert tables.pairs("BWCR", methods) == [("BWCR × 2", "DA × 2")]


def test_a_table_without_rows_is_refused(tmp_path):
    path = write_runs(tmp_path) / "acdc/ntr5/da/run1/scores.csv"
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match="da/run1: not a complete run .*0 rows"):
        scored_runs.load(tmp_path)


def test_a_split_that_was_changed_is_refused(tmp_path):
    results = write_runs(tmp_path)
    path = results / "acdc/ntr5/da/run1/split.json"
    path.write_text(path.read_text().replace("2.66", "1.33"))
    with pytest.raises(DataError, match="da/run1/split.json: it or flags.txt was changed"):
        scored_runs.load(results)


def test_the_same_run_twice_is_refused(tmp_path):
    results = write_runs(tmp_path)
    shutil.copytree(results / "acdc/ntr5/da/run1", results / "copy")
    with pytest.raises(DataError, match="copy: the same run as .*da/run1"):
        scored_runs.load(results)


def test_no_runs_and_broken_runs_are_errors_that_name_the_folder(tmp_path):
    results = write_runs(tmp_path)
    with pytest.raises(DataError, match="nowhere"):
        scored_runs.load(results / "nowhere")
    (results / "acdc/ntr5/da/run1/summary.json").write_text("{")
    with pytest.raises(DataError, match="da/run1"):
        scored_runs.load(results)
