"""Explain what is wrong with one override of the command line, in a line that names it and what is allowed."""

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
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from codetool.config.config_sources import (
    is_group,
    list_options,
    load_config_file,
    read_option_package,
    takes_several_options,
)
from codetool.config.hydra_extras import explain_missing_extra
from codetool.config.library_arguments import has_own_checks, list_arguments
from codetool.config.renamed_settings import find_current_name, suggest_current_name
from codetool.config.setting_checks import TARGET_KEY, locate_class
from codetool.config.setting_readers import map_names_to_stages, name_readers
from codetool.tools.secrets import HOW_TO_ADD, is_pasted_key

SURROGATE = re.compile(r"[\ud800-\udfff]")
"""Halves of surrogate pairs, by which Python shows bytes that it could not decode."""
COMPOSE_ERRORS = (
    HydraException, OmegaConfBaseException, ValueError, TypeError, AssertionError, AttributeError, LookupError,
    RecursionError,
)  # fmt: skip
"""What Hydra raises for overrides that it cannot parse or apply; some errors are not its own."""


def get_key(override: str) -> str:
    """Return the setting that an override sets, `search.width` of `+search.width=2`."""
    return override.split("=")[0].lstrip("+~")


def explain_secret_error(override: str) -> str | None:
    """Explain an override that adds a host's key in an unsupported way; None for any other override."""
    name, _, value = override.partition("=")
    if not name.lstrip("+~'\"").startswith("tools.secrets"):
        return None
    shown_override = f"{name}={value}" if value.startswith(("{", "[")) or not is_pasted_key(value) else name
    return f"{shown_override}: no key can be added so. {HOW_TO_ADD}."


def explain_syntax_error(override: str) -> str:
    """Explain an override that Hydra's grammar cannot parse."""
    if (line := explain_secret_error(override)) is not None:
        return line
    if SURROGATE.search(override):
        return f"{override}: holds bytes that are no UTF-8 text. Write UTF-8, and set PYTHONUTF8=1 in other locales."
    key, separator, value = override.partition("=")
    if separator and is_group(key.partition("@")[0]) and not value.startswith("{"):
        return f"{override}: {key} has no option {value!r}. Allowed: {', '.join(list_options(key.partition('@')[0]))}."
    if value.count("${") > value.count("}"):
        return f"{override}: cannot be read: ${{ refers to another setting, ${{seed}} for example, and is not closed."
    rewritten = f"{key}={quote_value(value)}"
    if separator and re.fullmatch(r"[+~]*[\w./@:-]+", key):
        try:
            OverridesParser.create().parse_override(rewritten)
        except COMPOSE_ERRORS:
            pass
        else:
            return (
                f"{override}: cannot be read: the value has characters that want quotes. Write {shlex.quote(rewritten)}"
            )
    return f"{override}: cannot be read. Options are written name=value, for example search.width=2."


def quote_value(value: str) -> str:
    """Quote a value as text of Hydra's grammar."""
    quote = "'" if '"' in value and "'" not in value else '"'
    text = re.sub(rf"(\\*)({quote}|$)", lambda match: match[1] * 2 + (f"\\{quote}" if match[2] else ""), value)
    return f"{quote}{text}{quote}"


def explain_wrong_choice(override: str) -> str | None:
    """Explain why an override cannot choose an option of a group; None if it can."""
    parsed = OverridesParser.create().parse_override(override)
    group = parsed.key_or_group
    if not is_group(group):
        return _explain_hydra_setting(override, parsed)
    value = parsed.value()
    if parsed.is_delete() and group == "stage":
        return f"{override}: a stage cannot be left out. Choose one of them: {', '.join(list_options('stage'))}."
    if parsed.is_delete() and group.startswith("hydra/"):
        return f"{override}: Hydra needs it. Leave it as it is."
    if isinstance(value, dict) or parsed.is_delete():
        return None
    if group == "hydra/sweeper" and value == "basic":
        return f"{override}: hydra/sweeper=grid takes its place, with a table and a resume, and is the default."
    if (line := explain_missing_extra(group, value)) is not None:
        return line
    options, name = list_options(group), parsed.get_key_element()
    if isinstance(value, list) and takes_several_options(group):
        return _explain_wrong_list(override, name, value, group)
    if isinstance(value, str) and value in options:
        return None
    if not isinstance(value, str) or not value:
        shown_override = "a list" if isinstance(value, list) else repr(value) if value is not None else "null"
        return f"{override}: {name} takes the name of one option, not {shown_override}. Allowed: {', '.join(options)}."
    return f"{override}: {name} has no option {value!r}. Allowed: {', '.join(options)}.{suggest(value, options)}"


