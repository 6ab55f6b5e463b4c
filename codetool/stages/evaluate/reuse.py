"""Reuse candidates of other runs instead of drawing them (`reuse=[outputs/evaluate/…]`); they keep their cost.

A candidate is determined by its prompt, its index, the policy with its sampling settings, and the seed. Its key in
`candidates.jsonl` holds only prompt, sampling settings and index, so folders of another policy or seed are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.policies.recorded import CANDIDATE_SHAPE, CandidateRecord, drop_incomplete_draws
from codetool.policies.replay import CANDIDATES_FILE
from codetool.runs import journal, provenance
from codetool.runs.identity import Identity
from codetool.types import Task


def refuse_other_draws(config: RunConfig, identity: Identity) -> None:
    """Raise ConfigError, with every difference, if a folder of `reuse` has another policy or seed than this run."""
    own = collect_draw_settings(identity)
    for folder in config.reuse:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"reuse: {folder} is no run folder: there is no config.yaml in it.")
        if differences := describe_difference(collect_draw_settings(provenance.read_provenance(folder).identity), own):
            raise ConfigError(f"reuse: the candidates of {folder} cannot stand for this run's: {differences}.")


def has_same_draws(identity: Identity, folder: Path) -> bool:
    """Return whether a run of this identity would draw the candidates of a run folder for the same prompts."""
    if not (folder / provenance.PROVENANCE_FILE).is_file():
        return False
    return collect_draw_settings(provenance.read_provenance(folder).identity) == collect_draw_settings(identity)


def load_reused_candidates(folders: Sequence[Path], tasks: Sequence[Task]) -> Iterator[CandidateRecord]:
    """Yield the candidates of these tasks in the folders; a run in progress has those up to now."""
    task_ids = {task.id for task in tasks}
    for folder in folders:
        records = journal.read_records(folder / CANDIDATES_FILE, CANDIDATE_SHAPE)
        yield from drop_incomplete_draws([record for record in records if record["task_id"] in task_ids])


def describe_difference(other: Mapping[str, Any], own: Mapping[str, Any], own_place: str = "here") -> str:
    """Describe the draw settings that differ between two runs; empty if none does."""
    return "; ".join(
        f"{name} is {shorten(repr(other.get(name)), 80)} there, {shorten(repr(own.get(name)), 80)} {own_place}"
        for name in {**own, **other}
        if other.get(name) != own.get(name)
    )


def collect_draw_settings(identity: Identity) -> dict[str, Any]:
    """Return everything that determines a draw of a given prompt, by dotted name.

    `policy.diversity` is left out: it determines the prompts.
    """
    settings = identity.settings
    policy = {name: value for name, value in (settings.get("policy") or {}).items() if name != "diversity"}
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
