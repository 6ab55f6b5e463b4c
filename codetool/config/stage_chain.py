"""Chains of stages, `stage=[collect,train,evaluate]`: which override of the command line is for which stage.

An override is for each stage of the chain that reads its setting. One stage alone is named by a prefix:
`evaluate:search=beam`. Stages before the training of a PRM run without the options of `prm=`, since that PRM is not
there yet, unless a prefix says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from codetool.config.override_errors import get_key, quote_value, suggest
from codetool.config.setting_readers import explain_unread, get_block_names, list_readers
from codetool.errors import ConfigError

CHAINED_STAGES = ("collect", "train", "evaluate_prm", "evaluate", "judge")
"""Stages that can be part of a chain, in their usual order."""
CHAIN_OVERRIDE = re.compile(r"stage=\[(?P<stages>.*)\]")
PREFIX = re.compile(rf"(?P<stage>{'|'.join(CHAINED_STAGES)}):(?P<override>.+)", re.DOTALL)
UNKNOWN_PREFIX = re.compile(r"(?P<name>\w+):\+{0,2}[\w./@]+=.*", re.DOTALL)
"""An override with a prefix of any name; Hydra's own names have no colon."""
IMPROVE_PARTS = ("collect", "train", "train_prm", "evaluate")
"""Parts of a round of stage=improve, which a prefix names: `train` is the training of the policy."""
CHAIN_USAGE = "Name stages of a chain in the order in which they run: stage=[collect,train,evaluate]"


def parse_chain(overrides: Sequence[str]) -> list[str]:
    """Return the stages of a chain; empty if the overrides choose no chain. Raises ConfigError for an invalid one."""
    _check_prefixes(overrides)
    chains = [match for override in overrides if (match := CHAIN_OVERRIDE.fullmatch(override))]
    if not chains:
        prefixed = next((override for override in overrides if PREFIX.fullmatch(override)), None)
        if prefixed:
            raise ConfigError(
                f"{prefixed}: a prefix names a stage of a chain, or a part of stage=improve, and no chain is chosen. "
                f"{CHAIN_USAGE}."
            )
        return []
    override = chains[-1].group()
    stages = [name.strip() for name in chains[-1]["stages"].split(",") if name.strip()]
    for stage in stages:
        if stage not in CHAINED_STAGES:
            allowed = ", ".join(CHAINED_STAGES)
            raise ConfigError(f"{override}: {stage!r} is no stage of a chain. Allowed: {allowed}.")
    if len(stages) < 2 or len(set(stages)) < len(stages):
        raise ConfigError(f"{override}: wants two stages or more, each once. {CHAIN_USAGE}.")
    return stages


def _check_prefixes(overrides: Sequence[str]) -> None:
    """Raise ConfigError for a prefix that names no stage of any chain."""
    for override in overrides:
        match = UNKNOWN_PREFIX.fullmatch(override)
        if match and match["name"] not in CHAINED_STAGES:
            allowed = ", ".join(CHAINED_STAGES)
            raise ConfigError(
                f"{override}: {match['name']!r} is no stage of a chain. Allowed: {allowed}."
                f"{suggest(match['name'], CHAINED_STAGES)}"
            )


def gather_prefixed(overrides: Sequence[str]) -> list[str]:
    """Return the overrides with those of single parts of stage=improve as its setting `improve.parts`.

    Other commands are returned as they are. Raises ConfigError for a prefix that names no part.
    """
    stages = [override.partition("=")[2] for override in overrides if get_key(override) == "stage"]
    prefixed = [override for override in overrides if UNKNOWN_PREFIX.fullmatch(override)]
    if stages[-1:] != ["improve"] or not prefixed:
        return list(overrides)
    for override in prefixed:
        if (name := override.partition(":")[0]) not in IMPROVE_PARTS:
            allowed = ", ".join(IMPROVE_PARTS)
            raise ConfigError(
                f"{override}: {name!r} is no part of a round. Allowed: {allowed}.{suggest(name, IMPROVE_PARTS)}"
            )
    others = [override for override in overrides if override not in prefixed]
    if given := [override for override in others if get_key(override) == "improve.parts"]:
        raise ConfigError(f"{given[0]}: settings of parts have prefixes here. Write these so too: {prefixed[0]}.")
    return [*others, f"improve.parts=[{','.join(map(quote_value, prefixed))}]"]


def split_prefix(override: str) -> tuple[str | None, str]:
    """Split an override into the stage of its prefix, None without one, and the override itself."""
    match = PREFIX.fullmatch(override)
    return (match["stage"], match["override"]) if match else (None, override)


def select_overrides(overrides: Sequence[str], stages: Sequence[str]) -> dict[str, list[str]]:
    """Return the overrides of each stage of a chain, without prefixes. Hydra must be initialised.

    Raises ConfigError for an override that no stage of the chain reads.
    """
    selected: dict[str, list[str]] = {stage: [f"stage={stage}"] for stage in stages}
    untrained = _list_stages_before_prm(overrides, stages)
    for given in overrides:
        prefix, override = split_prefix(given)
        if get_key(override) == "stage":
            continue
        if prefix is not None and prefix not in stages:
            raise ConfigError(f"{given}: stage={prefix} is no part of the chain {', '.join(stages)}.")
        readers = list_readers(get_key(override), stages)
        if prefix is None:
            readers = [stage for stage in readers if not (stage in untrained and _is_of_prm(override))]
        else:
            readers = [prefix]
        if not readers:
            raise ConfigError(f"{given}: {explain_unread(get_key(override), stages)}.")
        for stage in readers:
            selected[stage].append(override)
    return selected


def _list_stages_before_prm(overrides: Sequence[str], stages: Sequence[str]) -> Sequence[str]:
    """Return the stages that run before the PRM of the chain is trained; none if it trains no PRM."""
    plain = [split_prefix(override)[1] for override in overrides]
    targets = [override.partition("=")[2] for override in plain if get_key(override) == "train.target"]
    if "train" not in stages or (targets and targets[-1] != "prm"):
        return ()
    return stages[: stages.index("train")]


def _is_of_prm(override: str) -> bool:
    return "prm" in get_block_names(get_key(override))
