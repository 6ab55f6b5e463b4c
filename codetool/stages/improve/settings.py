"""Settings of `stage=improve`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from codetool.config.stage_chain import IMPROVE_PARTS
from codetool.runs.operational import Operational


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RewardWeights:
    """Weights of the terms of a path's reward: answer · success - errors · failed steps - length · steps."""

    answer: PositiveFloat
    """Weight of the checked answer, 1 if it is right and 0 if not."""
    errors: NonNegativeFloat
    """Amount taken for each step that failed or whose tools did not answer."""
    length: NonNegativeFloat
    """Amount taken for each step."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImproveConfig:
    """Settings of the rounds in which a policy learns from its own search trees."""

    rounds: Annotated[PositiveInt, Operational]
    """Maximum number of rounds; a larger number continues the same folder."""
    tasks: PositiveInt
    """Number of tasks that a round collects trees for, drawn by the seed without replacement over all rounds."""
    dev_tasks: PositiveInt | None
    """Number of tasks of each evaluation, the first in benchmark order; None for all."""
    objective: Literal["sft", "dpo", "grpo"]
    """Option of `objective=` for the policy's training: successful paths, pairs of siblings, or advantages of steps."""
    reward: RewardWeights
    """Weights of the terms of a path's reward."""
    prm: Literal["none", "train"]
    """`none`: the PRM stays as it is. `train`: it is trained on the labelled steps of each round as well."""
    start: Literal["previous", "base"]
    """Weights that a round's training begins with: those of the round before it, or the model without an adapter."""
    data: Literal["round", "all"]
    """Whether a round trains on its own trees, or on those of all rounds so far."""
    patience: Annotated[PositiveInt, Operational]
    """Number of rounds in a row without a rise of success on dev after which no further one begins."""
    train_split: str | None
    """Value of `benchmark.split` for the trees; None leaves the benchmark as it is."""
    dev_split: str | None
    """Value of `benchmark.split` for the evaluations; None leaves the benchmark as it is."""
    parts: Annotated[tuple[str, ...], Operational]
    """Overrides of one part, each with the part's name before it, `collect:search.n=8`. What they set is hashed."""

    @field_validator("parts")
    @classmethod
    def _check_parts(cls, parts: tuple[str, ...]) -> tuple[str, ...]:
        for override in parts:
            if override.partition(":")[0] not in IMPROVE_PARTS or "=" not in override:
                raise ValueError(
                    f"{override!r} is no setting of a part. Write it without improve.parts, as in collect:search.n=8; "
                    f"parts are {', '.join(IMPROVE_PARTS)}"
                )
        return parts
