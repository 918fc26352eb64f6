"""The README says what is there: every file, function and command that it names exists."""

import ast
import re
import subprocess
import sys

import pytest
from conftest import ROOT

from bwcr_tf.methods import METHODS

README = (ROOT / "README.md").read_text("utf-8")
ROWS = re.findall(r"^\| [^|]+ \| `(bwcr_tf/[\w/]+\.py)` \| (`.+`) \|$", README, re.MULTILINE)


def defined(path):
    """Names of all functions in a file."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_it_is_under_150_lines():
    assert README.count("\n") < 150


def test_the_paper_to_code_table_names_functions_that_exist():
    assert len(ROWS) >= 15
    for path, names in ROWS:
        assert set(re.findall(r"`(\w+)`", names)) <= defined(path), path


def test_the_table_of_methods_is_that_of_the_code():
    rows = re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \|", README.split("## Methods")[1], re.MULTILINE
    )
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert named[: len(METHODS)] == list(METHODS)


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"python (-m bwcr_tf\.\w+|\w+\.py)", README)))
)
def test_every_command_answers_help_at_once_without_tensorflow(command):
    program = [sys.executable, "-X", "importtime", *command.split(), "--help"]
    found = subprocess.run(program, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode <= 1 and "flags:" in found.stdout
    assert "tensorflow" not in found.stderr and "SimpleITK" not in found.stderr


@pytest.mark.parametrize("link", re.findall(r"\]\(([\w/.]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
