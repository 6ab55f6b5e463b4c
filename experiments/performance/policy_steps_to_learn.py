"""What both sides of policy_objectives.py learn: the steps of synthetic trees, a small random Llama and its adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from random import Random
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from codetool.model_types import PolicyStep
from codetool.models.chat_template import ChatTokenizer
from codetool.training.batch import arrange_rows, build_batch
from codetool.training.module import SFT
from codetool.training.policy_examples import EncodedStep, PolicyExamples, encode_steps

Objective = Literal["dpo", "grpo"]
SEED = 0
RANK, ALPHA = 16, 32
VOCABULARY, SPECIAL_TOKENS = 4096, 17
BETA = 0.1
CLIP = 0.2
ROOM = 3500
"""Tokens of a pass of ours (`train.max_tokens_per_batch`); a pass of TRL has about as many."""
GROUPS_PER_PASS = 2
"""Sibling groups, of two steps each, in a pass of TRL."""


class RenumberedTokenizer(ChatTokenizer):
    """A tokenizer whose tokens are numbered in the order in which they occur, after the first few special ones."""

    def __init__(self, folder: Path) -> None:
        """Load the tokenizer of a model."""
        super().__init__(folder)
        self._numbers: dict[int, int] = {token: token for token in range(SPECIAL_TOKENS)}

    def encode(self, messages: Any) -> list[int]:
        """Return the tokens of a chat."""
        return self._renumber(super().encode(messages))

    def tokenize_literally(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return self._renumber(super().tokenize_literally(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""
        old = list(self._numbers)
        return super().decode([old[token] for token in tokens])

    def _renumber(self, tokens: Sequence[int]) -> list[int]:
        found = [self._numbers.setdefault(token, len(self._numbers)) for token in tokens]
        assert len(self._numbers) <= VOCABULARY
        return found


@dataclass(frozen=True)
class Work:
    """What both sides learn."""

    made: PolicyExamples
    steps: Mapping[int, EncodedStep]
    groups: Sequence[tuple[int, int]]
    """Numbers of the steps of each group; of dpo, the better one first."""
    advantages: Mapping[int, float]
    folder: Path
    """Folder of the base model."""
    adapter: Mapping[str, Tensor]

    def select_passes(self, every: int) -> list[list[tuple[int, int]]]:
        """Return the groups of each pass of TRL, of similar length."""
        ordered = sorted(self.groups, key=lambda group: len(self.steps[group[0]].prompt))
        count = len(ordered) - len(ordered) % GROUPS_PER_PASS
        return [ordered[i : i + GROUPS_PER_PASS] for i in range(0, count, GROUPS_PER_PASS)][::every]


def save_base(folder: Path, layers: int) -> None:
    """Save a Llama of two thirds of SmolLM2-135M's width with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    config = LlamaConfig(
        hidden_size=384, intermediate_size=1024, num_hidden_layers=layers, num_attention_heads=6, num_key_value_heads=2,
        vocab_size=VOCABULARY, max_position_embeddings=8192, tie_word_embeddings=True, rope_theta=100_000,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def build_module(folder: Path) -> SFT:
    """Return our training module on the base model."""
    from codetool.config.overrides import compose_all
    from codetool.config.run_config import validate

    words = ["stage=train", f"tuning.rank={RANK}", f"tuning.alpha={ALPHA}", "tuning.base_dtype=float32"]
    module = SFT(str(folder), asdict(validate(compose_all(words)[0]).tuning), {}, {}, 1, seed=SEED)
    module.configure_model()
    return module


def compose_objective(objective: Objective) -> Any:
    """Return the objective's settings: the defaults, and what both sides must share."""
    from codetool.config.overrides import compose_all
    from codetool.config.run_config import validate

    shared = {"dpo": [f"objective.beta={BETA}"], "grpo": [f"objective.clip_low={CLIP}", f"objective.clip_high={CLIP}"]}
    words = ["stage=train", "train.target=policy", f"objective={objective}", *shared[objective]]
    return validate(compose_all(words)[0]).objective


def prepare_work(objective: Objective, trees: int, folder: Path, layers: int) -> Work:
    """Return the trees' steps with log-probabilities near the base model's, and a random adapter."""
    from synthetic_rollouts import policy_steps

    from codetool.models.smollm2 import ensure_smollm2
    from codetool.training.fork_advantages import compute_advantages

    save_base(folder, layers)
    module, tokenizer = build_module(folder), RenumberedTokenizer(ensure_smollm2())
    records = [step for tree in policy_steps(trees) for step in tree]
    encoded, _ = encode_steps(records, tokenizer, 8192)
    settings = compose_objective(objective)
    made = settings.build_examples(records, tokenizer, 8192)
    advantages: Mapping[int, float] = {}
    if objective == "grpo":
        table = compute_reference(module, made.examples)
        records = record_draws(records, encoded, table)
        made = settings.build_examples(records, tokenizer, 8192)
        advantages = compute_advantages(records, settings).by_step
    encoded, _ = encode_steps(records, tokenizer, 8192)
    learned = {example.targets[0].example_index for example in made.examples}
    steps = {i: step for i, step in enumerate(encoded) if step is not None and i in learned}
    drawn = torch.Generator().manual_seed(SEED)
    adapter = {
        name: torch.randn(weight.shape, generator=drawn) * 0.02
        for name, weight in module.trained.model.named_parameters()
        if weight.requires_grad
    }
    return Work(made, steps, pair_siblings(steps), advantages, folder, adapter)


def record_draws(
    records: Sequence[PolicyStep], encoded: Sequence[EncodedStep | None], table: Mapping[int, Tensor]
) -> list[PolicyStep]:
    """Return the steps with log-probabilities as if a policy near the base model had drawn them."""
    draw = Random(SEED)
    found = []
    for i, (record, step) in enumerate(zip(records, encoded, strict=True)):
        if step is not None and i in table:
            values = tuple(min(0.0, value + draw.uniform(-0.3, 0.3)) for value in table[i].tolist())
            record = replace(record, tokens=step.completion, log_probabilities=values)
        found.append(record)
    return found


def pair_siblings(steps: Mapping[int, EncodedStep]) -> list[tuple[int, int]]:
    """Return the two steps of each group, the one with the higher estimate first."""
    groups: dict[tuple[int, str], list[int]] = {}
    for i, step in steps.items():
        groups.setdefault((step.record.tree, step.record.group), []).append(i)
    return [
        (first, second)
        for members in groups.values()
        for first, second in [sorted(members, key=lambda i: -(steps[i].record.soft or 0.0))]
    ]


def compute_reference(module: SFT, examples: Sequence[Any]) -> dict[int, Tensor]:
    """Return the base model's log-probabilities of each step's tokens."""
    table: dict[int, Tensor] = {}
    with torch.no_grad(), module.trained.model.disable_adapter():
        for rows in arrange_rows([examples], "tree", ROOM):
            batch = build_batch(rows, 1.0)
            logits = module.trained.logits(module.trained(batch)).float()
            values = -F.cross_entropy(logits, batch.target_tokens, reduction="none")
            start = 0
            for step, members in groupby(batch.example_indices):
                count = sum(1 for _ in members)
                table[step], start = values[start : start + count], start + count
    return table
