"""Protocol of what a policy learns from rollout trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable


@runtime_checkable
class Objective(Protocol):
    """Settings of an objective of training a policy: an option of the group `objective=`."""

    @property
    def data_file(self) -> Literal["transcripts.jsonl", "policy_steps.jsonl"]:
        """Name of the file of stage=collect that it learns from."""
        ...

    def is_unhashed(self) -> bool:
        """Whether it does with these settings what trainings did before there was a choice of objectives."""
        ...

    def build_examples(self, records: Sequence[Any], tokenizer: Any, max_tokens: int) -> Any:
        """Return the `codetool.training.policy_examples.PolicyExamples` of the file's records, of all tasks.

        `tokenizer` is a `codetool.training.sft_examples.ChatEncoder`. Examples of more than `max_tokens` tokens are
        left out. Raises ConfigError if the records cannot be learned from.
        """
        ...
