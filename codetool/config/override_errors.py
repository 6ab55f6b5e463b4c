"""What is wrong with one word of the command line, in a line that names it and says what is allowed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from codetool.config.config_sources import group_options, is_group, stage_owners
from codetool.tools.secrets import HOW_TO_ADD, is_pasted_key

NO_SWEEPER = (
    "CodeTool runs its sweeps itself and would ignore Hydra's sweepers and their parameters. Write the values as comma "
    "lists on the command line: -m search.width=1,2"
)


def key_of(word: str) -> str:
    """The option that a word sets, `search.width` of `+search.width=2`."""
    return word.split("=")[0].lstrip("+~")


def secret_error(word: str) -> str | None:
    """The line for a word that would add a key for a host in a way that cannot be; None for any other word."""
    name, _, value = word.partition("=")
    if not name.lstrip("+~'\"").startswith("tools.secrets"):
        return None
    shown = f"{name}={value}" if value.startswith(("{", "[")) or not is_pasted_key(value) else name
    return f"{shown}: no key can be added so. {HOW_TO_ADD}."


def unreadable(word: str) -> str:
    """What to say of a word that Hydra's grammar does not know."""
    if (line := secret_error(word)) is not None:
        return line
    key, separator, value = word.partition("=")
    if separator and is_group(key.partition("@")[0]) and not value.startswith("{"):
        return f"{word}: {key} has no option {value!r}. Allowed: {', '.join(group_options(key.partition('@')[0]))}."
    if value.count("${") > value.count("}"):
        return f"{word}: cannot be read: ${{ refers to another setting, ${{seed}} for example, and is not closed."
    written = f"{key}={quoted(value)}"
    if separator and re.fullmatch(r"[+~]*[\w./@:-]+", key):
        try:
            OverridesParser.create().parse_override(written)
        except HydraException:
            pass
        else:
            return f"{word}: cannot be read: the value has characters that want quotes. Write {shlex.quote(written)}"
    return f"{word}: cannot be read. Options are written name=value, for example search.width=2."


def quoted(value: str) -> str:
    """A value as a quoted text of Hydra's grammar."""
    mark = "'" if '"' in value and "'" not in value else '"'
    text = re.sub(rf"(\\*)({mark}|$)", lambda match: match[1] * 2 + (f"\\{mark}" if match[2] else ""), value)
    return f"{mark}{text}{mark}"


def wrong_choice(word: str) -> str | None:
    """What is wrong with a word that chooses an option of a group, seen alone; None if nothing is."""
    override = OverridesParser.create().parse_override(word)
    group = override.key_or_group
    if not is_group(group):
        return _wrong_hydra_setting(word, override)
    value = override.value()
    if isinstance(value, dict) or override.is_delete():
        return None
    if group == "hydra/sweeper" and value != "basic":
        return f"{word}: {NO_SWEEPER}."
    options, name = group_options(group), override.get_key_element()
    if isinstance(value, str) and value in options:
        return None
    if not isinstance(value, str) or not value:
        shown = "a list" if isinstance(value, list) else repr(value) if value is not None else "null"
        return f"{word}: {name} takes the name of one option, not {shown}. Allowed: {', '.join(options)}."
    return f"{word}: {name} has no option {value!r}. Allowed: {', '.join(options)}.{_guess(value, options)}"


def _wrong_hydra_setting(word: str, override: Override) -> str | None:
    """What is wrong with a setting of Hydra's own that CodeTool does not use."""
    if override.key_or_group.startswith("hydra.sweeper"):
        return f"{word}: {NO_SWEEPER}."
    if override.key_or_group in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir"):
        return f"{word}: result folders are named by what determines the result. Choose where they lie: outputs=FOLDER"
    return None


def mistake(word: str, before: Sequence[str]) -> str | None:
    """What is wrong with a word after others that are right; None if nothing is."""
    try:
        compose("config", [*before, word])
    except MissingConfigException as error:
        name, value = word.split("=", 1)
        allowed = sorted(option for option in error.options or () if not option.startswith("_"))
        if not allowed:
            return _unknown_key(word, compose("config", list(before)), error)
        return f"{word}: {name} has no option {value!r}. Allowed: {', '.join(allowed)}.{_guess(value, allowed)}"
    except (HydraException, OmegaConfBaseException) as error:
        return _unknown_key(word, compose("config", list(before)), error)
    return None


def _unknown_key(word: str, config: DictConfig, error: Exception) -> str:
    if (line := secret_error(word)) is not None:
        return line
    name = key_of(word)
    if refused := re.match(r"In '(.+?)': Could not override '(.+?)'", str(error)):  # by the preset that the word names
        return f"{word}: {_unread_choice(refused[1], refused[2], str(config.stage))}"
    if (stages := stage_owners().get(re.split(r"[.@]", name)[0])) and config.stage not in stages:
        return f"{word}: only stage={', '.join(stages)} reads it."
    parent, _, _ = name.rpartition(".")
    known = list(_keys(config))
    if name in known:
        return f"{word}: {str(error).splitlines()[0]}"
    inside = f"{parent}." if parent else ""
    names = {key.removeprefix(inside).split(".")[0] for key in known if key.startswith(inside)}
    beside = sorted(names - {"_target_", "_operational_"})
    where = parent or "the top level"
    if parent and not beside and is_group(parent):
        return f"{word}: the chosen {parent} has no options. Choose another one with {parent}=…"
    if not beside:
        return f"{word}: no such option: there is no {parent}.{_guess(name, known)}"
    return f"{word}: no such option. {where} has: {', '.join(beside)}.{_guess(name, known)}"


def _unread_choice(preset: str, group: str, stage: str) -> str:
    """Why a preset cannot choose an option of a group."""
    stages = stage_owners().get(group)
    read = f"only stage={', '.join(stages)} reads {group}" if stages else f"stage={stage} has no group {group}"
    return f"{preset}.yaml chooses {group}=, and {read}."


def _guess(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Every dotted name below a node, the node's own groups included."""
    for key in config:
        yield f"{prefix}{key}"
        value = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _keys(value, f"{prefix}{key}.")
