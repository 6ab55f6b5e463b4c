"""Frozen records about language models: sampling settings, weights, model servers, PRM scores, PRM examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Precision = Literal["bfloat16", "float32"]
"""Number format that a model computes in."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling settings of a language model; part of the key of a recorded candidate.

    None means "as recorded" for a replayed policy, and "not sent" for a policy behind a server.
    """

    temperature: float | None
    """Divides the logits; 0 takes the most probable token."""
    top_p: float | None
    """Nucleus sampling: draw from the smallest set of tokens with this probability mass."""
    max_tokens: int | None
    """Maximum number of new tokens of a candidate."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Model files on this machine in Hugging Face format, and the number format to compute in."""

    base: Path
    """Folder with `config.json`, the weights and the tokenizer."""
    adapter: Path | None
    """Folder of a LoRA adapter for the base, None for the base alone."""
    precision: Precision


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Address of a served model and its name there."""

    base_url: str
    """OpenAI-compatible, up to and including the version: `http://127.0.0.1:41233/v1`."""
    model: str
    """Value of `model` in requests."""
    replicas: tuple[str, ...] = ()
    """Addresses of further servers of the same model."""


@dataclass(frozen=True, slots=True)
class Scores:
    """PRM scores of sibling candidates: one latent reward in [0, 1] each, and their prompt tokens."""

    values: tuple[float, ...]
    tokens: int = 0
    """Tokens of all prompts, whether or not a cache held them."""
    computed: int | None = None
    """Tokens that were not read from a cache, which depends on earlier requests. None: all of them."""

    @property
    def tokens_computed(self) -> int:
        """Tokens that were not read from a cache."""
        return self.tokens if self.computed is None else self.computed


@dataclass(frozen=True, slots=True)
class PolicyStep:
    """One step of a rollout tree as the policy drew it: a record of `policy_steps.jsonl`, for training policies."""

    task_id: str
    node_id: str
    """Child indices from the root, `1-2-1`."""
    group: str
    """Id of the parent: steps of one task and group are siblings, drawn after the same path."""
    prompt: tuple[Mapping[str, str], ...]
    """Chat messages that the policy was asked with."""
    completion: str
    """Text exactly as it was drawn, without the stop string."""
    ending: str
    """The stop string after the completion; empty where the completion ended otherwise, by its length for example."""
    executed: bool
    """Whether the step ran and its tool calls were answered (on-the-spot reward 1)."""
    finished: bool
    """Whether the step says that it is the last one of its path."""
    soft: float | None = None
    """Share of successful leaves below the step, in [0, 1]; None if no leaf below it has a known outcome."""
    hard: bool | None = None
    """Whether any leaf below the step succeeds; None if no leaf below it has a known outcome."""
    reward: float | None = None
    """Reward of the path that ends with this step: 1 for success, 0 for failure; None if it goes on or is unknown."""
    multiplicity: int = 1
    """Number of sampled candidates with the same program."""
    tokens: tuple[int, ...] = ()
    """Ids of the drawn tokens, those of the stop string included; empty where they were not recorded."""
    log_probabilities: tuple[float, ...] = ()
    """Natural logarithm of the probability of each of `tokens` when it was drawn, under the policy at temperature 1 and
    without a nucleus, whatever the sampling settings were."""
    tree: int = 0
    """Number of the step's tree among those that were read; a task in two files has two trees."""

    @property
    def depth(self) -> int:
        """Number of the step in its path, from 1."""
        return self.node_id.count("-") + 1


@dataclass(frozen=True, slots=True)
class ProcessExample:
    """One labelled step of a rollout tree: a line of `process.jsonl`, for training and evaluating PRMs."""

    task_id: str
    node_id: str
    """Child indices from the root, `1-2-1`."""
    group: str
    """Id of the parent: examples of one task and group are siblings."""
    prefix: tuple[Mapping[str, str], ...]
    """Chat messages that a PRM reads before the step, as `PRMPrompt.prefix_messages` renders them."""
    step: str
    """Text of the step that is scored."""
    executed: bool
    """Whether the step ran and its tool calls were answered (on-the-spot reward 1)."""
    soft: float
    """Share of successful leaves below the step, in [0, 1]; the success of the step itself if it is a leaf."""
    hard: bool
    """Whether any leaf below the step succeeds."""
    latent: float
    """Latent reward in [0, 1] by the formula of the paper."""
    label: bool | None
    """Whether the step has more potential than its siblings; None if all have the same."""
    multiplicity: int = 1
    """Number of sampled candidates with the same program."""
    result: str | None = None
    """Text that follows the step in the prompt of a PRM that reads what the step did; None in files written before."""
