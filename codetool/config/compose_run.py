"""Compose the settings of a run from Python: for tests of options and for notebooks."""

from __future__ import annotations

from pathlib import Path

from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate


def compose_run(*overrides: str, config_dir: Path | None = None) -> RunConfig:
    """Return the validated settings of a command line, such as `compose_run("search=beam", "search.n=4")`.

    `config_dir` is a folder of further options, as `--config-dir` names one. Raises ConfigError as a command does.
    """
    flags = [] if config_dir is None else ["--config-dir", str(config_dir)]
    return validate(compose_all(overrides, flags=flags)[0])
