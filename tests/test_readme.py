"""README.md, docs/ and presets/ say what is there: files, functions, flags, links and scores."""

import ast
import csv
import functools
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

from bwcr_tf.evaluation import scores
from bwcr_tf.methods import METHODS

README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAM = r"python (-m bwcr_tf\.\w+|train\.py|evaluate\.py)"
LIDC = {
    "DA (data augmentation alone)": "da",
    "CR (no weight at the boundary)": "cr",
    "BWCR": "bwcr",
    "Focal loss": "focal",
    "NACL": "nacl",
    "Dice + CE": "dice_ce",
    "mL1-ACE": "l1ace",
}
OTHERS = {
    "LIDC, 150, four radiologists": ("results/annotators/ntr150", "scores_annotators.csv"),
    "ACDC, 5": ("results/acdc/ntr5", "scores.csv"),
    "ACDC, 10": ("results/acdc/ntr10", "scores.csv"),
    "hippocampus, 5": ("results/nnunet/ntr5", "scores.csv"),
    "hippocampus, 20": ("results/nnunet/ntr20", "scores.csv"),
}


def found_in_pages(pattern):
    """[(page, match)] without repetition."""
    pairs = [(p, m) for p in PAGES for m in re.findall(pattern, p.read_text("utf-8"), re.M)]
    return list(dict.fromkeys(pairs))


def section(title):
    """The text below a heading of the README."""
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def table(title):
    """The rows of a section's table: lists of cells."""
    rows = re.findall(r"^\|(.+)\|$", section(title), re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in rows[2:]]


def results():
    """The two tables above the first heading: lists of rows of cells, the first row their heads."""
    tables = re.findall(r"(?:^\|.+\|\n)+", README.split("\n## ")[0], re.MULTILINE)
    rows = ([line.strip("|").split("|") for line in some.splitlines()] for some in tables)
    return [[[cell.strip() for cell in row] for row in some] for some in rows]


@functools.cache
def mean_score(folder, name, title):
    """A score's mean over three runs and their volumes in per cent, NLL x 1000, as written."""
    paths = [ROOT / folder / f"run{run}" / name for run in (1, 2, 3)]
    lines = (path.read_text("utf-8").splitlines() for path in paths)
    rows = [row for some in lines for row in csv.DictReader(some) if row["class"] == "all"]
    values = [float(row[title.lower()] or "nan") for row in rows]
    return f"{(1000 if title == 'NLL' else 100) * np.nanmean(values):.1f}"


def scored_on_lidc():
    """The methods of which there are three scored runs on LIDC."""
    folder = ROOT / "results/annotators/ntr40"
    return [method for method in METHODS if len([*folder.glob(f"{method}/run*")]) == 3]


def lidc_score(method, head):
    """The mean score of a method against all radiologists, by a head like `ECE ↓`."""
    return mean_score(f"results/annotators/ntr40/{method}", "scores_annotators.csv", head[:-2])


