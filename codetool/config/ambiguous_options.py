"""Find chosen options that several folders have: Hydra would take the first and say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra.plugins.config_source import ConfigSource

from codetool.config.config_sources import find_folder, get_loader
from codetool.config.plugins import CORE_PROVIDERS, list_plugins


def find_ambiguous_options(choices: Mapping[Any, Any]) -> Iterator[str]:
    """Yield a line for each chosen option that several folders have.

    `choices` are Hydra's: the name of the option, or of several, by `group` or `group@place`.
    """
    sources = [source for source in get_loader().get_sources() if source.available()]
    if all(source.provider in CORE_PROVIDERS for source in sources):
        return
    for choice, chosen in choices.items():
        group = str(choice).partition("@")[0]
        options = [chosen] if isinstance(chosen, str) else list(chosen or ())
        for option in options if not group.startswith("hydra/") else ():
            places = _find_places(sources, f"{group}/{option}")
            if len(places) > 1:
                yield (
                    f"{choice}={option}: {' and '.join(places)} have an option of this name. Rename one of them, or "
                    "leave out one of the packages or folders."
                )


def _find_places(sources: list[ConfigSource], path: str) -> list[str]:
    """Return the names of the folders that have an option, each folder once."""
    names: dict[Path | str, str] = {}
    for source in sources:
        if source.is_config(path):
            folder = find_folder(source.scheme(), source.path)
            names.setdefault(folder.resolve() if folder else source.path, _name_source(source))
    return list(names.values())


def _name_source(source: ConfigSource) -> str:
    if source.provider == "main":
        return "CodeTool"
    place = f"pkg://{source.path}" if source.scheme() == "pkg" else str(source.path)
    installed = source.provider in {plugin.distribution for plugin in list_plugins()}
    return f"{source.provider} ({place})" if installed else place
