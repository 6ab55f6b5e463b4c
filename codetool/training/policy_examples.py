"""Training examples of a policy from its own steps: each drawn step after its prompt, as tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codetool.model_types import PolicyStep
from codetool.training.sft_examples import ChatEncoder, SFTExample, Target

if TYPE_CHECKING:
    from codetool.training.step_loss import StepLoss

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PolicyExamples:
    """What a policy learns with an objective."""

    examples: Sequence[SFTExample]
    too_long: int = 0
    """Number of records that were left out because of their length."""
    loss: StepLoss | None = None
    """Loss of the steps that the examples are; None for the cross-entropy of their targets."""
    summary: str = ""
    """One line about what is learned, to print; empty if there is nothing to say."""
    reason: str = ""
    """Why there are no examples, for the error message."""


@dataclass(frozen=True, slots=True)
class EncodedStep:
    """A step of the policy as tokens."""

    record: PolicyStep
    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    """Log-probability of each token of the completion when it was drawn; empty where it was not recorded."""

    def to_example(self, index: int, weight: float, group: str = "") -> SFTExample:
        """Return the training example; every token of the completion is a target of weight `weight`.

        `index` is the number of the step among all steps. Examples of one non-empty `group` share a forward pass.
        """
        first = len(self.prompt) - 1
        targets = tuple(
            Target(first + i, weight, token, example_index=index, group=group if i == 0 else "")
            for i, token in enumerate(self.completion)
        )
        return SFTExample(self.record.task_id, (*self.prompt, *self.completion[:-1]), targets)


def encode_steps(
    steps: Sequence[PolicyStep], tokenizer: ChatEncoder, max_tokens: int
) -> tuple[list[EncodedStep | None], int]:
    """Return each step as tokens, and how many are None because they are longer than `max_tokens`.

    The completion has the recorded tokens. Without them, or if they are not of this tokenizer, its text is tokenized,
    and its log-probabilities are unknown. A step without any text is None.
    """
    prompts: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}
    encoded: list[EncodedStep | None] = []
    foreign = too_long = 0
    for step in steps:
        key = tuple((message["role"], message["content"]) for message in step.prompt)
        if key not in prompts:
            prompts[key] = tuple(tokenizer.encode([dict(message) for message in step.prompt]))
        drawn, log_probabilities = step.tokens, step.log_probabilities
        if drawn and not tokenizer.decode(drawn).startswith(step.completion):
            foreign, drawn, log_probabilities = foreign + 1, (), ()
        completion = drawn or tuple(tokenizer.tokenize_literally(step.completion + step.ending))
        is_long = len(prompts[key]) + len(completion) - 1 > max_tokens
        too_long += is_long
        if is_long or not completion:
            encoded.append(None)
        else:
            encoded.append(EncodedStep(step, prompts[key], completion, log_probabilities))
    if foreign:
        log.warning(
            "The recorded tokens of %d of %d steps are not of this model's tokenizer: their texts are tokenized anew.",
            foreign,
            len(steps),
        )
    return encoded, too_long
