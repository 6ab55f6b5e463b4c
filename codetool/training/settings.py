"""Settings of `stage=train`: the target and the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Checksummed, Operational

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


TD = ("td_lambda", "td_gamma", "td_spot")
PRM_ONLY = (
    "labels", "soft_target", *TD, "progress_weight", "failed_negatives", "loss", "pairs_weight", "add_label_tokens",
)  # fmt: skip
"""Settings that have no effect when a policy is trained."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TrainConfig:
    """Settings of a training run: target and data."""

    target: Literal["prm", "policy"]
    """`prm`: a PRM, trained on `process.jsonl`. `policy`: a policy, trained on `transcripts.jsonl`."""
    labels: Literal["hard", "soft"]
    """Training target of a PRM: `hard` is the label, 0 or 1; `soft` is the estimate that `soft_target` names."""
    soft_target: Literal["soft", "latent", "td", "progress"]
    """The estimate that is the training target with `labels: soft`; in [0, 1]. `td` and `progress` are computed from
    the trees as `codetool.process_data.td_targets` defines."""
    td_lambda: Share
    """λ of `td` and `progress`, from 0 (one step ahead) to 1 (up to the leaves)."""
    td_gamma: Annotated[float, Field(gt=0, le=1)]
    """γ of `td` and `progress`: the factor of each step that remains, above 0 and at most 1."""
    td_spot: Share
    """Weight of the step's on-the-spot reward in `td` and `progress`, from 0 to 1."""
    progress_weight: Share
    """Weight of the gain over the step before in `progress`, from 0 to 1."""
    failed_negatives: Share
    """Factor on the weight of negatives that did not run, from 0 (left out) to 1. A negative is a step whose target is
    0 or below that of its best sibling."""
    loss: Literal["labels", "vocabulary", "pairs"]
    """Loss of a PRM. `labels`: cross-entropy over its two labels. `vocabulary`: over the whole vocabulary. `pairs`:
    over its two labels, and the Bradley-Terry loss of all pairs of siblings with different targets."""
    pairs_weight: Annotated[float, Field(gt=0, le=1)]
    """Share of the pairwise loss with `loss: pairs`, above 0 and at most 1; 1 learns from pairs alone."""
    batching: Literal["padded", "packed", "tree"]
    """How examples share a forward pass: one per padded row, several per row, or several that share prefixes."""
    files: Annotated[tuple[Path, ...], Checksummed]
    """Files with the training examples, or folders that `stage=collect` has written."""
    val_fraction: Fraction
    """Fraction of the tasks that is held out for validation, in [0, 1); 0 trains on all tasks."""
    val_files: Annotated[tuple[Path, ...], Checksummed]
    """Files with the validation examples; if there are any, no tasks of `files` are held out."""
    max_tokens_per_batch: PositiveInt
    """Maximum number of tokens of one forward pass, padding included; a longer example gets a pass of its own."""
    max_length: PositiveInt
    """Maximum number of tokens of an example; longer examples are left out, and their number is logged."""
    gradient_checkpointing: Annotated[bool, Operational]
    """Whether activations are recomputed in the backward pass instead of stored."""
    attention_mask: Annotated[Literal["dense", "blocks"], Operational]
    """Mask of packed examples on a GPU: one value for each pair of tokens, or FlexAttention's block-sparse mask."""
    checkpoint_every_n_steps: Annotated[PositiveInt, Operational]
    """Number of updates between two checkpoints to resume from."""
    add_label_tokens: bool
    """Whether a PRM's labels are added to the vocabulary as new tokens; needs `tuning=full`."""
    save_merged: Annotated[bool, Operational]
    """Whether the base model with the adapter merged into it is saved as well."""
    threads: Annotated[NonNegativeInt, Operational]
    """Number of CPU threads; 0 uses one per core."""

    @property
    def validates(self) -> bool:
        """Whether there are data to validate on."""
        return bool(self.val_files) or self.val_fraction > 0

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the names of the settings that, given the others, do not affect the trained weights."""
        names = set(PRM_ONLY if self.target == "policy" else ())
        if self.labels == "hard":
            names.add("soft_target")
        target = self.soft_target if self.labels == "soft" else ""
        names |= set(TD) if target not in ("td", "progress") else set()
        names |= {"progress_weight"} if target != "progress" else set()
        if self.failed_negatives == 1:
            names.add("failed_negatives")
        if self.loss != "pairs":
            names.add("pairs_weight")
        if self.val_files:
            names.add("val_fraction")
        return frozenset(names)
