"""The three ways in which the package in `tests/plugin` becomes known to CodeTool."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest
from hydra import compose
from hydra.core.hydra_config import HydraConfig

from codetool.config.config_sources import initialize_hydra, parse_added_folders
from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate

PLUGIN = Path(__file__).parents[1] / "plugin"
PACKAGE = "film_shop"
SEARCH_PATH = f"hydra.searchpath=[pkg://{PACKAGE}.conf]"


@dataclass(frozen=True)
class Door:
    """Flags and words of a command line that adds the package; empty if it is installed."""

    flags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def compose(self, *words: str) -> RunConfig:
        """The settings of a command line."""
        return validate(compose_all([*self.words, *words], flags=self.flags)[0])

    def set_hydra_config(self) -> None:
        """Let HydraConfig know the search path, as in a command."""
        with initialize_hydra(parse_added_folders(self.flags, self.words)):
            HydraConfig.instance().set_config(compose("config", [*self.words], return_hydra_config=True))


def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """Put the package where pip would, with the metadata that its pyproject.toml stands for."""
    site.mkdir(exist_ok=True)
    (site / PACKAGE).symlink_to(PLUGIN / PACKAGE)
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    groups = project["entry-points"]
    write_metadata(site, project["name"], project["version"], groups.pop("codetool"), groups)
    monkeypatch.syspath_prepend(site)
    return Door()


def write_metadata(
    site: Path, name: str, version: str, options: dict[str, str], others: Mapping[str, dict[str, str]] | None = None
) -> None:
    """Write the metadata of an installed package, with its folders of options and its other entry points by group."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "top_level.txt").write_text(f"{name.replace('-', '_')}\n")
    entry_points = {"codetool": options, **(others or {})}
    groups = [
        [f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        for group, entries in entry_points.items()
    ]
    (folder / "entry_points.txt").write_text("\n".join([*chain.from_iterable(groups), ""]))


def add_search_path(site: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    monkeypatch.syspath_prepend(PLUGIN)
    return Door(words=(SEARCH_PATH,))


def add_config_folder(site: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(flags=("--config-dir", str(PLUGIN / PACKAGE / "conf")))


DOORS: dict[str, Callable[[Path, pytest.MonkeyPatch], Door]] = {
    "entry_point": install, "search_path": add_search_path, "config_folder": add_config_folder,
}  # fmt: skip


def forget_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the next use of the package import it, from where it is then."""
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        monkeypatch.delitem(sys.modules, name)
