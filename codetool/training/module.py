"""Lightning module of supervised fine-tuning: the model, the loss of a forward pass, validation, and the optimizer.

    module = SFT.load_from_checkpoint("outputs/train/NAME/checkpoints/best.ckpt")

loads a training's module with its trained weights; the folder of the base model must be where it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as lightning
import torch
import torch.nn.functional as F
from torch import Tensor

from codetool.errors import CodeToolError
from codetool.training.batch import TrainBatch
from codetool.training.optimization import build_optimizer, build_scheduler
from codetool.training.prm_losses import PassLosses, combine_sums, compute_pair_losses, compute_vocabulary_losses
from codetool.training.step_loss import MetricSums, StepLoss, StepLosses, compute_step_losses
from codetool.training.trainable_model import TrainableModel, load_initial_model
from codetool.training.tree_attention import AttentionMask
from codetool.training.tuning import TuningConfig

MetricsFunction = Callable[[Mapping[int, float]], Mapping[str, float]]
"""Computes metrics from a PRM's probabilities of the first label, given by index of the process example."""
VALIDATION_LOSS = "validation_loss"
"""Name of the validation loss among the logged metrics."""


class DivergedError(CodeToolError):
    """The loss or its gradient is infinite or NaN, so training cannot continue."""

    def __init__(self, update: int, learning_rate: float) -> None:
        """Build the message; `update` is the first update with such a loss or gradient, counted from 1."""
        super().__init__(
            f"The training has diverged: at update {update} the loss or its gradient is not a finite number. Lower "
            f"optimizer.lr={learning_rate:g}, or raise scheduler.warmup_ratio."
        )


