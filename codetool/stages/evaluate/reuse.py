"""`reuse=[outputs/evaluate/…]`: candidates of other runs that stand for draws of this one, with the cost they had.

A candidate is a function of its prompt, its index, the policy with its sampling settings, and the seed. Its key in
`candidates.jsonl` holds prompt, sampling and index alone, so folders of another policy or seed are refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.policies.recorded import CANDIDATE_SHAPE, Record, complete_draws
from codetool.policies.replay import CANDIDATES
from codetool.runs import journal, provenance
from codetool.runs.identity import Identity
from codetool.types import Task


def refuse_other_draws(config: RunConfig, identity: Identity) -> None:
    """Raise ConfigError, with every difference, if a folder of `reuse` is of another policy or seed than this run."""
    ours = collect_draw_settings(identity)
    for folder in config.reuse:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"reuse: {folder} is no run folder: there is no config.yaml in it.")
        if differences := describe_difference(collect_draw_settings(provenance.read_provenance(folder).identity), ours):
            raise ConfigError(f"reuse: the candidates of {folder} cannot stand for this run's: {differences}.")


def has_same_draws(identity: Identity, folder: Path) -> bool:
    """Whether the candidates of a run folder are those that a run of this identity would draw for the same prompts."""
    if not (folder / provenance.PROVENANCE_FILE).is_file():
        return False
    return collect_draw_settings(provenance.read_provenance(folder).identity) == collect_draw_settings(identity)


def load_reused_candidates(folders: Sequence[Path], tasks: Sequence[Task]) -> Iterator[Record]:
    """The candidates of these tasks that the folders hold; runs that are going on have those up to now."""
    wanted = {task.id for task in tasks}
    for folder in folders:
        records = journal.read_records(folder / CANDIDATES, CANDIDATE_SHAPE)
        yield from complete_draws([record for record in records if record["task_id"] in wanted])


def describe_difference(there: Mapping[str, Any], here: Mapping[str, Any], where: str = "here") -> str:
    """The settings in which two runs draw differently, in words; empty if they draw alike."""
    return "; ".join(
        f"{name} is {shorten(repr(there.get(name)), 80)} there, {shorten(repr(here.get(name)), 80)} {where}"
        for name in {**here, **there}
        if there.get(name) != here.get(name)
    )


def collect_draw_settings(identity: Identity) -> dict[str, Any]:
    """What determines a draw, by dotted name."""
    settings = identity.settings
    policy = settings.get("policy") or {}
    rest = {
        "seed": settings.get("seed"),
        "the checksum of the policy": identity.checksums.get("policy"),
        "the version of codetool": identity.version,
    }
    served = settings.get("vllm") or {} if policy.get("backend") == "vllm" else {}
    return rest | dict(_flatten(policy, "policy")) | dict(_flatten(served, "vllm"))


def _flatten(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flatten(item, f"{name}.{key}")
    else:
        yield name, value
