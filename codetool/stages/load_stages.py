"""The function of each option of the group `stage`, imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

    from codetool.config.run_config import RunConfig
    from codetool.stages.run_outcome import RunOutcome

RESULT_STAGES = ("collect", "train", "evaluate_prm", "evaluate", "judge", "improve")
"""Stages with a result to compare and to go on from, in their usual order; the others serve, or format a report."""


class Stage(Protocol):
    """Function of a stage."""

    def __call__(
        self,
        config: RunConfig,
        choices: Mapping[str, str],
        console: Console,
        *,
        sweep: str | None = None,
        label: str = "",
        upload: bool = True,
    ) -> RunOutcome:
        """Run the stage and return its outcome; `choices` names the option of each group.

        `sweep` and `label` name the sweep and the cell, if the run is one: then only warnings are printed, and the run
        waits for another cell with the same result. `upload=False` keeps what is logged on this machine.
        """
        ...


def load_stage(name: str) -> Stage:
    """Import and return the function of a stage of `RESULT_STAGES`."""
    if name == "evaluate":
        from codetool.stages.evaluate.run import run

        return run
    if name == "collect":
        from codetool.stages.collect.collect import collect

        return collect
    if name == "train":
        from codetool.stages.train.train import train

        return train
    if name == "evaluate_prm":
        from codetool.stages.evaluate_prm.evaluate_prm import evaluate_prm

        return evaluate_prm
    if name == "improve":
        from codetool.stages.improve.improve import improve

        return improve
    from codetool.stages.judge.judge import judge

    return judge


def run_stage(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Run any stage and return the number of tasks that failed internally."""
    if config.stage in RESULT_STAGES:
        return load_stage(config.stage)(config, choices, console).failed
    if config.stage == "serve_prm":
        from codetool.stages.serve.serve_prm import serve_prm

        return serve_prm(config, choices, console)
    if config.stage == "serve_tools":
        from codetool.stages.serve.serve_tools import serve_tools

        return serve_tools(config, choices, console)
    if config.stage == "dashboard":
        from codetool.stages.dashboard.dashboard import dashboard

        return dashboard(config, choices, console)
    if config.stage == "compare":
        from codetool.stages.compare.compare import compare

        return compare(config, choices, console)
    if config.stage == "recheck":
        from codetool.stages.recheck.recheck import recheck

        return recheck(config, choices, console)
    from codetool.stages.shards.report_shards import merge_and_report

    return merge_and_report(config, choices, console)
