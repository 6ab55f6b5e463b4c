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
    """What determines the distribution that candidates are drawn from; part of a candidate's key.

    None stands for "as recorded" where nothing is drawn, and for "not sent" where a server draws.
    """

    temperature: float | None
    """Divides the logits; 0 takes the most probable token."""
    top_p: float | None
    """The draw is from the smallest set of tokens that holds this probability mass."""
    max_tokens: int | None
    """New tokens of a candidate at most."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files on this machine, in Hugging Face format, and what to compute in."""

    base: Path
    """Folder with `config.json`, the weights and the tokenizer."""
    adapter: Path | None
    """Folder of a LoRA adapter for the base, None for the base alone."""
    precision: Precision


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Where a model answers, and what it is called there."""

    base_url: str
    """OpenAI-compatible, up to and including the version: `http://127.0.0.1:41233/v1`."""
    model: str
    """The `model` of a request."""


@dataclass(frozen=True, slots=True)
class Scores:
    """A PRM's scores of sibling candidates: one latent reward in [0, 1] each, and the tokens of their prompts."""

    values: tuple[float, ...]
    tokens: int = 0
    """Tokens of all prompts that were asked: the same whenever the same candidates are scored."""
    computed: int | None = None
    """Tokens of them that a model really computed. What a cache holds is left out, so it depends on what ran before.
    None: all of them."""

    @property
    def tokens_computed(self) -> int:
        """Tokens that were computed."""
        return self.tokens if self.computed is None else self.computed


@dataclass(frozen=True, slots=True)
class ProcessExample:
    """One judged step of a rollout tree: a line of `process.jsonl`, what a PRM is trained and measured on."""

    task_id: str
    node_id: str
    """Child indices from the root, `1-2-1`."""
    group: str
    """Id of the parent: examples of one task and group are siblings."""
    prefix: tuple[Mapping[str, str], ...]
    """What a PRM reads before the step: chat messages, as `PRMPrompt.prefix_messages` renders them."""
    step: str
    """The text of the step that is judged."""
    executed: bool
    """Whether it ran and its tools answered (on-the-spot reward 1)."""
    soft: float
    """Share of the leaves below it that succeed, in [0, 1]; its own success if it is a leaf."""
    hard: bool
    """Whether any leaf below it succeeds."""
    latent: float
    """Latent reward in [0, 1] by the formula of the paper."""
    label: bool | None
    """Whether it has more potential than its siblings; None where nothing tells them apart."""
    multiplicity: int = 1
    """How many sampled candidates had this same program."""
