"""Lightning strategies of names that Lightning does not have, or that need other arguments here."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from pytorch_lightning.strategies import ModelParallelStrategy, Strategy

from codetool.errors import MissingError
from codetool.training.trainable_model import TrainableModel


class FSDP2Strategy(ModelParallelStrategy):
    """Lightning strategy that shards every weight over all processes with FSDP2, on GPUs and CPUs."""

    def __init__(self, precision: str | None) -> None:
        """`precision` is Lightning's; with `bf16-mixed`, weights in float32 are gathered in bfloat16."""
        super().__init__(data_parallel_size=1, tensor_parallel_size=1, save_distributed_checkpoint=False)
        self._gathers_bfloat16 = precision == "bf16-mixed"

    def setup_environment(self) -> None:
        """Shard over all processes of all machines."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def shard(self, trained: TrainableModel) -> None:
        """Shard every weight; each layer's weights are gathered when it is computed."""
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        all_float32 = all(weight.dtype == torch.float32 for weight in trained.parameters())
        policy = (
            MixedPrecisionPolicy(torch.bfloat16, torch.float32)
            if self._gathers_bfloat16 and all_float32
            else MixedPrecisionPolicy()
        )
        mesh = self.device_mesh["data_parallel"]
        for layer in trained.unwrapped.base_model.layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(trained, mesh=mesh, mp_policy=policy)


def make_strategy(name: str | Strategy, precision: str | None) -> str | Strategy:
    """Return the strategy of a name, or the argument itself if Lightning knows it.

    Raises MissingError if a package is missing.
    """
    if name == "fsdp":
        return FSDP2Strategy(precision)
    if isinstance(name, str) and name.startswith("deepspeed") and find_spec("deepspeed") is None:
        raise MissingError("trainer=deepspeed needs a package: pip install deepspeed; or choose trainer=fsdp")
    if name == "deepspeed":
        from pytorch_lightning.strategies import DeepSpeedStrategy

        return DeepSpeedStrategy(stage=3, exclude_frozen_parameters=True)
    return name


def is_deepspeed(strategy: Any) -> bool:
    """Whether a strategy leaves gradients, checkpoints and number formats to DeepSpeed."""
    return type(strategy).__name__ == "DeepSpeedStrategy"
