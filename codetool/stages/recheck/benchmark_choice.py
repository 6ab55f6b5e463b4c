"""Choose the benchmark that checks a run's answers again: the run's own, with what the command line changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.interfaces import Benchmark
from codetool.runs.identity import Identity, select_identity_settings
from codetool.stages.evaluate.repeat import read_overrides
from codetool.stages.report import build_benchmark

GROUP = "benchmark"


def choose_benchmark(
    config: RunConfig, choices: Mapping[str, str], recorded: Mapping[str, Any], identity: Identity
) -> tuple[Mapping[str, Any], Benchmark, Any]:
    """Return the settings of the benchmark, the benchmark, and the form in which its settings are hashed.

    `benchmark=NAME` on the command line chooses another one; `benchmark.NAME=VALUE` changes one setting of the run's
    own. Raises MissingError if the recorded settings name no benchmark that there is.
    """
    named = [override.lstrip("+~").partition("=")[0] for override in read_overrides()]
    if GROUP in named:
        hashed = select_identity_settings(config, choices, (GROUP,))[GROUP]
        return config.settings[GROUP], config.benchmark, hashed
    settings = deepcopy(dict(recorded.get(GROUP) or {}))
    hashed = deepcopy(dict(identity.settings.get(GROUP) or {}))
    for name in (name.partition(".")[2] for name in named if name.startswith(f"{GROUP}.")):
        settings[name] = hashed[name] = config.settings[GROUP].get(name)
    return settings, build_benchmark(settings), hashed
