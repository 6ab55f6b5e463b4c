"""`reuse=[outputs/evaluate/…]`: candidates of other runs that stand for draws of this one, with the cost they had.

A candidate is a function of its prompt, its index, the policy with its sampling settings, and the seed. Its key in
`candidates.jsonl` holds prompt, sampling and index alone, so folders of another policy or seed are refused here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten
from typing import Any

from codetool import journal
from codetool.config import RunConfig
from codetool.errors import ConfigError
from codetool.identity import hashed
from codetool.policies.recorded import Record
from codetool.policies.replay import CANDIDATES
from codetool.stages.report import made_from, settings_of
from codetool.types import Task


def refuse_other_draws(config: RunConfig, checksums: Mapping[str, str]) -> None:
    """Raise ConfigError, with every difference, if a folder of `reuse` is of another policy or seed than this run."""
    ours = _drawn_by(config.settings, version("codetool"), checksums.get("policy"))
    for folder in config.reuse:
        if not (folder / "config.yaml").is_file():
            raise ConfigError(f"reuse: {folder} is no run folder: there is no config.yaml in it.")
        made = made_from(folder)
        theirs = _drawn_by(settings_of(folder), made.get("codetool"), made.get("sha256 of policy"))
        names = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
        if names:
            differences = "; ".join(
                f"{name} is {shorten(repr(theirs.get(name)), 80)} there, {shorten(repr(ours.get(name)), 80)} here"
                for name in names
            )
            raise ConfigError(f"reuse: the candidates of {folder} cannot stand for this run's: {differences}.")


def reused(folders: Sequence[Path], tasks: Sequence[Task]) -> Iterator[Record]:
    """The candidates of these tasks that the folders hold; runs that are going on have those up to now."""
    wanted = {task.id for task in tasks}
    for folder in folders:
        yield from (record for record in journal.read(folder / CANDIDATES) if record["task_id"] in wanted)


def _drawn_by(settings: Mapping[str, Any], ours: str | None, checksum: str | None) -> dict[str, Any]:
    """What determines a draw, by dotted name."""
    policy = hashed(settings, {}).get("policy")
    rest = {"seed": settings.get("seed"), "the checksum of the policy": checksum, "the version of codetool": ours}
    served = hashed(settings, {}).get("vllm") if policy and policy.get("backend") == "vllm" else {}
    return rest | dict(_leaves(policy, "policy")) | dict(_leaves(served, "vllm"))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name}.{key}")
    else:
        yield name, value
