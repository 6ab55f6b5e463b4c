"""The settings by which an objective learns, and the reward that it learns from."""

from __future__ import annotations

from collections.abc import Mapping

from codetool.errors import ConfigError
from codetool.stages.improve.settings import ImproveConfig

DATA: Mapping[str, str] = {"sft": "transcripts", "dpo": "policy_steps", "grpo": "policy_steps"}
"""Count in `summary.json` of the data that each objective learns from."""


def list_objective_words(settings: ImproveConfig) -> list[str]:
    """Return the overrides of stage=train for `improve.objective` and `improve.reward`. Raises ConfigError.

    Only grpo computes rewards of paths; sft and dpo learn from checked answers alone. An advantage does not change if
    all rewards are multiplied by a number, so the weights count in units of the answer's.
    """
    reward = settings.reward
    words = [f"objective={settings.objective}"]
    terms = {"errors": reward.errors / reward.answer, "length": reward.length / reward.answer}
    used = {name: weight for name, weight in terms.items() if weight}
    if used and settings.objective != "grpo":
        name = next(iter(used))
        raise ConfigError(
            f"improve.reward.{name}={getattr(reward, name)}: improve.objective={settings.objective} learns from "
            "checked answers alone. Choose improve.objective=grpo, or leave it 0."
        )
    penalties = {"errors": "error_penalty", "length": "length_penalty"}
    return [*words, *(f"objective.{penalties[name]}={weight}" for name, weight in used.items())]


def list_recording_words(settings: ImproveConfig) -> list[str]:
    """Return the overrides of stage=collect that record what the objective reads of the steps' tokens."""
    return ["collect.record_tokens=true"] if settings.objective == "grpo" else []
