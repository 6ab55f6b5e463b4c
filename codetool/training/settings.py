"""Settings of `stage=train`: the target, the data and the optimization."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Checksummed, Operational

Fraction = Annotated[float, Field(ge=0, lt=1)]


PRM_ONLY = ("labels", "soft_target", "loss", "add_label_tokens")
"""Settings that mean nothing to a policy."""
VALIDATION_ONLY = ("val_checks_per_epoch", "early_stopping_patience")
"""Settings that mean nothing where no tasks are kept back."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrainConfig:
    """Settings of a training run."""

    target: Literal["prm", "policy"]
    """`prm`: a PRM, trained on `process.jsonl`. `policy`: a policy, trained on `transcripts.jsonl`."""
    labels: Literal["hard", "soft"]
    """What a PRM learns: the label, 0 or 1, or the estimate named by `soft_target`."""
    soft_target: Literal["soft", "latent"]
    """The estimate that `labels: soft` learns."""
    loss: Literal["labels", "vocabulary"]
    """A PRM's loss: over its two labels alone, or over the whole vocabulary."""
    batching: Literal["padded", "packed", "tree"]
    """How examples share a forward pass."""
    files: Annotated[tuple[Path, ...], Checksummed]
    """Files, or folders of `stage=collect`, with the examples."""
    val_fraction: Fraction
    """Share of the tasks that is kept back to validate on; 0 trains on all."""
    val_files: Annotated[tuple[Path, ...], Checksummed]
    """Files to validate on; with any, nothing is kept back of `data`."""
    epochs: PositiveInt
    """Passes over the data."""
    learning_rate: Annotated[float, Field(gt=0, le=1e30)]
    """Highest learning rate, at the end of the warm-up."""
    warmup_ratio: Fraction
    """Share of the updates in which the learning rate rises; then it falls as a cosine to 0."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Of AdamW."""
    max_grad_norm: PositiveFloat
    """Norm that gradients are clipped at."""
    max_tokens_per_batch: PositiveInt
    """Tokens of one forward pass at most, a longer single example alone; padding counts."""
    gradient_accumulation_steps: PositiveInt
    """Forward passes of one update."""
    max_length: PositiveInt
    """Tokens of an example; a longer one is left out, and how many are is told."""
    gradient_checkpointing: Annotated[bool, Operational]
    """Whether activations are computed again in the backward pass instead of kept."""
    early_stopping_patience: PositiveInt | None
    """Validations without improvement after which training stops; None never stops early."""
    val_checks_per_epoch: PositiveInt
    """Validations an epoch."""
    checkpoint_every_n_steps: Annotated[PositiveInt, Operational]
    """Updates after which a checkpoint is kept to resume from."""
    add_label_tokens: bool
    """Whether a PRM's labels become new tokens of the vocabulary; `tuning=full` alone."""
    save_merged: Annotated[bool, Operational]
    """Whether the model with the adapter merged into it is written too."""
    threads: Annotated[NonNegativeInt, Operational]
    """CPU threads; 0 takes one for each core."""

    def irrelevant_settings(self) -> frozenset[str]:
        """The settings without effect on the weights, given the others."""
        names = set(PRM_ONLY if self.target == "policy" else ())
        if self.labels == "hard":
            names.add("soft_target")
        if self.val_files:
            names.add("val_fraction")
        elif not self.val_fraction:
            names.update(VALIDATION_ONLY)
        return frozenset(names)