def defined(path):
    """Names of all functions in a file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@functools.cache
def help_of(program):
    """What `program --help` prints, and the modules that it imported, from -X importtime."""
    command = [sys.executable, "-X", "importtime", *program.split(), "--help"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode <= 1
    return found.stdout, found.stderr


def test_it_is_under_150_lines():
    assert README.count("\n") < 150


def test_the_table_of_lidc_is_of_the_committed_scores_against_all_radiologists():
    (_, *heads), _, *rows = results()[0]
    assert [name for name, *_ in rows] == list(LIDC) and len(heads) == 4
    for name, *cells in rows:
        means = [lidc_score(LIDC[name], head) for head in heads]
        assert [cell.strip("*") for cell in cells] == means, name


def test_the_table_of_lidc_has_the_best_of_all_methods_in_bold():
    (_, *heads), _, *rows = results()[0]
    assert f"best of {len(scored_on_lidc())} methods" in README
    for head, *cells in zip(heads, *(row[1:] for row in rows), strict=True):
        order = max if head.endswith("↑") else min
        best = order((lidc_score(method, head) for method in scored_on_lidc()), key=float)
        assert {cell for cell in cells if "*" in cell} == {f"**{best}**"} and best not in cells


def test_the_table_of_other_data_is_of_the_committed_scores():
    (_, *heads), _, *rows = results()[1]
    assert [name for name, *_ in rows] == list(OTHERS) and len(heads) == 6
    for name, *cells in rows:
        pairs, (folder, file) = (head.split(": ") for head in heads), OTHERS[name]
        means = [mean_score(f"{folder}/{m.lower()}", file, title) for title, m in pairs]
        assert [cell.strip("*") for cell in cells] == means, name


def test_the_paper_to_code_table_names_functions_that_exist():
    rows = table("From the paper to the code")
    assert len(rows) >= 15
    for _, path, names in rows:
        names = set(re.findall(r"`(\w+)`", names))
        assert names and names <= defined(path.strip("`")), path


def test_the_table_of_methods_is_that_of_the_code():
    rows = table("Methods")
    assert [name.strip("`") for name, *_ in rows] == list(METHODS)
    for (_, _, consistency, weight), method in zip(rows, METHODS.values(), strict=True):
        assert bool(consistency) == (method.consistency_loss is not None)
        assert bool(weight) == (method.consistency_weight is not None)


def test_the_layout_names_every_folder_of_the_package():
    folders = {f"`{path.parent.name}/`" for path in ROOT.glob("bwcr_tf/*/__init__.py")}
    assert {row[0] for row in table("Layout")} == {"nine files"} | folders


@pytest.mark.parametrize("page, command", found_in_pages(rf"^ +({PROGRAM} .*)$"))
def test_every_command_takes_the_flags_that_a_page_gives_it(page, command):
    command, program = command
    programs = [
        program,
        *["-m bwcr_tf.training"] * program.endswith("grid"),
    ]  # it passes them on
    known = "".join(help_of(name)[0] for name in programs) + "--flagfile --help"
    for flag in re.findall(r"--(\w+)", command):
        assert re.search(rf"--(\[no\])?{flag}\b", known), flag


@pytest.mark.parametrize("program", sorted({program for _, program in found_in_pages(PROGRAM)}))
def test_every_command_answers_help_at_once_without_tensorflow(program):
    printed, imported = help_of(program)
    assert "flags:" in printed
    assert "tensorflow" not in imported and "SimpleITK" not in imported


@pytest.mark.parametrize("page, link", found_in_pages(r"\]\(([\w/.]+)\)"))
def test_links_lead_somewhere(page, link):
    assert (page.parent / link).exists()


def test_the_choices_name_files_that_exist():
    files = re.findall(r"`([\w/]+\.py)`", (ROOT / "docs/choices.md").read_text("utf-8"))
    assert files and all((ROOT / "bwcr_tf" / file).exists() for file in files)


def test_the_scores_of_the_quick_start_are_those_of_the_committed_run():
    summary = json.loads((ROOT / "results/phantom/ntr10/bwcr/run1/summary.json").read_text())
    columns = ("dice", "hd95_mm", "ece", "tace")
    printed = scores.to_text(summary["scores"], columns).splitlines()[:-1]
    shown = section("Quick start").splitlines()
    assert {line.split(maxsplit=1)[0] for line in printed} == {
        "class",
        "RV",
        "MYO",
        "LV",
        "all",
    }
    assert {line.rstrip() for line in printed} <= {line.removeprefix("    ") for line in shown}


@pytest.mark.parametrize("path", sorted(ROOT.glob("presets/*.flags")), ids=lambda p: p.name)
def test_a_preset_starts_with_the_command_that_uses_it(path):
    head = path.read_text("utf-8").split("\n--")[0]
    assert f"python train.py --flagfile=presets/{path.name}" in head
    assert re.search(r"minutes|not been run", head) and re.search(r"Dice .*ECE", head, re.S)
