"""Folders that the configuration is composed from: CodeTool's own, and those that users and plug-ins add.

A folder is added with `--config-dir FOLDER` or `hydra.searchpath=[pkg://my_package.conf]`, or by an installed package
that declares it. Hydra adds the first two only for the run that it composes. This module adds all of them for checks
and help pages too, so that all see the same options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import ClassVar

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig

import codetool
from codetool.config.plugins import CORE_PROVIDERS, list_plugins, locate_top_level, make_importable
from codetool.config.setting_checks import escape_control
from codetool.errors import ConfigError
from codetool.runs.bounded_input import TooLargeError, parse_yaml, read_text

PACKAGE = Path(codetool.__file__).parent
CONF = next(
    (folder for folder in (PACKAGE / "conf", PACKAGE.parent / "conf") if folder.is_dir()), PACKAGE / "conf"
).resolve()
"""Folder of the YAML files: inside the package in a wheel, beside it in a checkout."""
MAX_OPTION_BYTES = 1_000_000
"""Maximum size of an option file of an added folder."""
MAX_OPTION_VALUES = 100_000
"""Maximum number of values of an option file, with those that its anchors stand for."""
MAX_OPTION_FILES = 1_000
"""Number of files of an added folder that are checked."""
_OPTION_ANCHOR = re.compile(r"&\w|[\[{]{50}")
"""Matches what can make a file stand for more values than it has characters, or nest deeply."""
ADDED_PROVIDER = "codetool plug-ins"
"""Provider name of the folders that the command line adds to Hydra's search path."""


SEARCH_PATH_USAGE = (
    "hydra.searchpath lists folders or packages with options: hydra.searchpath=[pkg://my_package.conf]; --config-dir "
    "names one folder."
)


