"""TRL's DPOTrainer and GRPOTrainer on recorded steps, one training step at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from policy_steps_to_learn import ALPHA, BETA, CLIP, RANK, SEED, Objective, Work
from torch import Tensor


class TRL:
    """One of TRL's trainers."""

    def __init__(self, objective: Objective, work: Work) -> None:
        """Load the base model in the trainer."""
        from datasets import Dataset
        from peft import LoraConfig
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from trl import DPOConfig, DPOTrainer, GRPOConfig, GRPOTrainer

        from codetool.models.smollm2 import ensure_smollm2

        self.work = work
        self.reference: Mapping[int, Tensor] | None = None
        shared: dict[str, Any] = {
            "output_dir": tempfile.mkdtemp(), "per_device_train_batch_size": 4, "use_cpu": True, "bf16": False,
            "gradient_checkpointing": False, "report_to": "none", "seed": SEED,
        }  # fmt: skip
        given: dict[str, Any] = {
            "model": AutoModelForCausalLM.from_pretrained(work.folder, dtype=torch.float32),
            "processing_class": AutoTokenizer.from_pretrained(ensure_smollm2()),
            "peft_config": LoraConfig(
                r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
            ),
        }
        if objective == "dpo":
            rows = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}])
            settings = DPOConfig(beta=BETA, max_length=None, **shared)
            self.trainer: Any = DPOTrainer(args=settings, train_dataset=rows, **given)
        else:
            rows = Dataset.from_list([{"prompt": "a"}])
            settings = GRPOConfig(
                num_generations=2, beta=0.0, epsilon=CLIP, loss_type="grpo", temperature=1.0, **shared
            )
            self.trainer = GRPOTrainer(args=settings, reward_funcs=_score_nothing, train_dataset=rows, **given)
            self.trainer._prepare_inputs = lambda inputs: inputs  # it would generate
        self._collate: Callable[[Sequence[tuple[int, int]]], dict[str, Any]] = (
            self._collate_pairs if objective == "dpo" else self._collate_groups
        )
        self.model = self.trainer.model

    def compute_gradients(self, passes: Sequence[Sequence[tuple[int, int]]]) -> tuple[list[float], int]:
        """Add the gradients of the mean loss of some passes; return their losses, and the number of tokens computed."""
        self.trainer.current_gradient_accumulation_steps = len(passes)
        losses, tokens = [], 0
        for groups in passes:
            inputs = self._collate(groups)
            tokens += sum(inputs[k].numel() for k in ("input_ids", "prompt_ids", "completion_ids") if k in inputs)
            losses.append(float(self.trainer.training_step(self.model, inputs, None)) * len(passes))
        return losses, tokens

    def precompute_reference(self, table: Mapping[int, Tensor] | None) -> None:
        """Hand the reference's log-probabilities to DPOTrainer; with None it computes them."""
        self.reference = table
        self.trainer.precompute_ref_logps = table is not None

    def _collate_pairs(self, groups: Sequence[tuple[int, int]]) -> dict[str, Any]:
        rows = []
        for better, worse in groups:
            steps = self.work.steps
            row: dict[str, Any] = {
                "prompt_ids": list(steps[better].prompt),
                "chosen_ids": list(steps[better].completion),
            }
            row["rejected_ids"] = list(steps[worse].completion)
            if self.reference is not None:
                row["ref_chosen_logps"] = float(self.reference[better].sum())
                row["ref_rejected_logps"] = float(self.reference[worse].sum())
            rows.append(row)
        inputs: dict[str, Any] = self.trainer.data_collator(rows)
        return inputs

    def _collate_groups(self, groups: Sequence[tuple[int, int]]) -> dict[str, Any]:
        from trl.trainer.utils import pad

        steps = [(i, self.work.steps[i]) for group in groups for i in group]
        prompts = [torch.tensor(step.prompt) for _, step in steps]
        completions = [torch.tensor(step.completion) for _, step in steps]
        masks = [torch.ones_like(tokens) for tokens in completions]
        return {
            "prompt_ids": pad(prompts, padding_value=0, padding_side="left"),
            "prompt_mask": pad([torch.ones_like(tokens) for tokens in prompts], padding_value=0, padding_side="left"),
            "completion_ids": pad(completions, padding_value=0, padding_side="right"),
            "completion_mask": pad(masks, padding_value=0, padding_side="right"),
            "old_per_token_logps": pad([torch.tensor(step.log_probabilities) for _, step in steps], 0, "right"),
            "advantages": torch.tensor([self.work.advantages[i] for i, _ in steps]),
            "num_items_in_batch": torch.tensor(sum(map(len, masks))),
        }


def _score_nothing(**_: Any) -> list[float]:
    raise AssertionError("nothing is generated here")
