"""Supervised fine-tuning of a policy on successful paths.

The loss of an update is the weighted mean of the cross-entropy of the tokens of all steps in it,

    L = - sum_t w_t log π(y_t | x, y_<t) / sum_t w_t,

where the steps that failed are context and have no weight. With `weight: uniform` w_t is 1. With `weight: reward` it is
the share of successful leaves below the token's step (reward-weighted regression, Peters and Schaal 2007, with the
estimate as the reward), so that a step after which most paths fail counts less though one of them succeeded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Any, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.training.policy_examples import PolicyExamples
from codetool.training.sft_examples import ChatEncoder, build_policy_examples


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SFTConfig:
    """Settings of `objective=sft`."""

    weight: Literal["uniform", "reward"]
    """Weight of a step: `uniform` is 1; `reward` is the share of successful leaves below it."""

    data_file = "transcripts.jsonl"

    def is_unhashed(self) -> bool:
        """Whether all steps have the same weight, as before there was a choice."""
        return self.weight == "uniform"

    def build_examples(self, records: Sequence[Any], tokenizer: ChatEncoder, max_tokens: int) -> PolicyExamples:
        """Return the examples of transcripts. Raises ConfigError for transcripts without the rewards of their steps."""
        transcripts: Sequence[Any] = records if self.weight == "uniform" else list(map(_weigh_by_reward, records))
        examples = list(build_policy_examples(transcripts, tokenizer))
        kept = [example for example in examples if len(example.tokens) <= max_tokens]
        reason = "no assistant message has a weight"
        if examples:
            reason = f"all {len(examples)} are longer than {max_tokens} tokens (train.max_length)"
        return PolicyExamples(kept, len(examples) - len(kept), reason=reason)


@plain_dataclass(frozen=True)
class _WeightedTranscript:
    """A transcript whose weights are the rewards of its messages."""

    task_id: str
    messages: Sequence[Any]
    weights: Sequence[float]


def _weigh_by_reward(transcript: Any) -> _WeightedTranscript:
    if not transcript.rewards:
        raise ConfigError(
            f"objective.weight=reward: the transcripts of task {transcript.task_id} have no rewards. The command of "
            "stage=collect that wrote them adds them, without a model; or choose objective.weight=uniform."
        )
    rewards: Iterator[float] = iter(transcript.rewards)
    weights = [
        weight * next(rewards) if message["role"] == "assistant" else 0.0
        for message, weight in zip(transcript.messages, transcript.weights, strict=True)
    ]
    return _WeightedTranscript(transcript.task_id, transcript.messages, weights)
