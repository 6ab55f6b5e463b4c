"""Collect the settings of each option of `conf/`: its own, those of the options it extends, and what reads them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import setting_types
import yaml
import yaml_comments

from codetool.config.config_sources import CONF
from codetool.config.run_config import RunConfig
from codetool.runs.identity import read_field_hints

HERE = "_here_"
OWN_PREFIXES = ("codetool.", "hydra_plugins.")
"""Modules whose classes annotate their settings. The arguments of libraries' classes are described by the libraries."""


@dataclass(frozen=True)
class Row:
    """One line of a table of settings."""

    name: str
    """Dotted name, relative to the option's place."""
    default: str | None
    """Text of the value in the YAML; None for a block of further settings."""
    comment: str
    type: str
    operational: bool
    """Whether the setting is left out of the identity of a result."""
    origin: str = ""
    """The option that the setting comes from, such as `endpoint=openai`, if it is another one."""


@dataclass(frozen=True)
class Option:
    """One YAML file of a group."""

    group: str
    name: str
    header: tuple[str, ...]
    """The comment at the start of its file, without directives of Hydra and of the help page."""
    rows: tuple[Row, ...]
    choices: tuple[tuple[str, str], ...]
    """Options of other groups that it chooses: pairs of `group@place` and option."""
    package: str
    """Where its settings are in the configuration: `search`, or "" for the top level."""


def list_groups() -> list[str]:
    """Return the groups of options in alphabetical order; a nested one has a slash, `hydra/sweeper`."""
    folders = {file.parent.relative_to(CONF).as_posix() for file in CONF.rglob("*.yaml")}
    return sorted(folders - {"."})


def read_group(group: str) -> list[Option]:
    """Return the options of a group in alphabetical order."""
    return [read_option(group, file.stem) for file in sorted((CONF / group).glob("*.yaml"))]


def read_common_settings() -> list[Row]:
    """Return the settings of `config.yaml`, which belong to no option."""
    file = CONF / "config.yaml"
    return list(_read_rows(file.read_text(encoding="utf-8"), read_field_hints(RunConfig), {}))


@cache
def read_option(group: str, name: str) -> Option:
    """Return an option with the settings that it takes from others. Its own settings come first."""
    text = (CONF / group / f"{name}.yaml").read_text(encoding="utf-8")
    header = yaml_comments.read_header(text)[0]
    package = next((line.split()[-1] for line in header if line.startswith("@package ")), group.replace("/", "."))
    own = yaml.safe_load(text) or {}
    unhashed = _find_unhashed(group, name)
    own_rows = _read_rows(text, _find_hints(group, name), own, _find_library(group, name))
    rows = {row.name: replace(row, operational=row.operational or unhashed(row.name)) for row in own_rows}
    choices: dict[str, str] = {}
    for entry, option in _list_defaults(own):
        place = entry.removeprefix("override ").lstrip("/")
        if entry and not entry.startswith(("/", "override ")):  # relative: a group inside this one
            choices[f"{group}/{place}"] = option
            continue
        if place and not place.endswith(f"@{HERE}"):
            choices[place] = option
            continue
        inherited, chosen = _read_parent(place.partition("@")[0] or group, option)
        rows |= {full: row for full, row in inherited.items() if full not in rows}
        choices = chosen | choices
    lines = [line for line in header if not line.startswith(("@package", "Reads: "))]
    package = "" if package == "_global_" else package
    return Option(group, name, tuple(lines), tuple(rows.values()), tuple(choices.items()), package)


def find_places(group: str) -> list[str]:
    """Return where options of a group are put besides the place of their name: `policy.prompt` for `policy_prompt`."""
    places: list[str] = []
    for other in list_groups():
        for option in read_group(other):
            for entry, _ in option.choices:
                chosen, _, place = entry.partition("@")
                if chosen == group and place and place != HERE:
                    is_absolute = place.startswith("_global_.") or not option.package
                    places.append(place.removeprefix("_global_.") if is_absolute else f"{option.package}.{place}")
    return sorted(set(places))