def _explain_wrong_list(override: str, name: str, chosen: list[Any], group: str) -> str | None:
    """Explain why a list cannot choose the options of a group that takes several; None if it can."""
    options = list_options(group)
    for value in chosen:
        if value not in options:
            suggestion = suggest(str(value), options)
            return f"{override}: {name} has no option {value!r}. Allowed: {', '.join(options)}.{suggestion}"
        if chosen.count(value) > 1:
            return f"{override}: names {value} more than once."
    if alone := [value for value in chosen if read_option_package(group, value) == group and len(chosen) > 1]:
        return f"{override}: {alone[0]} stands alone, {name}={alone[0]}, or is left out of the list."
    return None


def _explain_hydra_setting(override: str, parsed: Override) -> str | None:
    """Explain an override of a Hydra setting that CodeTool does not use; None for other settings."""
    if parsed.key_or_group in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.output_subdir"):
        return (
            f"{override}: result folders are named by what determines the result. Choose where they lie: outputs=FOLDER"
        )
    return None


def explain_error(override: str, previous: Sequence[str]) -> str | None:
    """Explain why an override is invalid after valid ones; None if it is valid."""
    try:
        compose("config", [*previous, override])
    except MissingConfigException as error:
        name, value = override.split("=", 1)
        allowed = sorted(option for option in error.options or () if not option.startswith("_"))
        if not allowed:
            return _explain_unknown_key(override, _compose_known(override, previous), error)
        return f"{override}: {name} has no option {value!r}. Allowed: {', '.join(allowed)}.{suggest(value, allowed)}"
    except COMPOSE_ERRORS as error:
        return _explain_unknown_key(override, _compose_known(override, previous), error)
    return None


def _compose_known(override: str, previous: Sequence[str]) -> DictConfig:
    """Return the configuration whose names an override can be compared with; Hydra's own, if it is for Hydra."""
    return compose("config", list(previous), return_hydra_config=get_key(override).startswith("hydra."))


def _explain_unknown_key(override: str, config: DictConfig, error: Exception) -> str:
    if (line := explain_secret_error(override)) is not None:
        return line
    name, stage = get_key(override), OmegaConf.select(config, "stage", throw_on_missing=False)
    if (current := find_current_name(name)) is not None:
        return f"{override}: no such option. Did you mean {current}?"
    if match := re.match(r"In '(.+?)': Could not override '(.+?)'", str(error)):  # by the preset that is chosen
        return f"{override}: {_explain_unread_group(match[1], match[2], str(stage))}"
    if (stages := map_names_to_stages().get(re.split(r"[.@]", name)[0])) and stage not in stages:
        return f"{override}: {name_readers(stages)}."
    if "@" in name and not override.startswith(("+", "~")) and is_group(name.partition("@")[0]):
        return f"{override}: nothing is chosen there yet. Add it with +{override}"
    parent, _, leaf = name.rpartition(".")
    if leaf in _list_library_arguments(config, parent) and not override.startswith(("+", "~")):
        return f"{override}: the library has it, and the configuration does not list it. Add it: +{override}"
    known_keys = list(_iterate_keys(config))
    if name in known_keys:
        first_line = str(error.__cause__ or error).splitlines()[0]  # Hydra's own message does not say what is wrong
        missing = re.search(r"Could not find '([^']+)/", first_line)  # a file whose defaults list names a former group
        if unknown := re.fullmatch(r"Key '(.+)' is not in struct", first_line):
            return _explain_unknown_entry(override, name, unknown[1], known_keys)
        if first_line.startswith("Cannot merge "):
            return f"{override}: {_explain_merge(OmegaConf.select(config, name), name)}"
        return f"{override}: {first_line}{suggest_current_name(missing[1]) if missing else ''}"
    parent_prefix = f"{parent}." if parent else ""
    names = {key.removeprefix(parent_prefix).split(".")[0] for key in known_keys if key.startswith(parent_prefix)}
    siblings = sorted(names - {"_target_", "_partial_", "_operational_"})
    parent_name = parent or "the top level"
    if parent and not siblings and is_group(parent):
        return f"{override}: the chosen {parent} has no options. Choose another one with {parent}=…"
    group, _, option = parent.rpartition(".")
    if not siblings and is_group(group) and takes_several_options(group) and option in list_options(group):
        return f"{override}: {option} is not chosen. Choose it with {group}={option} or {group}=[{option},…]."
    if not siblings and parent in known_keys:
        hint = f" Choose another one with {parent.replace('.', '/')}=…" if is_group(parent.replace(".", "/")) else ""
        return f"{override}: {parent} has no settings.{hint}"
    if not siblings:
        return f"{override}: no such option: there is no {parent}.{suggest(name, known_keys)}"
    elsewhere = _list_options_with(parent, leaf)
    hint = f" It goes with {parent}={', '.join(elsewhere)}." if elsewhere else suggest(name, known_keys)
    return f"{override}: no such option. {parent_name} has: {', '.join(siblings)}.{hint}"


