"""The complete description of a training run, which every process of it receives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codetool.models import lora
from codetool.training.datamodule import EpochPlan, TrainDataModule
from codetool.training.settings import TrainConfig
from codetool.training.sft_examples import SFTExample
from codetool.training.trainable_model import TrainableModel, load_trainable_model
from codetool.training.trainer import Devices, TrainerConfig
from codetool.training.tuning import TuningConfig

LAST = "last.ckpt"
"""The checkpoint to go on from."""
BEST = "best.ckpt"
"""The trained weights with the lowest validation loss."""


@dataclass(frozen=True)
class TrainJob:
    """A training run: settings, examples, devices, initial weights and output folder."""

    folder: Path
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
    """Tokens of a PRM's labels, None for a policy."""
    start: Path | None = None
    """Folder of the adapter that training goes on from, None for a new one."""
    vocabulary: int = 0
    """Tokens that the model has to have rows for, where it is given new ones."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    def data(self, rank: int) -> TrainDataModule:
        """The batches of a process."""
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
        """Updates of the whole run."""
        return self.data(0).updates(self.settings.epochs)

    def load(self) -> TrainableModel:
        """The model as training starts with it; the same in every process and whenever it is called."""
        import torch

        torch.manual_seed(self.seed)
        whole = self.tuning.method == "full" or self.trainer.precision != "bf16-true"
        dtype = torch.float32 if whole else torch.bfloat16
        trained = load_trainable_model(
            self.base, dtype, self.tuning, checkpointing=self.settings.gradient_checkpointing
        )
        if self.start is not None:
            lora.load_for_training(trained.model, self.start)
        if self.vocabulary > trained.unwrapped.get_input_embeddings().num_embeddings:
            trained.unwrapped.resize_token_embeddings(self.vocabulary)
        return trained


def load_trained_weights(checkpoint: Path) -> dict[str, Any]:
    """The trained weights of a checkpoint, by their names in a `Trained`."""
    import torch

    if checkpoint.is_dir():  # DeepSpeed's
        from pytorch_lightning.utilities.deepspeed import convert_zero_checkpoint_to_fp32_state_dict

        whole = checkpoint.with_name(f"{checkpoint.name}.whole")
        content = convert_zero_checkpoint_to_fp32_state_dict(checkpoint, whole)
        whole.unlink()
    else:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return {name.removeprefix("trained."): value for name, value in content["state_dict"].items()}
