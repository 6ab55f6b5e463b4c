"""The code that runs: version, sha256 of its source, git commit. Read once at the start of a command.

Two codes are the same if the sha256 of their sources are equal; a commit alone says nothing of local changes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codetool.runs.identity import PACKAGE, TARGET

PACKAGE_FOLDER = Path(__file__).parents[1]
SOURCES = (".py", ".yaml")
GIT_SECONDS = 5.0
INSTALLED = ("site-packages", "dist-packages")
"""Folders of installed distributions, whose versions name their code."""


@dataclass(frozen=True)
class Code:
    """The code of this package and of the plug-ins that a run uses."""

    version: str
    """Version of this package."""
    sha256: str
    """Of the package's Python and YAML files, `conf/` included, by path."""
    commit: str | None
    """Git commit of the checkout, or of the installation from git; None where there is none, or git cannot tell."""
    changed: bool | None
    """Whether the checkout differs from the commit; None where git cannot tell."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Each other package that the settings name a class of: `version X` if installed, else `sha256 X` of its files."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What is equal for equal code."""
        return self.sha256, tuple(sorted(self.plugins.items()))

    def __str__(self) -> str:
        """The code in a few words."""
        commit = f", commit {self.commit[:8]}{' with changes' if self.changed else ''}" if self.commit else ""
        plugins = "".join(f", {name} {known[:16]}" for name, known in sorted(self.plugins.items()))
        return f"codetool {self.version} (source {self.sha256[:8]}{commit}{plugins})"


def read_code(settings: Mapping[str, Any]) -> Code:
    """The code as it lies on the disk now; `settings` are a run's, whose `_target_`s name plug-ins."""
    commit, changed = git_state(PACKAGE_FOLDER)
    return Code(
        version=importlib.metadata.version("codetool"),
        sha256=hash_sources(source_folders()),
        commit=commit or _installed_commit(),
        changed=changed,
        plugins={name: known for name in sorted(set(_plugin_names(settings))) if (known := _plugin(name))},
    )


def source_folders() -> list[Path]:
    """The package, and `conf/` where it lies beside it."""
    beside = PACKAGE_FOLDER.parent / "conf"
    return [PACKAGE_FOLDER, *([beside] if (beside / "config.yaml").is_file() else [])]


def hash_sources(folders: Iterable[Path]) -> str:
    """Hex sha256 of the names and contents of all Python and YAML files, sorted by path."""
    total = hashlib.sha256()
    for folder in folders:
        for file in sorted(file for file in folder.rglob("*") if file.suffix in SOURCES and file.is_file()):
            total.update(f"{folder.name}/{file.relative_to(folder).as_posix()}\n".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Commit of the checkout that holds a folder, and whether files differ from it; None for what git cannot tell.

    So it is without git, outside a checkout, for a folder that git does not track (an installed package in somebody's
    checkout), before the first commit, for a checkout of another owner, and if git takes longer than five seconds.
    """
    if _git(folder, "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return None, None
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if commit is None:
        return None, None
    prefix = (_git(folder, "rev-parse", "--show-prefix") or "").strip()
    status = _git(folder, "status", "--porcelain", "--untracked-files=normal")
    if status is None:
        return commit.strip(), None
    ours = (prefix, f"{Path(prefix).parent.as_posix()}/conf/".removeprefix("./"))
    lines = (line for line in status.splitlines() if line)
    return commit.strip(), any(not line.startswith("??") or line[3:].startswith(ours) for line in lines)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotepath=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _installed_commit() -> str | None:
    """The commit that pip installed this package from, None if it was not installed from a git address."""
    try:
        text = importlib.metadata.distribution("codetool").read_text("direct_url.json")
        commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(commit) if commit else None


def _plugin_names(settings: Any) -> Iterator[str]:
    """Top-level packages of the classes that settings name, without this one."""
    if isinstance(settings, Mapping):
        target = settings.get(TARGET)
        if isinstance(target, str) and "." in target and not target.startswith(PACKAGE):
            yield target.partition(".")[0]
        for value in settings.values():
            yield from _plugin_names(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _plugin_names(value)


def _plugin(name: str) -> str | None:
    """What names a package's code: the version of an installed one, else the sha256 of its files."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not (places := [*(spec.submodule_search_locations or ())] or [spec.origin or ""]):
        return None
    folders = [Path(place) for place in places]
    if any(part in INSTALLED for folder in folders for part in folder.parts):
        distributions = importlib.metadata.packages_distributions().get(name, [])
        return f"version {importlib.metadata.version(distributions[0])}" if distributions else None
    if folders[0].is_file():
        return f"sha256 {hashlib.sha256(folders[0].read_bytes()).hexdigest()}"
    return f"sha256 {hash_sources(folder for folder in folders if folder.is_dir())}"
