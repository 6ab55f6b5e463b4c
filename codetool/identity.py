"""The identity of a result: a hash of what determines it.

What does not change a result (where a server listens, how many tasks are in flight, where files lie) is named in
`NOT_HASHED`; every other setting counts, so a new setting is part of the identity until somebody says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

NOT_HASHED = frozenset(
    {
        "limit", "fresh", "dry_run", "outputs", "reuse", "concurrency", "export", "collect", "judge_stage",
        "answer.base_url", "answer.key_env", "answer.concurrency", "answer.timeout", "answer.retries", "answer.backoff",
        "answer.usd_per_million_in", "answer.usd_per_million_out",
        "benchmark.folder", "benchmark.mirror", "benchmark.queries", "serve_tools", "report", "logger",
        "policy.source", "policy.base_url", "policy.key_env", "policy.concurrency", "policy.timeout", "policy.retries",
        "policy.backoff", "policy.usd_per_million_in", "policy.usd_per_million_out", "policy.wheel", "policy.threads",
        "policy.rows", "policy.prefix_tokens", "policy.path",
        "prm.benchmark", "prm.base_url", "prm.concurrency", "prm.connect_timeout", "prm.timeout", "prm.retries",
        "prm.pause", "prm.path", "prm.key_env", "prm.backoff", "prm.threads", "prm.batch_tokens", "prm.prefix_tokens",
        "prm.wheel", "prm.device",
        "judge.base_url", "judge.key_env", "judge.concurrency", "judge.timeout", "judge.retries", "judge.backoff",
        "judge.comparison",
        "executor.isolation", "executor.max_live",
        "vllm.start_timeout", "vllm.gpu_memory_utilization", "vllm.cpu_cache", "vllm.max_num_seqs",
        "tools.allowed_hosts", "tools.recordings", "tools.record_to", "tools.secrets", "tools.connections",
        "tools.connect_timeout", "tools.timeout", "tools.retries", "tools.backoff", "tools.live", "simulator",
        "tools.cache.folder", "tools.cache.memory", "tools.simulator.base_url", "tools.simulator.key_env",
        "tools.simulator.system_file",
        "tools.simulator.concurrency", "tools.simulator.timeout", "tools.simulator.retries", "tools.simulator.backoff",
    }
)  # fmt: skip


def hashed(settings: Mapping[str, Any], checksums: Mapping[str, str]) -> dict[str, Any]:
    """The part of the resolved settings that determines a result, with the data's checksums and our version."""
    read = dict(settings)
    if settings.get("stage") == "collect" or not (read.get("judge") or {}).get("model"):
        read.pop("judge", None)  # nobody judges; or leaves are judged, which is done anew from the same trees
    parts = {name: _without(value, name) for name, value in read.items() if name not in NOT_HASHED}
    return parts | {"checksums": dict(checksums), "version": version("codetool")}


def identity(settings: Mapping[str, Any], checksums: Mapping[str, str]) -> str:
    """Eight hexadecimal digits that name the result.

    A model that is a folder on this machine is known by its checksum, not by where it lies.
    """
    parts = hashed(settings, checksums)
    for group in ("policy", "prm"):
        if group in checksums and _is_folder(settings.get(group)):
            parts[group] = {key: value for key, value in parts[group].items() if key != "model"}
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_named(model: str) -> Path | None:
    """The folder of a whole model that `policy.model` or `prm.model` names, None for the name of a published model."""
    folder = Path(model).expanduser()
    return folder if (folder / "config.json").is_file() else None


def _is_folder(option: Any) -> bool:
    """Whether the option's model is a folder; a running server's is a name, whatever lies here."""
    return not option.get("base_url") and folder_named(str(option.get("model"))) is not None


def _without(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        named = {f"{name}.{key}": (key, item) for key, item in value.items()}
        return {key: _without(item, place) for place, (key, item) in named.items() if place not in NOT_HASHED}
    return value