def _list_options_with(group: str, setting: str) -> list[str]:
    """List the options of a group that have a setting, of their own or by their defaults list; none without a group."""
    return [option for option in list_options(group) if setting in _read_setting_names(group, option)] if group else []


def _read_setting_names(group: str, option: str) -> set[str]:
    config = load_config_file(f"{group}/{option}")
    entries = (config.get("defaults") or ()) if config else ()
    extended = [entry for entry in entries if isinstance(entry, str) and entry not in ("_self_", option)]
    own = {str(name) for name in config or ()} - {"defaults", TARGET_KEY}
    return own.union(*(_read_setting_names(group, entry) for entry in extended))


def _explain_merge(current: Any, name: str) -> str:
    """Explain that a value is no list, or no mapping, as the setting is one."""
    if isinstance(current, DictConfig):
        return f"is a group of settings. Set one of them: {name}.NAME=VALUE"
    return f"should be a list, {name}=[A,B], not a mapping"


def _explain_unknown_entry(override: str, name: str, entry: str, known_keys: Sequence[str]) -> str:
    """Explain a mapping on the command line with an entry that the setting does not have."""
    entries = sorted({key.removeprefix(f"{name}.") for key in known_keys if key.startswith(f"{name}.")} - {TARGET_KEY})
    shown = f" It has: {', '.join(entries)}." if entries else ""
    return f"{override}: {name} has no {entry}.{shown} ++{override.lstrip('+')} adds it where more may be added."


def _list_library_arguments(config: DictConfig, parent: str) -> frozenset[str]:
    """Return the arguments of the library's class that a block of settings is for; empty if it is for none."""
    block = OmegaConf.select(config, parent, throw_on_missing=False) if parent else None
    target = block.get(TARGET_KEY) if isinstance(block, DictConfig) else None
    if target is None:
        return frozenset()
    target_class, reason = locate_class(target)
    return frozenset() if reason or has_own_checks(target_class) else list_arguments(target_class) or frozenset()


def _explain_unread_group(preset: str, group: str, stage: str) -> str:
    """Explain why a preset cannot choose an option of a group."""
    stages = map_names_to_stages().get(group)
    explanation = name_readers(stages) if stages else f"stage={stage} has no group {group}"
    return f"{preset}.yaml chooses {group}=, and {explanation}.{suggest_current_name(group)}"


def suggest(name: str, known_keys: Sequence[str]) -> str:
    """Return a sentence that asks for the known name most like this one; empty if none is like it."""
    others = [key for key in known_keys if not name.startswith(f"{key}.")]  # not the group that the name is in
    close_matches = get_close_matches(name, others, n=1, cutoff=0.6)
    return f" Did you mean {close_matches[0]}?" if close_matches else ""


def _iterate_keys(config: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted name below a node, including its groups."""
    for key in config:
        yield f"{prefix}{key}"
        value = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none() and not value._is_interpolation():
            yield from _iterate_keys(value, f"{prefix}{key}.")
