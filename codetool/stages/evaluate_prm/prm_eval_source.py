"""Choose where the steps of stage=evaluate_prm come from: `evaluate_prm.data`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.prm.oracle import OraclePRM
from codetool.prompts.prm_prompt import PairwisePRMPrompt

if TYPE_CHECKING:
    from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset


def check_source(config: RunConfig) -> None:
    """Raise ConfigError if the PRM cannot score the steps of `evaluate_prm.data`, or if these are not named."""
    if config.evaluate_prm.data == "rollouts":
        if not config.evaluate_prm.runs:
            raise ConfigError(
                "evaluate_prm.runs is not set. Name folders of stage=collect: evaluate_prm.runs=[outputs/collect/NAME]"
            )
        return
    data = f"evaluate_prm.data={config.evaluate_prm.data}"
    if config.evaluate_prm.runs:
        raise ConfigError(f"{data} reads no folders of stage=collect: leave evaluate_prm.runs out.")
    if isinstance(config.prm, OraclePRM):
        raise ConfigError(
            f"prm=oracle knows the solutions of a benchmark's tasks, not those of {data}. Name another PRM; the row "
            "oracle is printed beside every PRM."
        )
    if isinstance(getattr(config.prm, "prompt", None), PairwisePRMPrompt):
        raise ConfigError(
            f"prm=pairwise compares siblings, and the steps of {data} have none. Name a PRM that judges a step at a "
            "time, prm=smollm2 or prm=qwen7b."
        )


def load_source(config: RunConfig) -> PRMEvalDataset:
    """Return the steps of the first `limit` tasks. Raises MissingError, UnreachableError and ConfigError."""
    from codetool.stages.evaluate_prm import labelled_trajectories, prm_eval_dataset  # here: numpy delays messages

    settings = config.evaluate_prm
    if settings.data == "agentprocessbench":
        return labelled_trajectories.load_labelled_trajectories(settings.agentprocessbench, config.limit)
    return prm_eval_dataset.load_prm_eval_dataset(settings.runs, config.limit)


def describe_source(config: RunConfig) -> str:
    """Return where the steps come from, in a few words."""
    settings = config.evaluate_prm
    if settings.data == "agentprocessbench":
        return f"agentprocessbench {' '.join(settings.agentprocessbench.parts)}"
    return " ".join(map(str, settings.runs))
