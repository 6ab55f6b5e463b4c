"""Settings that turn rollout trees into process data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, InstanceOf, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.interfaces import ScoringPrompt

UnitInterval = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LabelingConfig:
    """Settings of the labels. They do not affect rollouts, so changing one relabels the existing trees."""

    leaf_success: Literal["checked", "judge", "executed"]
    """Criterion for the success of a finished leaf. `checked`: the answer is correct; `judge`: the LLM judge accepts
    the answer; `executed`: the leaf ran without error.

    If the answer to a task cannot be checked, the LLM judge decides; without one, `executed` applies.
    """
    estimator: Literal["hard", "soft"]
    """The estimate by which siblings are ranked that both ran, or that both did not run."""
    length_term: Literal["mean", "sum"]
    """How the remaining steps enter the latent reward: `mean` over the leaves, or `sum` as in the reference code."""
    alpha: UnitInterval
    """Base of the success term of the latent reward, in (0, 1]."""
    beta: UnitInterval
    """Base of the length term of the latent reward, in (0, 1]."""
    horizon: PositiveInt
    """Number of steps by which the length term is normalized (L in the paper)."""
    keep_unsolved: bool
    """Whether to keep tasks of which no leaf succeeds. All of their steps have the estimate 0."""
    balance: bool
    """Whether to drop examples at random until both labels are equally frequent."""
    transcripts: PositiveInt
    """Maximum number of successful paths per task that are written as transcripts to train a policy on."""
    record_tokens: bool = False
    """Whether candidates are recorded with the ids and log-probabilities of their tokens, for `objective=grpo`. It
    applies to candidates that are drawn from now on."""
    prompt: InstanceOf[ScoringPrompt]
    """Prompt of the PRM; it must be the prompt of the PRM that will be trained on the data."""
