"""Code of plug-ins: the packages, besides this one, whose classes a run's settings name.

Their Python files are part of a result's identity, as a changed plug-in is another method. Libraries that this package
itself requires are no plug-ins; only their version is recorded.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from codetool.runs.identity import PACKAGE_PREFIX, TARGET_KEY

SOURCE_SUFFIXES = (".py", ".yaml")
CHECKSUM_PREFIX = "plug-in "
"""Beginning of the name of a plug-in's checksum in an identity."""


def compute_plugin_checksums(settings: Mapping[str, Any], blocks: Collection[str]) -> dict[str, str]:
    """Return the hex sha256 of the Python files of each plug-in that the named blocks of settings use, by name."""
    names = sorted(set(find_packages({block: settings.get(block) for block in blocks})))
    checksums = {name: hash_package(name, (".py",)) for name in names if not _is_required_library(name)}
    return {f"{CHECKSUM_PREFIX}{name}": checksum for name, checksum in checksums.items() if checksum}


def describe_plugins(settings: Mapping[str, Any]) -> dict[str, str]:
    """Describe each package that settings name: `film-shop 1.2, sha256 X`, without a version if it is not installed.

    Of libraries that this package requires the version alone is given.
    """
    described = {name: _describe_package(name) for name in sorted(set(find_packages(settings)))}
    return {name: text for name, text in described.items() if text}


def find_packages(settings: Any) -> Iterator[str]:
    """Yield the top-level packages of the classes that settings name, without this package and Python's own."""
    if isinstance(settings, Mapping):
        target = settings.get(TARGET_KEY)
        if isinstance(target, str) and "." in target and not target.startswith(PACKAGE_PREFIX):
            name = target.partition(".")[0]
            yield from () if name in sys.stdlib_module_names else (name,)
        for value in settings.values():
            yield from find_packages(value)
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from find_packages(value)


def hash_package(name: str, suffixes: tuple[str, ...] = SOURCE_SUFFIXES) -> str | None:
    """Hash the files of a package, or of a module of one file, without importing it; None if there is none."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if folders := [Path(location) for location in spec.submodule_search_locations or ()]:
        return hash_sources((folder for folder in folders if folder.is_dir()), suffixes)
    file = Path(spec.origin or "")
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None


def hash_sources(folders: Iterable[Path], suffixes: tuple[str, ...] = SOURCE_SUFFIXES) -> str:
    """Compute the hex sha256 of the names and contents of all files with these suffixes, sorted by path."""
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted(file for file in folder.rglob("*") if file.suffix in suffixes and file.is_file()):
            digest.update(f"{folder.name}/{file.relative_to(folder).as_posix()}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _describe_package(name: str) -> str | None:
    installed = [f"{each} {importlib.metadata.version(each)}" for each in _list_distributions().get(name, ())[:1]]
    if installed and _is_required_library(name):
        return installed[0]
    checksum = hash_package(name)
    return ", ".join([*installed, f"sha256 {checksum}"]) if checksum else None


def _is_required_library(name: str) -> bool:
    """Whether a package belongs to a distribution that this package requires, such as torch."""
    return any(_normalize(distribution) in _list_requirements() for distribution in _list_distributions().get(name, ()))


@cache
def _list_requirements() -> frozenset[str]:
    """Return the names of the distributions that this package requires, with those of its extras."""
    requirements = importlib.metadata.requires("codetool") or ()
    return frozenset(_normalize(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in requirements)


def _list_distributions() -> Mapping[str, list[str]]:
    """Map each importable top-level package to the distributions that it belongs to."""
    return _read_distributions(tuple(sys.path))


@cache
def _read_distributions(search_path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Read the distributions on Python's path, which is the key of the cache; it takes a tenth of a second."""
    return importlib.metadata.packages_distributions()


def _normalize(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
