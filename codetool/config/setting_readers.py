"""Which stages read a setting: the blocks of a stage's own file, and those that its comment `Reads:` names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from codetool.config.config_sources import (
    find_config_file,
    list_options,
    load_config_file,
    select_default_choices,
)

READ_BY_ALL = frozenset({"outputs", "logger", "dry_run"})
"""Settings that every command may have, also of a stage that creates no run folder and logs nothing."""


def name_readers(stages: Iterable[str]) -> str:
    """Return which stages read a setting, as the middle of a sentence; there is at least one."""
    *others, last = stages
    return f"only stage={', '.join(others)} and {last} read it" if others else f"only stage={last} reads it"


@cache  # of CodeTool's own files, since no folder can add a stage
def map_names_to_stages() -> dict[str, list[str]]:
    """Map each block of settings or group to the stages whose configuration has it; those of all are left out."""
    return _invert({stage: read_names_of_stage(stage) for stage in list_options("stage")})


@cache
def map_names_to_readers() -> dict[str, list[str]]:
    """Map each block of settings or group to the stages that read it, also those that all configurations have.

    What every command may have (`READ_BY_ALL`) is left out.
    """
    names = {stage: read_names_of_stage(stage) | _read_common_names(stage) for stage in list_options("stage")}
    return _invert(names, READ_BY_ALL)


def _invert(names_by_stage: Mapping[str, Iterable[str]], left_out: Iterable[str] = ()) -> dict[str, list[str]]:
    stages: dict[str, list[str]] = {}
    for stage, names in names_by_stage.items():
        for name in set(names) - set(left_out):
            stages.setdefault(name, []).append(stage)
    return stages


def read_names_of_stage(stage: str) -> set[str]:
    """Return the blocks of settings and groups of a stage's file, and of the stages whose files it includes."""
    config = load_config_file(f"stage/{stage}")
    names = {str(key) for key in config or ()} - {"stage", "defaults"} | select_default_choices(config).keys()
    return names.union(*map(read_names_of_stage, _list_included(stage)))


def _read_common_names(stage: str) -> set[str]:
    """Return the common settings that a stage reads, and those of the stages whose files it includes."""
    file = find_config_file(f"stage/{stage}")
    names = set(parse_common_names(file.read_text(encoding="utf-8") if file else ""))
    return names.union(*map(_read_common_names, _list_included(stage)))


def _list_included(stage: str) -> list[str]:
    """List the stages whose files a stage's defaults list includes."""
    config = load_config_file(f"stage/{stage}")
    entries = (config.get("defaults") or ()) if config else ()
    return [entry for entry in entries if isinstance(entry, str) and entry != "_self_"]


def parse_common_names(text: str) -> list[str]:
    """Parse the common settings that a stage reads from the `# Reads:` comment of its file; empty without one."""
    lines = re.findall(r"(?m)^# Reads: (.*)$", text)
    return re.split(r",\s*", ", ".join(lines)) if lines else []


def get_block_names(key: str) -> list[str]:
    """Return the blocks of settings or groups that a setting is of: both of `prm_prompt@collect.prompt`."""
    group, _, package = key.partition("@")
    return [part.split(".")[0] for part in (group, package) if part]


def list_readers(key: str, stages: Sequence[str]) -> list[str]:
    """Return those of the stages that read a setting."""
    readers = map_names_to_readers()
    return [stage for stage in stages if all(stage in readers.get(name, (stage,)) for name in get_block_names(key))]


def explain_unread(key: str, stages: Sequence[str]) -> str | None:
    """Explain that none of the stages reads a setting, as the end of a message; None if one does."""
    if list_readers(key, stages):
        return None
    readers = map_names_to_readers()
    names = sorted({stage for name in get_block_names(key) for stage in readers.get(name, ())})
    return f"{name_readers(names)}, and not {', '.join(stages)}"
