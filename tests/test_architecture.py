"""The walls of the house: who imports whom, read from the source."""

import ast
import pathlib

import pytest
from conftest import ROOT

from bwcr_tf.data.datasets import DATASETS
from bwcr_tf.methods import METHODS
from bwcr_tf.system import source

PACKAGE = ROOT / "bwcr_tf"
PAPER = {
    "affine", "intensity", "boundary", "losses", "methods", "metrics", "unet", "pipeline",
    "trainer",
}  # fmt: skip
ROOMS = [
    "system", "data", "phantom", "evaluation", "training", "export", "predict", "grid", "report",
    "benchmark",
]  # fmt: skip
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported(path):
    """{first name below bwcr_tf of what a module imports, wherever in it}, and all other roots."""
    own, others = set(), set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            root, *rest = node.module.split(".")
            if root == "bwcr_tf":
                own |= {rest[0]} if rest else {alias.name for alias in node.names}
                assert "__main__" not in node.module + str([a.name for a in node.names])
            else:
                others.add(root)
        elif isinstance(node, ast.Import):
            others |= {alias.name.split(".")[0] for alias in node.names}
    return own, others


def test_the_package_is_the_paper_and_one_folder_for_each_thing_one_does_with_it():
    assert {path.stem for path in PACKAGE.glob("*.py")} == PAPER | {"__init__"}
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_the_paper_system_and_rooms_before_its_own(path):
    own, _ = imported(path)
    if len(path.parts) == 1:
        allowed = PAPER
    elif path.name == "__main__.py":  # a command stands above all rooms
        allowed = PAPER | set(ROOMS)
    else:
        before = ROOMS[: ROOMS.index(path.parts[0]) + 1]
        allowed = set(before) if path.parts[0] == "system" else PAPER | set(before)
    assert own <= allowed


@pytest.mark.parametrize("name", ["boundary.py", "metrics.py"])
def test_the_numpy_modules_of_the_paper_do_not_import_tensorflow(name):
    assert not imported(pathlib.Path(name))[1] & {"tensorflow", "keras"}


def test_flags_are_defined_in_commands_only():
    for path in MODULES:
        defines = "DEFINE_" in (PACKAGE / path).read_text("utf-8")
        assert not defines or path.name == "__main__.py", path


def test_no_module_is_over_200_lines():
    lines = {path: (PACKAGE / path).read_text("utf-8").count("\n") for path in MODULES}
    assert {path: count for path, count in lines.items() if count > 200} == {}


@pytest.mark.parametrize(
    "module, name, table",
    [("bwcr_tf.methods", "METHODS", METHODS), ("bwcr_tf.data.datasets", "DATASETS", DATASETS)],
)
def test_the_source_names_the_rows_of_a_table(module, name, table):
    assert source.table_keys(module, name) == list(table)
