"""Lightning module of supervised fine-tuning: the loss of a forward pass, the optimizer and the schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytorch_lightning as lightning
import torch
import torch.nn.functional as F
from torch import Tensor

from codetool.errors import CodeToolError
from codetool.training.batch import TrainBatch
from codetool.training.settings import TrainConfig
from codetool.training.trainable_model import TrainableModel

MetricsFunction = Callable[[Mapping[int, float]], Mapping[str, float]]
"""Computes metrics from a PRM's probabilities of the first label, given by index of the process example."""


class DivergedError(CodeToolError):
    """The loss or its gradient is infinite or NaN, so training cannot continue."""

    def __init__(self, update: int, learning_rate: float) -> None:
        """Build the message; `update` is the first update with such a loss or gradient, counted from 1."""
        super().__init__(
            f"The training has diverged: at update {update} the loss or its gradient is not a finite number. Lower "
            f"train.learning_rate={learning_rate:g}, or raise train.warmup_ratio."
        )


class SFT(lightning.LightningModule):
    """Lightning module for supervised fine-tuning of a PRM or a policy.

    The loss of an update is the weighted mean over all its targets, over all of its passes and processes.
    """

    strict_loading = False  # a checkpoint holds the trained weights alone

    def __init__(
        self,
        load: Callable[[], TrainableModel],
        settings: TrainConfig,
        labels: tuple[int, int] | None,
        updates: int,
        measure: MetricsFunction | None = None,
    ) -> None:
        """Store the settings; `load` is called later to load the model.

        `labels` are the tokens of a PRM's two labels, None for a policy. `updates` is the total number of updates,
        which the learning-rate schedule needs. `measure` computes the validation metrics of a PRM.
        """
        super().__init__()
        self._load, self._settings, self._labels, self._updates = load, settings, labels, updates
        self._measure = measure
        self.grad_norm: float | None = None
        """Norm of the gradients of the last update, before they were clipped; None where DeepSpeed clips them."""
        self.trained: TrainableModel

    def configure_model(self) -> None:
        """Load the model on the first call; Lightning calls this several times."""
        if not hasattr(self, "trained"):
            self.trained = self._load()

    def losses(self, batch: TrainBatch) -> Tensor:
        """Return the loss of each target: `(targets,)`, in nats, float32."""
        return self._read(batch)[0]

    def _read(self, batch: TrainBatch) -> tuple[Tensor, Tensor | None]:
        """Return the loss of each target, and a PRM's probability of the first label; None for a policy."""
        hidden = self.trained(batch)
        if self._labels is None:
            return F.cross_entropy(self.trained.logits(hidden).float(), batch.target_tokens, reduction="none"), None
        logits = self.trained.logits(hidden, self._labels).float()
        logit_difference = logits[:, 0] - logits[:, 1]
        scores = logit_difference.detach().sigmoid()
        if self._settings.loss == "labels":
            return F.binary_cross_entropy_with_logits(logit_difference, batch.label_probs, reduction="none"), scores
        label_logprobs = self.trained.logits(hidden).float().log_softmax(-1)[:, list(self._labels)]
        return -(batch.label_probs * label_logprobs[:, 0] + (1 - batch.label_probs) * label_logprobs[:, 1]), scores

    def training_step(self, batch: TrainBatch, index: int) -> Tensor:
        """Return the loss of a pass, scaled so that the passes of an update add up to its weighted mean."""
        summed = (self.losses(batch) * batch.weights).sum()
        self.summed = summed.detach()
        return summed * self._settings.gradient_accumulation_steps * self.trainer.world_size / batch.total_weight

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def validate_batches(self, batches: Iterable[TrainBatch]) -> dict[str, float]:
        """Return the mean validation loss over the batches of all processes, and the metrics of a PRM."""
        summed = torch.zeros(2, dtype=torch.float64)
        probabilities: dict[int, float] = {}
        self.eval()
        for module in self.modules():
            if type(module).__name__ == "Linear4bit":  # which packs its weights in evaluation, for good, on a CPU
                module.training = True
        for batch in batches:
            losses, scores = self._read(batch.to(self.device))
            weights = batch.weights.to(losses.device)
            summed += torch.stack([(losses * weights).sum(), weights.sum()]).double().cpu()
            if scores is not None:
                probabilities |= zip(batch.example_indices, scores.tolist(), strict=True)
        self.train()
        summed, probabilities = _gather_results(summed, probabilities)
        probabilities.pop(-1, None)
        metrics = {"validation_loss": float(summed[0] / summed[1])}
        if probabilities and self._measure is not None:
            metrics |= self._measure(probabilities)
        return metrics

    def configure_optimizers(self) -> Any:
        """Return AdamW on the trained weights, and a schedule with linear warm-up and cosine decay to 0."""
        weights = [weight for weight in self.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(
            weights, lr=self._settings.learning_rate, weight_decay=self._settings.weight_decay, betas=(0.9, 0.99)
        )
        warmup_updates = max(1, round(self._settings.warmup_ratio * self._updates))
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: compute_lr_factor(step, warmup_updates, self._updates)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        """Clip the total norm of all gradients, sharded ones included. Raises DivergedError for a non-finite norm."""
        if self.trainer.gradient_clip_val is None:  # which DeepSpeed's engine is given, since it clips itself
            weights = [weight for weight in self.parameters() if weight.grad is not None]
            norm = torch.nn.utils.clip_grad_norm_(weights, self._settings.max_grad_norm)
            self.grad_norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)  # a DTensor, of FSDP
            if not math.isfinite(self.grad_norm):
                raise DivergedError(self.trainer.global_step + 1, self._settings.learning_rate)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remove the frozen weights from the checkpoint."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}

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


def compute_lr_factor(step: int, warm: int, updates: int) -> float:
    """Return the learning rate at update `step`, from 0, as a fraction of the highest; `warm` updates warm it up."""
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, updates - warm)))
