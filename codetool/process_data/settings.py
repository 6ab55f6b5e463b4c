"""Settings that turn rollout trees into process data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.prompts.prm_prompt import PRMPrompt

UnitInterval = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class LabelingConfig:
    """Settings of the labels; none of them changes a rollout, so another value relabels the trees that are there."""

    leaf_success: Literal["checked", "judge", "executed"]
    """When a finished leaf succeeds: `checked`: its answer is right; `judge`: a judge says so; `executed`: it ran.

    A task without a checked answer is left to the judge, if there is one, else to whether the leaf ran.
    """
    estimator: Literal["hard", "soft"]
    """The estimate that tells siblings apart which both ran, or both did not."""
    length_term: Literal["mean", "sum"]
    """The remaining steps in the latent reward: their mean over a node's leaves, or the reference code's sum."""
    alpha: UnitInterval
    """Base of the success term of the latent reward."""
    beta: UnitInterval
    """Base of the length term."""
    horizon: PositiveInt
    """Steps that the length term is measured in (L)."""
    keep_unsolved: bool
    """Whether tasks are kept of which no leaf succeeds. All of their steps are worth 0, whatever they are like."""
    balance: bool
    """Whether as many examples are kept of each label."""
    transcripts: PositiveInt
    """Successful paths of a task at most that are written for a policy to learn."""
    prompt: PRMPrompt
    """What a PRM is to read; the same words as those of the PRM that will be trained."""
