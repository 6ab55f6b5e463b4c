"""The complete description of a training run, which every process of it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetool.training.datamodule import TrainDataModule
from codetool.training.module import SFT, MetricsFunction
from codetool.training.optimization import describe_call
from codetool.training.settings import TrainConfig
from codetool.training.sft_examples import SFTExample
from codetool.training.trainable_model import TrainableModel, load_initial_model
from codetool.training.tuning import TuningConfig

if TYPE_CHECKING:
    from pytorch_lightning import Callback, Trainer

    from codetool.training.step_loss import StepLoss


@dataclass(frozen=True)
class TrainJob:
    """A training run: settings, examples, devices, initial weights and output folder."""

    folder: Path
    """Folder of the run, for checkpoints and results."""
    base: Path
    """Folder of the model that training starts from."""
    settings: TrainConfig
    tuning: TuningConfig
    trainer: partial[Trainer]
    """Lightning's Trainer with the arguments of `trainer=`."""
    optimizer: partial[Any]
    scheduler: partial[Any]
    seed: int
    training: Sequence[SFTExample]
    validation: Sequence[SFTExample]
    labels: tuple[int, int] | None
    """Tokens of a PRM's two labels; None for a policy."""
    step_loss: StepLoss | None = None
    """Loss of a policy's steps; None for the cross-entropy of the targets."""
    callbacks: Mapping[str, Callback] = field(default_factory=dict)
    """Lightning callbacks of the user's choice, by the name of their option."""
    start: Path | None = None
    """Folder of the LoRA adapter that training continues; None for a new adapter."""
    vocabulary: int = 0
    """Number of tokens for which the model must have embedding rows; 0 unless new tokens are added."""

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    @property
    def keeps_float32(self) -> bool:
        """Whether all weights and all computation are float32, and so the trained model that is written."""
        return self.tuning.base_dtype == "float32" and self.trainer.keywords.get("precision") in ("32-true", "32", 32)

    def data(self) -> TrainDataModule:
        """Return the data module."""
        settings = self.settings
        return TrainDataModule(
            self.training,
            self.validation,
            batching=settings.batching,
            max_tokens=settings.max_tokens_per_batch,
            seed=self.seed,
        )

    def module(self, total_steps: int, measure: MetricsFunction | None = None) -> SFT:
        """Return the module to train, for so many updates; `measure` computes the validation metrics of a PRM."""
        return SFT(
            str(self.base.resolve()),
            _to_plain(asdict(self.tuning)),
            describe_call(self.optimizer),
            describe_call(self.scheduler),
            total_steps,
            list(self.labels) if self.labels else None,
            self.settings.loss,
            str(self.start.resolve()) if self.start else None,
            self.vocabulary,
            self.settings.gradient_checkpointing,
            self.seed,
            measure,
            self.settings.pairs_weight,
            self.settings.attention_mask,
            self.step_loss,
        )

    def load(self) -> TrainableModel:
        """Load the model with its initial weights, which are the same in every process and at every call."""
        return load_initial_model(
            self.base,
            self.tuning,
            init_adapter=self.start,
            vocabulary=self.vocabulary,
            seed=self.seed,
            checkpointing=self.settings.gradient_checkpointing,
            mask=self.settings.attention_mask,
        )


def _to_plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without paths and tuples, as a checkpoint holds them."""
    return {
        name: list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
        for name, value in settings.items()
    }
