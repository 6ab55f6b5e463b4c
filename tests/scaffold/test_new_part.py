"""Parts that `codetool new` begins run at once, and nothing that is there is overwritten."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import yaml

from codetool.config.compose_run import compose_run
from codetool.errors import ConfigError
from codetool.scaffold.command import run_new
from codetool.scaffold.new_part import NewPart, find_checkout, select_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def run_tests(file: Path) -> int:
    """Run the tests of a file as pytest does; returns their number."""
    tests = [value for name, value in runpy.run_path(str(file)).items() if name.startswith("test_")]
    for test in tests:
        test()
    return len(tests)


@pytest.mark.parametrize("group", ["benchmark", "search", "prm"])
def test_a_new_part_and_its_test_run_at_once(
    group: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"my_own_{group}"  # each a module of its own in this process
    monkeypatch.chdir(tmp_path)
    run_new([group, name, "--into", "lab"], "codetool")
    assert run_tests(tmp_path / "lab" / "tests" / f"test_{name}.py") > 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2:] == [f"test it: pytest lab/tests/test_{name}.py",
                            f"use it: codetool --config-dir lab/conf {group}={name}"]  # fmt: skip
    part = getattr(compose_run(f"{group}={name}", config_dir=tmp_path / "lab" / "conf"), group)
    assert type(part).__name__ == {"prm": "MyOwnPrmPRM"}.get(group, f"MyOwn{group.title()}")


def test_a_part_in_a_package_is_named_by_the_package(tmp_path: Path) -> None:
    package = tmp_path / "source" / "my_lab"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    run_new(["search", "nearest", "--into", str(package)], "codetool")
    assert run_tests(package / "tests" / "test_nearest.py") == 1
    option = yaml.safe_load((package / "conf" / "search" / "nearest.yaml").read_text())
    assert option["_target_"] == "my_lab.nearest.Nearest"


def test_in_the_checkout_parts_lie_where_its_own_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkout() == ROOT
    monkeypatch.chdir(ROOT / "docs")
    assert select_folder(None) == (ROOT, True) and select_folder(tmp_path) == (tmp_path, False)
    monkeypatch.chdir(tmp_path)
    assert select_folder(None) == (Path(), False)
    NewPart("benchmark", "films", tmp_path, in_checkout=True).write()
    written = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")}
    assert written == {"codetool/benchmarks/films.py", "conf/benchmark/films.yaml", "tests/benchmarks/test_films.py"}
    option = yaml.safe_load((tmp_path / "conf" / "benchmark" / "films.yaml").read_text())
    assert option["benchmark"]["_target_"] == "codetool.benchmarks.films.Films"
    assert "config_dir" not in (tmp_path / "tests" / "benchmarks" / "test_films.py").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "new: the following arguments are required: benchmark|search|prm, NAME. Usage: codetool new"),
        (["stage", "x"], "new: argument benchmark|search|prm: invalid choice: 'stage'"),
        (["search"], "new: the following arguments are required: NAME"),
        (["search", "x", "--to", "y"], "new: unrecognized arguments: --to y"),
        (["search", "best-first"], "best-first: is no name of a Python module"),
        (["search", "1st"], "1st: is no name of a Python module"),
        (["search", "class"], "class: is no name of a Python module"),
        (["search", "größte"], "größte: is no name of a Python module"),
        (["search", "../x"], "../x: is no name of a Python module"),
        (["search", "_"], "_: is no name of a Python module"),
        (["search", "null"], "null: search=null would be a value and no name"),
        (["search", "beam"], "beam: there is search=beam already. Choose another name."),
        (["prm", "json"], "json: there is a Python module of this name already"),
        (["prm", "torch"], "torch: there is a Python module of this name already"),
        (["search", "x", "--into", "file"], "--into file: is a file. Name a folder."),
        (["search", "x", "--into", "shared"], "--into shared: everybody may write there"),
        (["search", "taken"], "taken.py: is there already, and nothing is overwritten"),
        (["search", "tested"], "tests/deep/test_tested.py: is there already"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_writes_nothing(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "taken.py").write_text("mine")
    (tmp_path / "tests" / "deep").mkdir(parents=True)
    (tmp_path / "tests" / "deep" / "test_tested.py").touch()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError) as error:
        run_new(words, "codetool")
    assert str(error.value).startswith(expected) and len(str(error.value).splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_the_same_part_is_not_written_twice(tmp_path: Path) -> None:
    run_new(["search", "twice", "--into", str(tmp_path)], "codetool")
    with pytest.raises(ConfigError, match="twice: there is search=twice already"):
        run_new(["search", "twice", "--into", str(tmp_path)], "codetool")
