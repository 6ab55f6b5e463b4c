"""Version of the running code: package version, sha256 of its source, git commit. Read once when a command starts.

Two versions are the same if the sha256 of their sources are equal; a commit alone does not cover local changes.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codetool.runs.host import select_variables
from codetool.runs.identity import PACKAGE_PREFIX, TARGET_KEY

PACKAGE_FOLDER = Path(__file__).parents[1]
SOURCE_SUFFIXES = (".py", ".yaml")
GIT_SECONDS = 5.0
INSTALL_FOLDERS = ("site-packages", "dist-packages")
"""Folders of installed distributions, whose versions name their code."""


@dataclass(frozen=True)
class CodeVersion:
    """Version of this package and of the plug-ins that a run uses."""

    version: str
    """Version of this package."""
    sha256: str
    """Hex sha256 of the package's Python and YAML files, including `conf/`, by path."""
    commit: str | None
    """Git commit of the checkout, or of the installation from git; None if unknown."""
    changed: bool | None
    """Whether the checkout differs from the commit; None if unknown."""
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Other packages whose classes the settings name: `version X` if installed, else `sha256 X` of its files."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Value that is equal for equal code."""
        return self.sha256, tuple(sorted(self.plugins.items()))

    def __str__(self) -> str:
        """Return a short description."""
        commit = f", commit {self.commit[:8]}{' with changes' if self.changed else ''}" if self.commit else ""
        plugins = "".join(f", {name} {description[:16]}" for name, description in sorted(self.plugins.items()))
        return f"codetool {self.version} (source {self.sha256[:8]}{commit}{plugins})"


def read_code_version(settings: Mapping[str, Any]) -> CodeVersion:
    """Read the version of the code on disk; the `_target_`s in a run's `settings` name plug-ins."""
    commit, changed = read_git_state(PACKAGE_FOLDER)
    return CodeVersion(
        version=importlib.metadata.version("codetool"),
        sha256=hash_sources(list_source_folders()),
        commit=commit or _read_installed_commit(),
        changed=changed,
        plugins={
            name: description
            for name in sorted(set(_find_plugins(settings)))
            if (description := _describe_plugin(name))
        },
    )


def list_source_folders() -> list[Path]:
    """List the package's folder, and `conf/` if it is beside it."""
    conf_folder = PACKAGE_FOLDER.parent / "conf"
    return [PACKAGE_FOLDER, *([conf_folder] if (conf_folder / "config.yaml").is_file() else [])]


def hash_sources(folders: Iterable[Path]) -> str:
    """Compute the hex sha256 of the names and contents of all Python and YAML files, sorted by path."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(file for file in folder.rglob("*") if file.suffix in SOURCE_SUFFIXES and file.is_file()):
            digest.update(f"{folder.name}/{file.relative_to(folder).as_posix()}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def read_git_state(folder: Path) -> tuple[str | None, bool | None]:
    """Return the commit of the checkout with this folder, and whether files differ from it; None for unknown values.

    They are unknown without git, outside a checkout, for a folder that git does not track (a package installed inside
    another checkout), before the first commit, for a checkout of another owner, and if git takes over five seconds.
    """
    if _run_git(folder, "ls-files", "--error-unmatch", "--", "__init__.py") is None:
        return None, None
    commit = _run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if commit is None:
        return None, None
    prefix = (_run_git(folder, "rev-parse", "--show-prefix") or "").strip()
    status = _run_git(folder, "status", "--porcelain", "--untracked-files=normal")
    if status is None:
        return commit.strip(), None
    own_prefixes = (prefix, f"{Path(prefix).parent.as_posix()}/conf/".removeprefix("./"))
    lines = (line for line in status.splitlines() if line)
    return commit.strip(), any(not line.startswith("??") or line[3:].startswith(own_prefixes) for line in lines)


def _run_git(folder: Path, *arguments: str) -> str | None:
    """Run git and return its output, None if it fails. It is run once more if something has killed it."""
    environment = {**select_variables(), "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.quotepath=false", "-C", str(folder), *arguments]
    try:
        completed = _run_in_environment(command, environment)
        if completed.returncode < 0:
            completed = _run_in_environment(command, environment)
    except (OSError, subprocess.SubprocessError):
        return None
    return completed.stdout.decode("utf-8", "replace") if completed.returncode == 0 else None


def _run_in_environment(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command. Raises OSError, or SubprocessError if it takes over `GIT_SECONDS`."""
    return subprocess.run(
        command,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=GIT_SECONDS,
        env=environment,
        check=False,
    )


def _read_installed_commit() -> str | None:
    """Return the commit that pip installed this package from, None if it was not installed from git."""
    try:
        text = importlib.metadata.distribution("codetool").read_text("direct_url.json")
        commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(commit) if commit else None


def _find_plugins(settings: Any) -> Iterator[str]:
    """Yield the top-level packages of the classes that settings name, without this package."""
    if isinstance(settings, Mapping):
        target = settings.get(TARGET_KEY)
        if isinstance(target, str) and "." in target and not target.startswith(PACKAGE_PREFIX):
            yield target.partition(".")[0]
        for value in settings.values():
            yield from _find_plugins(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from _find_plugins(value)


def _describe_plugin(name: str) -> str | None:
    """Describe a package's code: the version if it is installed, else the sha256 of its files."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or not (locations := [*(spec.submodule_search_locations or ())] or [spec.origin or ""]):
        return None
    folders = [Path(location) for location in locations]
    if any(part in INSTALL_FOLDERS for folder in folders for part in folder.parts):
        distributions = importlib.metadata.packages_distributions().get(name, [])
        return f"version {importlib.metadata.version(distributions[0])}" if distributions else None
    if folders[0].is_file():
        return f"sha256 {hashlib.sha256(folders[0].read_bytes()).hexdigest()}"
    return f"sha256 {hash_sources(folder for folder in folders if folder.is_dir())}"