class SFT(lightning.LightningModule):
    """Lightning module for supervised fine-tuning of a PRM or a policy.

    The loss of an update is the weighted mean over all its targets, over all of its passes and processes; with pairs of
    siblings, see `codetool.training.prm_losses`. Validation logs `validation_loss`, the same loss of all validation
    targets, and the metrics of a PRM.
    """

    strict_loading = False  # a checkpoint holds the trained weights alone

    def __init__(
        self,
        base: str,
        tuning: Mapping[str, Any],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        total_steps: int,
        labels: Sequence[int] | None = None,
        loss: Literal["labels", "vocabulary", "pairs"] = "labels",
        init_adapter: str | None = None,
        vocabulary: int = 0,
        gradient_checkpointing: bool = False,
        seed: int = 0,
        measure: MetricsFunction | None = None,
        pairs_weight: float = 0.0,
        attention_mask: AttentionMask = "dense",
        step_loss: StepLoss | None = None,
    ) -> None:
        """Store the settings, all of them plain values; the model is loaded by `configure_model`.

        `base` is the folder of the base model, `tuning` the settings of `TuningConfig`. `optimizer` and `scheduler`
        are the arguments of the class that `_target_` names in them. `total_steps` is the number of updates of the
        whole training. `labels` are the tokens of a PRM's two labels, None for a policy. `init_adapter` is the folder
        of the adapter that training continues, and `vocabulary` the number of tokens for which the model must have
        rows, 0 for its own. `measure` computes the validation metrics of a PRM; it is not part of a checkpoint.
        `pairs_weight` is the share of the pairwise loss with `loss` `pairs`, from 0 to 1. `attention_mask` is used on
        devices other than a CPU. `step_loss` is the loss of a policy's steps, None for the cross-entropy of the
        targets; it is not part of a checkpoint either.
        """
        super().__init__()
        self.save_hyperparameters(ignore=["measure", "step_loss"], logger=False)
        self._step_loss = step_loss
        self.initial: Mapping[int, Tensor] = {}
        """Log-probabilities of the tokens of each step under the initial policy, if the loss of steps reads them."""
        self.update_metrics, self._validation_metrics = MetricSums(), MetricSums()
        self._labels = None if labels is None else (int(labels[0]), int(labels[1]))
        self._loss, self.measure = loss, measure
        self.trained: TrainableModel
        self.summed = torch.zeros(())
        """Weighted sum of the losses of the last forward pass of training."""
        self.grad_norm: float | None = None
        """Norm of the gradients of the last update before they were clipped; None if it was not computed."""
        self.validation_metrics: dict[str, float] = {}
        """Metrics of the last validation."""

    def configure_model(self) -> None:
        """Load the model on the first call; Lightning calls this several times."""
        if hasattr(self, "trained"):
            return
        settings = self.hparams
        self.trained = load_initial_model(
            Path(settings["base"]),
            TuningConfig(**settings["tuning"]),
            init_adapter=Path(settings["init_adapter"]) if settings["init_adapter"] else None,
            vocabulary=settings["vocabulary"],
            seed=settings["seed"],
            checkpointing=settings["gradient_checkpointing"],
            mask=settings["attention_mask"],
        )
        if self.device_mesh is not None:
            strategy: Any = self.trainer.strategy
            strategy.shard(self.trained)

    def losses(self, batch: TrainBatch) -> Tensor:
        """Return the loss of each target: `(targets,)`, in nats, float32."""
        losses = self.compute_losses(batch)
        assert isinstance(losses, PassLosses)
        return losses.targets

    def compute_losses(self, batch: TrainBatch) -> PassLosses | StepLosses:
        """Return the losses of the targets of a pass, of its pairs of siblings, and a PRM's scores."""
        if self._step_loss is not None:
            return compute_step_losses(self.trained, batch, self._step_loss, self.initial)
        hidden = self.trained(batch)
        if self._labels is None:
            logits = self.trained.logits(hidden).float()
            return PassLosses(F.cross_entropy(logits, batch.target_tokens, reduction="none"))
        logits = self.trained.logits(hidden, self._labels).float()
        differences = logits[:, 0] - logits[:, 1]
        scores = differences.detach().sigmoid()
        if self._loss == "vocabulary":
            logits = self.trained.logits(hidden).float()
            return PassLosses(compute_vocabulary_losses(logits, self._labels, batch.label_probs), scores=scores)
        losses = F.binary_cross_entropy_with_logits(differences, batch.label_probs, reduction="none")
        pairs = compute_pair_losses(differences, batch.pairs) if self._loss == "pairs" else None
        return PassLosses(losses, pairs, scores)

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Return the loss of a pass, scaled so that the passes of an update add up to its weighted mean."""
        losses = self.compute_losses(batch)
        self.update_metrics.add(losses.metrics)
        summed = losses.sum_weighted(batch, self.hparams["pairs_weight"])
        self.summed = summed.detach()
        return summed * self.trainer.accumulate_grad_batches * self.trainer.world_size / batch.total_weight

    def on_validation_model_eval(self) -> None:
        """Switch to evaluation, but for 4-bit layers, which would pack their weights for good on a CPU."""
        super().on_validation_model_eval()
        for module in self.modules():
            if type(module).__name__ == "Linear4bit":
                module.training = True

    def on_validation_epoch_start(self) -> None:
        """Start the sums of a validation."""
        self._validation_sums = torch.zeros(4, dtype=torch.float64)
        self._probabilities: dict[int, float] = {}

    def validation_step(self, batch: TrainBatch, batch_idx: int) -> None:
        """Add the losses of a pass, and a PRM's probabilities, to those of the validation."""
        losses = self.compute_losses(batch)
        self._validation_sums += losses.count_sums(batch)
        self._validation_metrics.add(losses.metrics)
        if losses.scores is not None:
            self._probabilities |= zip(batch.example_indices, losses.scores.tolist(), strict=True)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics over the passes of all processes. Raises DivergedError for a loss that is not finite."""
        sums, probabilities = _gather_results(self._validation_sums, self._probabilities)
        probabilities.pop(-1, None)
        loss = combine_sums(sums, self.hparams["pairs_weight"])
        if not math.isfinite(loss):
            raise DivergedError(self.trainer.global_step, self.hparams["optimizer"]["lr"])
        metrics = {VALIDATION_LOSS: loss, **self._validation_metrics.take()}
        if probabilities and self.measure is not None and not self.trainer.sanity_checking:
            metrics |= self.measure(probabilities)
        self.validation_metrics = metrics
        self.log_dict(metrics, logger=False)  # the names that callbacks monitor
        in_loggers = {f"validation/{name}": value for name, value in metrics.items()}
        self.log_dict(in_loggers | {"step": float(self.trainer.global_step)})  # `step` is the loggers' x-axis

    def configure_optimizers(self) -> Any:
        """Return the optimizer of the trained weights, and its learning-rate schedule."""
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = build_optimizer(self.hparams["optimizer"], weights)
        scheduler = build_scheduler(self.hparams["scheduler"], optimizer, self.hparams["total_steps"])
        by_metric = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
        timing = {"interval": "epoch", "monitor": VALIDATION_LOSS} if by_metric else {"interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **timing}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradients, sharded ones included. Raises DivergedError for a norm that is not finite."""
        if type(self.trainer.strategy).__name__ == "DeepSpeedStrategy":
            return  # its engine clips
        weights = [weight for weight in self.parameters() if weight.grad is not None]
        by_value = str(getattr(gradient_clip_algorithm, "value", gradient_clip_algorithm)) == "value"
        limit = math.inf if gradient_clip_val is None or by_value else gradient_clip_val
        norm = torch.nn.utils.clip_grad_norm_(weights, limit)
        self.grad_norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # a DTensor, of FSDP
        scales = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # which skips infinite gradients
        if not math.isfinite(self.grad_norm) and not scales:
            raise DivergedError(self.trainer.global_step + 1, self.hparams["optimizer"]["lr"])
        if by_value and gradient_clip_val is not None:
            torch.nn.utils.clip_grad_value_(weights, gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove the frozen weights from the checkpoint."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the frozen weights, which the checkpoint does not hold, as they are."""
        if self.device_mesh is None:
            checkpoint["state_dict"] = {**self.state_dict(), **checkpoint["state_dict"]}

    def transfer_batch_to_device(self, batch: TrainBatch, device: torch.device, dataloader_idx: int) -> TrainBatch:
        """Return the batch with its tensors on the device."""
        return batch.to(device)


def _gather_results(summed: Tensor, probabilities: dict[int, float]) -> tuple[Tensor, dict[int, float]]:
    """Return the sums added up, and the probabilities merged, over all processes."""
    if not torch.distributed.is_initialized():
        return summed, probabilities
    results: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(results, (summed, probabilities))
    return torch.stack([sums for sums, _ in results]).sum(0), dict(item for _, part in results for item in part.items())
