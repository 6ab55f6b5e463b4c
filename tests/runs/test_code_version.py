"""What is known of the code that runs, wherever it lies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from codetool.runs import code_version
from codetool.runs.code_version import list_source_folders, read_code_version, read_git_state
from codetool.runs.plugin_code import hash_sources


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Git with a configuration of its own."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text("[user]\nname = a\nemail = a@b\n[init]\ndefaultBranch = main\n")

    def run(folder: Path, *arguments: str) -> str:
        command = ["git", "-c", "protocol.file.allow=always", "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return run


@pytest.fixture
def package(tmp_path: Path, git: Callable[..., str]) -> Path:
    """A package in a checkout, committed, with `conf/` beside it."""
    folder = tmp_path / "checkout" / "codetool"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "search.py").write_text("n = 1\n")
    (folder.parent / "conf").mkdir()
    (folder.parent / "conf" / "config.yaml").write_text("seed: 0\n")
    git(folder.parent, "init")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-m", "first")
    return folder


def test_the_commit_and_whether_files_differ_from_it(package: Path, git: Callable[..., str]) -> None:
    commit = git(package, "rev-parse", "HEAD")
    assert read_git_state(package) == (commit, False)
    outputs = package.parent / "outputs"
    outputs.mkdir()
    (outputs / "result").touch()
    assert read_git_state(package) == (commit, False), "what nobody imports changes no code"
    (package / "new.py").touch()
    assert read_git_state(package) == (commit, True)
    (package / "new.py").unlink()
    (package.parent / "conf" / "own.yaml").touch()
    assert read_git_state(package) == (commit, True)
    (package.parent / "conf" / "own.yaml").unlink()
    (package / "search.py").write_text("n = 2\n")
    assert read_git_state(package) == (commit, True)
    git(package, "checkout", "--detach")
    assert read_git_state(package) == (commit, True)


def test_git_that_was_killed_is_asked_again(
    package: Path, git: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = git(package, "rev-parse", "HEAD")
    program = tmp_path / "bin" / "git"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nmkdir {tmp_path}/again 2>/dev/null && kill -9 $$\nexec {shutil.which("git")} "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert read_git_state(package) == (commit, False)
    assert (tmp_path / "again").is_dir()


def test_a_checkout_inside_another_one_is_its_own(package: Path, git: Callable[..., str], tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    git(outer, "init")
    git(outer, "submodule", "add", str(package.parent), "parts/ct")
    git(outer, "commit", "-m", "outer")
    inside = outer / "parts" / "ct" / "codetool"
    assert read_git_state(inside) == (git(package, "rev-parse", "HEAD"), False)
    (inside.parent / "conf" / "own.yaml").touch()
    assert read_git_state(inside)[1] is True


def test_git_that_cannot_tell_is_null(
    package: Path, git: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_git_state(tmp_path) == (None, None), "no checkout"
    installed = package.parent / "venv" / "codetool"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert read_git_state(installed) == (None, None), "somebody else's checkout"
    unborn = tmp_path / "unborn" / "codetool"
    unborn.mkdir(parents=True)
    (unborn / "__init__.py").touch()
    git(unborn, "init")
    git(unborn, "add", ".")
    assert read_git_state(unborn) == (None, None), "no commit yet"
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "git").write_text("#!/bin/sh\necho 'fatal: detected dubious ownership in repository' >&2\nexit 128\n")
    (fake / "git").chmod(0o755)
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", f"{fake}:{path}")
    assert read_git_state(package) == (None, None), "another owner's checkout"
    (fake / "git").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(code_version, "GIT_SECONDS", 0.2)
    started = time.monotonic()
    assert read_git_state(package) == (None, None), "git hangs"
    assert time.monotonic() - started < 20
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert read_git_state(package) == (None, None), "no git"


def test_variables_of_a_git_hook_do_not_lead_elsewhere(
    package: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    commit = git(package, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert read_git_state(package) == (commit, False)


def test_every_source_file_counts_by_name_and_content_and_no_other(package: Path) -> None:
    before = hash_sources([package, package.parent / "conf"])
    (package / "notes.txt").touch()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "search.pyc").touch()
    assert hash_sources([package, package.parent / "conf"]) == before
    sums = {before}
    for change in (
        lambda: (package / "search.py").write_text("n = 2\n"),
        lambda: (package / "search.py").rename(package / "walk.py"),
        lambda: (package.parent / "conf" / "config.yaml").write_text("seed: 1\n"),
        lambda: (package / "empty.py").touch(),
    ):
        change()
        sums.add(hash_sources([package, package.parent / "conf"]))
    assert len(sums) == 5


def test_this_code_is_read_in_a_moment() -> None:
    assert [folder.name for folder in list_source_folders()] == ["codetool", "conf"]
    fastest = []
    for _ in range(3):
        started = time.process_time()
        hash_sources(list_source_folders())
        fastest.append(time.process_time() - started)
    assert min(fastest) < 0.2


def test_plugins_are_part_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "myplug").mkdir()
    (tmp_path / "myplug" / "__init__.py").touch()
    (tmp_path / "single.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = {
        "search": {"_target_": "myplug.search.Mine", "inner": [{"_target_": "single.Thing"}]},
        "prm": {"_target_": "codetool.prm.none.NoPRM"},
        "x": {"_target_": "pydantic.Field"},
        "gone": {"_target_": "nobody_has_this.Thing"},
    }
    before = read_code_version(settings)
    assert set(before.plugins) == {"myplug", "single", "pydantic"}
    assert before.plugins["pydantic"].startswith("pydantic 2") and before.plugins["single"].startswith("sha256 ")
    assert read_code_version(settings).key == before.key
    (tmp_path / "myplug" / "search.py").write_text("class Mine: ...\n")
    assert read_code_version(settings).key != before.key
    assert "myplug" not in sys.modules


def test_an_installation_from_git_tells_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        version = "0.1.0"

        def read_text(self, name: str) -> str:
            assert name == "direct_url.json"
            return '{"url": "https://x/y.git", "vcs_info": {"vcs": "git", "commit_id": "abc123"}}'

    monkeypatch.setattr(code_version, "read_git_state", lambda folder: (None, None))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed())
    code = read_code_version({})
    assert (code.commit, code.changed) == ("abc123", None)
    assert "commit abc123" in str(code)