def read_stage_names(stage: str) -> list[str]:
    """Return the groups and common settings that a stage reads, from the comment `Reads:` of its file."""
    header = yaml_comments.read_header((CONF / "stage" / f"{stage}.yaml").read_text(encoding="utf-8"))[0]
    text = ", ".join(line.removeprefix("Reads: ") for line in header if line.startswith("Reads: "))
    return re.split(r",\s*", text) if text else []


def _read_parent(group: str, option: str) -> tuple[dict[str, Row], dict[str, str]]:
    """Return the settings and choices that an option takes from another one, `NAME`, or `NAME@BLOCK`."""
    name, _, block = option.partition("@")
    parent = read_option(group, name)
    names = [f"{block}.{row.name}" if block else row.name for row in parent.rows]
    origin = f"{group}={name}"
    rows = {
        full: replace(row, name=full, origin=row.origin or origin) for full, row in zip(names, parent.rows, strict=True)
    }
    return rows, {} if block else dict(parent.choices)


def _list_defaults(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the defaults list as pairs of group and option; the group is empty for an option of the same group."""
    for entry in content.get("defaults") or ():
        if isinstance(entry, dict):
            yield from ((str(place), str(option)) for place, option in entry.items())
        elif entry != "_self_":
            yield "", str(entry)


def _find_hints(group: str, name: str) -> Mapping[str, Any]:
    """Return the annotations of an option's settings, from its `_target_` or from that of an option it extends."""
    file = CONF / group / f"{name}.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    if "@package _global_" in file.read_text(encoding="utf-8"):
        return read_field_hints(RunConfig)
    if target := content.get("_target_"):
        return setting_types.find_hints(target) if str(target).startswith(OWN_PREFIXES) else {}
    parents = [option for place, option in _list_defaults(content) if not place and "@" not in option]
    users = [] if parents else [_find_user(group)]
    return next((_find_hints(group, parent) for parent in parents), next((_find_hints(*u) for u in users if u), {}))


def _find_unhashed(group: str, name: str) -> Callable[[str], bool]:
    """Return whether `_operational_` of an option, or of one that it extends, names a setting; `true` names all."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    names = content.get("_operational_", [])
    parents = [option for place, option in _list_defaults(content) if not place and "@" not in option]
    inherited = [_find_unhashed(group, parent) for parent in parents]
    return lambda setting: names is True or setting in (names or ()) or any(known(setting) for known in inherited)


def _find_library(group: str, name: str) -> str | None:
    """Return the name of the library's class whose arguments an option sets, None for a class of this package."""
    content = yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    if target := content.get("_target_"):
        return None if str(target).startswith(OWN_PREFIXES) else str(target).rpartition(".")[2]
    parents = [option for place, option in _list_defaults(content) if not place and "@" not in option]
    return next((_find_library(group, parent) for parent in parents), None)


def _find_user(group: str) -> tuple[str, str] | None:
    """Return an option into which a group without classes of its own is put (`/group@_here_`)."""
    for file in sorted(CONF.glob("*/*.yaml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        if any(place == f"/{group}@{HERE}" for place, _ in _list_defaults(content)) and "_target_" in content:
            return file.parent.name, file.stem
    return None


def _read_rows(
    text: str, hints: Mapping[str, Any], content: Mapping[str, Any], library: str | None = None
) -> Iterator[Row]:
    content = content or yaml.safe_load(text) or {}
    for setting in yaml_comments.read_settings(text):
        hint = _find_hint(setting.path, hints, content)
        kind = setting_types.describe_type(hint) if hint is not None else setting_types.describe_value(setting.default)
        kind = f"as in `{library}`" if library else kind
        is_operational = setting_types.is_operational(hint)
        yield Row(".".join(setting.path), setting.default, setting.comment, kind, is_operational)


def _find_hint(path: tuple[str, ...], hints: Mapping[str, Any], content: Any) -> Any:
    """Return the annotation of a setting in a block, at any depth; None if nothing annotates it."""
    hint, item = None, None
    for part in path:
        hint = hints.get(part, item)
        content = content.get(part) if isinstance(content, Mapping) else None
        target = content.get("_target_") if isinstance(content, Mapping) else None
        hints, item = setting_types.find_hints(target, hint), setting_types.find_item_hint(hint)
    return hint