class AddedFolders(SearchPathPlugin):
    """Hydra plug-in that appends the folders of installed plug-ins and the added ones to the search path."""

    folders: ClassVar[tuple[str, ...]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders."""
        for plugin in list_plugins():
            if plugin.folder is not None:
                search_path.append(plugin.distribution, f"file://{plugin.folder}")
        for folder in self.folders:
            search_path.append(ADDED_PROVIDER, folder)


def register_added_folders() -> None:
    """Let Hydra ask `AddedFolders` whenever it builds its search path."""
    if AddedFolders not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(AddedFolders)


@contextmanager
def initialize_hydra(folders: Sequence[str] = ()) -> Iterator[None]:
    """Initialise Hydra with CodeTool's folder and the added ones. Raises ConfigError for a missing folder."""
    if not CONF.is_dir():
        raise ConfigError(f"{CONF} is not there: this installation of CodeTool is incomplete, install it again")
    register_added_folders()
    previous, AddedFolders.folders = AddedFolders.folders, tuple(folders)
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None  # such as the multirun of this cell
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            for source in get_loader().get_sources():
                if source.provider not in CORE_PROVIDERS:
                    _check_source(source)
            yield
    finally:
        AddedFolders.folders = previous
        GlobalHydra.instance().hydra = outer


def _check_source(source: ConfigSource) -> None:
    """Raise ConfigError for an added folder that is not there, or that cannot be read."""
    shown = escape_control(f"{source.scheme()}://{source.path}" if source.scheme() == "pkg" else str(source.path))
    try:
        available = source.available()
    except (Exception, SystemExit) as error:  # a package can raise anything when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"{shown} cannot be had ({escape_control(reason)})") from error
    if not available and source.provider == ADDED_PROVIDER:
        package = source.path.partition(".")[0]
        missing = source.scheme() == "pkg" and package and not locate_top_level(package)
        reason = f": no package {escape_control(package)} is installed" if missing else ""
        raise ConfigError(f"{shown} is no folder of options{reason}. {SEARCH_PATH_USAGE}")
    if available and (folder := find_folder(source.scheme(), source.path)):
        if source.provider == ADDED_PROVIDER and source.scheme() == "file":
            make_importable(folder)
        _check_option_files(folder)


def _check_option_files(folder: Path) -> None:
    """Raise ConfigError for an option file that would take too much memory, before Hydra copies what its anchors name.

    Only the files that can be options are read, in the folder and in those of its groups.
    """
    files = islice(chain(folder.glob("*.yaml"), folder.glob("*/*.yaml")), MAX_OPTION_FILES)
    for file in files:
        try:
            if _OPTION_ANCHOR.search(text := read_text(file, MAX_OPTION_BYTES)):
                parse_yaml(text, max_values=MAX_OPTION_VALUES)
        except (TooLargeError, OSError) as error:
            raise ConfigError(
                f"{file} cannot be read as options: {getattr(error, 'strerror', None) or error}"
            ) from error
        except ValueError:
            pass  # Hydra tells what is malformed, if it reads the file


def parse_added_folders(flags: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the folders that a command line adds. Raises ConfigError for an invalid search path."""
    folders: list[str] = []
    for position, flag in enumerate(flags):
        name, separator, value = flag.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = value if separator else flags[position + 1] if position + 1 < len(flags) else ""
            if not Path(folder).is_dir() or not folder:
                raise ConfigError(f"--config-dir={folder}: there is no such folder")
            folders.append(f"file://{Path(folder).absolute()}")
    for override in overrides:
        if override.split("=")[0].lstrip("+") == "hydra.searchpath":
            folders += _parse_search_path(override)
    return folders


def _parse_search_path(override: str) -> list[str]:
    try:
        value = OverridesParser.create().parse_override(override).value()
    except HydraException as error:
        raise ConfigError(f"{escape_control(override)}: cannot be read. {SEARCH_PATH_USAGE}") from error
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(folder, str) for folder in value):
        raise ConfigError(f"{escape_control(override)}: {SEARCH_PATH_USAGE}")
    return [str(folder) for folder in value]


def get_loader() -> ConfigLoader:
    """Return Hydra's loader; valid inside `initialize_hydra`."""
    return GlobalHydra.instance().config_loader()


def list_options(group: str) -> list[str]:
    """List the options of a group, including those of plug-ins, which can add no stage."""
    sources = [source for source in get_loader().get_sources() if source.is_group(group)]
    if group == "stage":
        sources = [source for source in sources if source.provider in CORE_PROVIDERS]
    names = {name for source in sources for name in source.list(group, ObjectType.CONFIG)}
    return sorted(name for name in names if not name.startswith("_"))


def is_group(name: str) -> bool:
    """Whether a name (without `@package`) is the name of a group of options."""
    return ".." not in name and any(
        source.available() and source.is_group(name) for source in get_loader().get_sources()
    )


def chooses_option(override: str) -> bool:
    """Whether an override, or its left side, chooses an option of a group."""
    return is_group(override.split("=")[0].lstrip("+~").split("@")[0])


def read_option_package(group: str, option: str) -> str:
    """Return the place of an option's settings, as the `# @package` line of its file says: the group without one."""
    for source in get_loader().get_sources():
        if source.available() and source.is_config(f"{group}/{option}"):
            return source.load_config(f"{group}/{option}").header.get("package") or group
    return group


def takes_several_options(group: str) -> bool:
    """Whether a list can choose several options of a group: the settings of each are in a place of its own."""
    packages = (read_option_package(group, option) for option in list_options(group))
    return any(package.startswith(f"{group}.") for package in packages)


def load_config_file(path: str) -> DictConfig | None:
    """Load a YAML file with its defaults list, such as `stage/train`; None if there is none."""
    for source in get_loader().get_sources():
        if source.available() and source.is_config(path):
            config = source.load_config(path).config
            return config if isinstance(config, DictConfig) else None
    return None


def find_config_file(path: str) -> Path | None:
    """Return the file that a path such as `stage/train` is read from; None if it is not a file on disk."""
    for source in get_loader().get_sources():
        if source.available() and source.is_config(path):
            folder = find_folder(source.scheme(), source.path)
            file = folder / f"{path}.yaml" if folder else None
            return file if file and file.is_file() else None
    return None


def find_folder(scheme: str, path: str) -> Path | None:
    """Return the folder of a source of options; None if it is no folder on disk."""
    if scheme == "file":
        return Path(path)
    from importlib.resources import files

    return Path(str(files(path.replace("/", ".")))) if scheme == "pkg" and path else None


def read_default_choices(path: str) -> dict[str, str]:
    """Return the groups that a YAML file's defaults list adds, with the chosen option of each.

    Groups that it overrides or puts into another package (`group@package`) are left out.
    """
    return select_default_choices(load_config_file(path))


def select_default_choices(config: DictConfig | None) -> dict[str, str]:
    """Return the choices of a loaded file's defaults list, see `read_default_choices`."""
    entries = [entry for entry in (config.get("defaults") or ()) if isinstance(entry, DictConfig)] if config else []
    defaults = {str(name): str(option) for entry in entries for name, option in entry.items()}
    return {name.lstrip("/"): option for name, option in defaults.items() if " " not in name and "@" not in name}
