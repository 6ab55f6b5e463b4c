"""The complete description of a training run, which every process of it receives."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codetool.errors import CodeToolError
from codetool.models import lora
from codetool.runs import damaged_lines
from codetool.training.datamodule import EpochPlan, TrainDataModule
from codetool.training.settings import TrainConfig
from codetool.training.sft_examples import SFTExample
from codetool.training.trainable_model import TrainableModel, load_trainable_model
from codetool.training.trainer import Devices, TrainerConfig
from codetool.training.tuning import TuningConfig

log = logging.getLogger(__name__)

LAST = "last.ckpt"
"""File name of the checkpoint to resume from."""
BEST = "best.ckpt"
"""File name of the trained weights with the lowest validation loss."""


@dataclass(frozen=True)
class TrainJob:
    """A training run: settings, examples, devices, initial weights and output folder."""

    folder: Path
    """Folder of the run, for checkpoints and results."""
    base: Path
    """Folder of the model that training starts from."""
    settings: TrainConfig
    tuning: TuningConfig
    trainer: TrainerConfig
    devices: Devices
    seed: int
    training: Sequence[SFTExample]
    validation: Sequence[SFTExample]
    labels: tuple[int, int] | None
    """Tokens of a PRM's two labels; None for a policy."""
    start: Path | None = None
    """Folder of the LoRA adapter that training continues; None for a new adapter."""
    vocabulary: int = 0
    """Number of tokens for which the model must have embedding rows; 0 unless new tokens are added."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    def data(self, rank: int) -> TrainDataModule:
        """Return the data module of the process with this rank."""
        settings = self.settings
        plan = EpochPlan(
            settings.batching,
            settings.max_tokens_per_batch,
            settings.gradient_accumulation_steps,
            self.seed,
            self.devices.count,
            rank,
        )
        return TrainDataModule(self.training, self.validation, plan)

    def updates(self) -> int:
        """Return the number of updates of the whole run."""
        return self.data(0).updates(self.settings.epochs)

    def load(self) -> TrainableModel:
        """Load the model with its initial weights, which are the same in every process and at every call."""
        import torch

        torch.manual_seed(self.seed)
        in_float32 = self.tuning.method == "full" or self.trainer.precision != "bf16-true"
        dtype = torch.float32 if in_float32 else torch.bfloat16
        trained = load_trainable_model(
            self.base, dtype, self.tuning, checkpointing=self.settings.gradient_checkpointing
        )
        if self.start is not None:
            lora.load_for_training(trained.model, self.start)
        if self.vocabulary > trained.unwrapped.get_input_embeddings().num_embeddings:
            trained.unwrapped.resize_token_embeddings(self.vocabulary)
        return trained


def set_damaged_checkpoint_aside(checkpoint: Path) -> None:
    """Rename a checkpoint file that cannot be read, and log a warning; training then starts from the beginning."""
    import torch

    if not checkpoint.is_file():
        return
    try:
        torch.load(checkpoint, weights_only=True, mmap=True)["global_step"]
    except Exception as error:  # whatever the bytes make of PyTorch's reader
        aside = checkpoint.with_name(checkpoint.name + damaged_lines.SUFFIX)
        checkpoint.replace(aside)
        reason = " ".join(str(error).split())[:200]
        log.warning("%s is damaged (%s). Moved to %s; training starts anew.", checkpoint, reason, aside.name)


def load_trained_weights(checkpoint: Path) -> dict[str, Any]:
    """Return the trained weights of a checkpoint, by their names in a `TrainableModel`.

    Raises CodeToolError if the checkpoint cannot be read.
    """
    try:
        return _load_trained_weights(checkpoint)
    except Exception as error:  # whatever the bytes make of PyTorch's reader
        reason = " ".join(str(error).split())[:200]
        raise CodeToolError(f"{checkpoint} is damaged ({reason}). fresh=true trains anew.") from error


def _load_trained_weights(checkpoint: Path) -> dict[str, Any]:
    import torch

    if checkpoint.is_dir():  # DeepSpeed's
        from pytorch_lightning.utilities.deepspeed import convert_zero_checkpoint_to_fp32_state_dict

        merged_file = checkpoint.with_name(f"{checkpoint.name}.whole")
        content = convert_zero_checkpoint_to_fp32_state_dict(checkpoint, merged_file)
        merged_file.unlink()
    else:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {name.removeprefix("trained."): value for name, value in content["state_dict"].items()}
