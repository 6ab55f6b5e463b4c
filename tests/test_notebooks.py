"""The notebooks run in seconds without a model; none keeps outputs or defines anything."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
EXECUTE = Path(sys.executable).with_name("jupyter-execute")
QUICK = "search_tree"
"""The notebook that the first tier runs; the others import pandas and draw figures, which takes seconds each."""
MOST_BYTES = 200_000
"""Highest size of a recorded file."""


@pytest.fixture(params=NOTEBOOKS, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


@pytest.fixture
def notebook(file: Path) -> Any:
    return nbformat.read(file, as_version=4)


def executed(file: Path, scratch: Path) -> Any:
    """The notebook with its outputs. Its kernel is a process of its own and keeps what it writes in `scratch`."""
    own = {name: str(scratch) for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")}
    command = [EXECUTE, file, f"--output={scratch / 'executed'}", "--timeout=100"]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(scratch / "executed.ipynb", as_version=4)


@pytest.mark.parametrize(
    "file",
    [pytest.param(each, marks=[] if each.stem == QUICK else pytest.mark.slow, id=each.stem) for each in NOTEBOOKS],
)
def test_it_runs_without_complaint_and_every_cell_but_the_imports_shows_something(file: Path, tmp_path: Path) -> None:
    cells = [cell for cell in executed(file, tmp_path).cells if cell.cell_type == "code"]
    assert all(cell.outputs for cell in cells[1:])
    assert not [output.text for cell in cells for output in cell.outputs if output.get("name") == "stderr"]


def test_it_is_stripped_of_what_a_kernel_wrote(notebook: Any) -> None:
    assert set(notebook.metadata) <= {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert not cell.metadata
        assert cell.cell_type == "markdown" or (cell.outputs == [] and cell.execution_count is None)


def test_it_defines_nothing(notebook: Any) -> None:
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    assert not [node for node in ast.walk(ast.parse(code)) if isinstance(node, definitions)]


def test_what_they_read_is_small_and_of_no_machine() -> None:
    for file in (NOTEBOOKS[0].parent / "recorded").rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert len(content) < MOST_BYTES, file
            assert not re.search(rb"(?<![\w/])/(home|root|tmp|work)/", content), file
