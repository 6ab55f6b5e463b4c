"""What determines a result of stage=evaluate or collect: settings, and checksums of data, models and recordings."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.interfaces import PolicyOption
from codetool.runs.bounded_input import read_bytes
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.stages.evaluate.task_price import describe_rates
from codetool.stages.judge.judge_run import needs_judge


def compute_identity(config: RunConfig, choices: Mapping[str, str]) -> Identity:
    """Return the identity of a result of stage=evaluate or stage=collect. Raises MissingError for missing data."""
    settings = select_settings(config, choices)
    return Identity(settings, _compute_checksums(config) | compute_plugin_checksums(config.settings, settings))


def select_settings(config: RunConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that determine a result of stage=evaluate or stage=collect."""
    settings = select_identity_settings(config, choices)
    if not needs_judge(config):
        settings.pop("judge", None)  # in stage=collect leaves are judged again from the same trees
    if not needs_vllm_server(config.prm, config.policy):
        settings.pop("vllm", None)
    if rates := describe_rates(config):
        settings["budget"] |= rates
    return settings


def needs_vllm_server(*options: Any) -> bool:
    """Return whether one of the options needs an own vLLM server, whose settings then determine the result."""
    return any(_needs_vllm_server(option) for option in options)


def _needs_vllm_server(option: Any) -> bool:
    if hasattr(option, "backend"):
        return bool(option.backend == "vllm" and getattr(option, "base_url", None) is None)
    return option.weights() is not None


def _compute_checksums(config: RunConfig) -> dict[str, str]:
    """Return the hex sha256 of each file or model that the result depends on, by name."""
    checksums = {"benchmark": config.benchmark.checksum()}
    if (policy := config.policy.checksum()) is not None:
        checksums["policy"] = policy
    if (prm := config.prm.checksum()) is not None:
        checksums["prm"] = prm
    if isinstance(config.answer, PolicyOption) and (answer := config.answer.checksum()) is not None:
        checksums["answer"] = answer
    for source in ("recorded_answers", "replica"):
        option = getattr(config.tools, source)
        if option is not None and (checksum := option.checksum()) is not None:
            checksums[source] = checksum
    if config.tools.mode == "simulated":
        checksums["simulator"] = config.simulator.checksum()
    for number, file in enumerate(config.tools.recordings, start=1):
        if file.is_file():  # the broker reports a missing file
            checksums[f"recording {number}"] = sha256(read_bytes(file)).hexdigest()
    return checksums
