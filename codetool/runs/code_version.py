"""Version of the running code: package version, sha256 of its source, git commit. Read once when a command starts.

Two versions are the same if the sha256 of their sources are equal; a commit alone does not cover local changes.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codetool.runs.host import select_variables
from codetool.runs.plugin_code import describe_plugins, hash_sources

PACKAGE_FOLDER = Path(__file__).parents[1]
GIT_SECONDS = 5.0


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
    """Other packages whose classes the settings name: `DISTRIBUTION VERSION, sha256 X`, as far as there is each."""

    @property
    def key(self) -> tuple[Any, ...]:
        """Value that is equal for equal code."""
        return self.sha256, tuple(sorted(self.plugins.items()))

    def __str__(self) -> str:
        """Return a short description."""
        commit = f", commit {self.commit[:8]}{' with changes' if self.changed else ''}" if self.commit else ""
        plugins = "".join(f", {name}: {text}" for name, text in sorted(self.plugins.items()))
        plugins = re.sub(r"(?<=sha256 [0-9a-f]{8})[0-9a-f]+", "", plugins)
        return f"codetool {self.version} (source {self.sha256[:8]}{commit}{plugins})"


def read_code_version(settings: Mapping[str, Any]) -> CodeVersion:
    """Read the version of the code on disk; the `_target_`s in a run's `settings` name plug-ins."""
    commit, changed = read_git_state(PACKAGE_FOLDER)
    return CodeVersion(
        version=importlib.metadata.version("codetool"),
        sha256=hash_sources(list_source_folders()),
        commit=commit or _read_installed_commit(),
        changed=changed,
        plugins=describe_plugins(settings),
    )


def list_source_folders() -> list[Path]:
    """List the package's folder, and `conf/` if it is beside it."""
    conf_folder = PACKAGE_FOLDER.parent / "conf"
    return [PACKAGE_FOLDER, *([conf_folder] if (conf_folder / "config.yaml").is_file() else [])]


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
