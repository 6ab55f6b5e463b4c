"""A stage run in this process, which saves the seconds that a command line takes to start."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from chat_server import ChatServer
from rich.console import Console

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.stages.collect.collect import collect
from codetool.stages.evaluate.run import run
from codetool.stages.run_outcome import RunOutcome

GROUPS = {
    "benchmark": "tmdb_verified", "search": "beam", "policy": "smollm2", "prm": "smollm2", "reward": "codetool",
    "judge": "none", "experiment": "none",
}  # fmt: skip


def scripted(policy: ChatServer) -> tuple[str, ...]:
    """The words of a policy behind the scripted server, without a PRM."""
    return ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "benchmark.split=dev", "prm=none")


def prepare_run(outputs: Path, *words: str, **replaced: Any) -> tuple[Any, dict[str, str], Console]:
    """The settings of a command line with some parts replaced, the options of its groups, and a console that keeps."""
    words = (f"outputs={outputs}", "logger=none", *words)
    config = replace(validate(compose_all(words)[0]), **replaced)
    chosen = dict(word.split("=", 1) for word in words if "=" in word)
    return config, {**GROUPS, **{name: chosen[name] for name in GROUPS if name in chosen}}, Console(file=io.StringIO())


def evaluate_run(outputs: Path, *words: str, **replaced: Any) -> RunOutcome:
    """What stage=evaluate came to."""
    return run(*prepare_run(outputs, *words, **replaced))


def collect_run(outputs: Path, *words: str, **replaced: Any) -> int:
    """What stage=collect returned."""
    return collect(*prepare_run(outputs, "stage=collect", *words, **replaced)).failed


def evaluate_with_log(outputs: Path, *words: str, **replaced: Any) -> tuple[RunOutcome, str]:
    """What stage=evaluate came to, and what it printed on standard error."""
    config, choices, console = prepare_run(outputs, *words, **replaced)
    console.width = 300
    outcome = run(config, choices, console)
    assert isinstance(console.file, io.StringIO)
    return outcome, console.file.getvalue()


def is_timing(key: str) -> bool:
    """Whether a field is a time, or counts what commands have asked, which a repetition need not do."""
    return key.startswith("seconds") or key in ("component_seconds", "spent")


def remove_seconds(value: Any) -> Any:
    """The value without seconds and what was really spent, at any depth."""
    if isinstance(value, Mapping):
        return {key: remove_seconds(item) for key, item in value.items() if not is_timing(key)}
    return [remove_seconds(item) for item in value] if isinstance(value, list) else value
