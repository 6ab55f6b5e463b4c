"""Plug-ins: packages of others that add options, and which of their classes a recorded run may name.

An installed package declares its folder of options in the entry-point group `codetool`:

    [project.entry-points.codetool]
    film_shop = "film_shop.conf"

Its folder is found without importing it, so that a package that cannot be imported stops no other option. Folders that
the command line adds are plug-ins too: `--config-dir FOLDER`, `hydra.searchpath=[pkg://film_shop.conf]`.
"""

from __future__ import annotations

import importlib.util
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

ENTRY_POINT_GROUP = "codetool"
CORE_PROVIDERS = ("hydra", "main", "schema")
"""Providers of the folders in Hydra's search path that no plug-in adds: Hydra's own and CodeTool's."""


@dataclass(frozen=True)
class Plugin:
    """An installed package that declares a folder of options."""

    distribution: str
    """Name and version of what was installed, `film-shop 1.0`."""
    package: str
    """Dotted name of the folder of options, `film_shop.conf`."""
    folder: Path | None
    """The folder; None if there is none."""


def list_plugins() -> tuple[Plugin, ...]:
    """List the installed packages that declare options, each folder once."""
    return _read_plugins(tuple(sys.path))


@lru_cache(maxsize=4)
def _read_plugins(search_path: tuple[str, ...]) -> tuple[Plugin, ...]:
    """Read the entry points of all distributions on Python's path, which is the key of the cache."""
    plugins = {plugin.package: plugin for plugin in map(_describe_entry, entry_points(group=ENTRY_POINT_GROUP))}
    return tuple(sorted(plugins.values(), key=lambda plugin: plugin.package))


def _describe_entry(entry: EntryPoint) -> Plugin:
    package = entry.value.partition(":")[0].strip()
    distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.name
    return Plugin(distribution, package, _find_package_folder(package))


def _find_package_folder(package: str) -> Path | None:
    """Return the folder of a package without importing it; None if there is no such folder."""
    top_level, *parts = package.split(".")
    folders = (Path(location, *parts) for location in locate_top_level(top_level))
    return next(filter(Path.is_dir, folders), None)


def locate_top_level(name: str) -> list[str]:
    """Return the folders of a top-level package, or the file of a module, without importing it; empty without one."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    return [] if spec is None else [*(spec.submodule_search_locations or ())] or [spec.origin or ""]


def describe_broken_plugins() -> Iterator[str]:
    """Yield a line for each installed package whose declared folder of options is not there."""
    for plugin in list_plugins():
        if plugin.folder is None:
            yield (
                f"plug-in {plugin.distribution}: its entry point names {plugin.package}, and there is no such folder "
                "of options. Its options are left out."
            )


def find_import_folder(options: Path) -> Path:
    """Return the folder from which modules beside a folder of options are imported.

    It is the parent folder, or the first one above it that is no package (has no `__init__.py`).
    """
    folder = options.absolute().parent.resolve()
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def make_importable(options: Path) -> None:
    """Let modules beside a folder of options be imported, after all that are installed.

    A folder that everybody may write to, such as /tmp, is left out: others could put modules there.
    """
    folder = find_import_folder(options)
    if folder.is_dir() and not is_writable_by_all(folder) and str(folder) not in sys.path:
        sys.path.append(str(folder))


def is_writable_by_all(folder: Path) -> bool:
    """Whether everybody may write to a folder; False if it is not there."""
    return folder.is_dir() and bool(folder.stat().st_mode & stat.S_IWOTH)


def is_declared(target: str) -> bool:
    """Whether a class is CodeTool's, or of a package that is installed as a plug-in or added by the command line.

    Importing a module runs its code, and a run folder of somebody else may name any. Nothing is imported here.
    """
    top_level = target.partition(".")[0]
    if top_level in ("codetool", *(plugin.package.partition(".")[0] for plugin in list_plugins())):
        return True
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else ()
    added = [source for source in sources if source.provider not in CORE_PROVIDERS]
    if top_level in {source.path.partition(".")[0] for source in added if source.schema == "pkg"}:
        return True
    import_folders = {find_import_folder(Path(source.path)) for source in added if source.schema == "file"}
    return any(Path(location).resolve().parent in import_folders for location in locate_top_level(top_level))
