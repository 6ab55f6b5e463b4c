"""Settings of the weights that are trained: a LoRA adapter, a QLoRA adapter or all weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Checksummed, Operational


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TuningConfig:
    """Settings of the option group `tuning=`: which weights are trained."""

    method: Literal["lora", "full", "qlora"]
    """`lora`: a low-rank adapter on frozen weights. `full`: all weights. `qlora`: an adapter on 4-bit weights."""
    learning_rate: Annotated[float, Field(gt=0, le=1e30), Operational]
    """Default of `optimizer.lr` for this method."""
    base_dtype: Literal["bfloat16", "float32"]
    """Number format of the frozen weights. Trained weights are always float32: in bfloat16, updates at a usual learning
    rate would be rounded away."""
    precision: Annotated[str, Operational]
    """Default of `trainer.precision` for this method."""
    rank: PositiveInt
    """Rank of the adapter's factors."""
    alpha: PositiveFloat
    """Scaling of the adapter; its output is multiplied by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """Dropout probability of the adapter's inputs in training, in [0, 1)."""
    modules: str | tuple[str, ...]
    """Names of the linear layers that get an adapter, or `all-linear`."""
    init_adapter: Annotated[Path | None, Checksummed]
    """Folder of a LoRA adapter that training continues, or the name of one in this package; None starts a new adapter.

    The adapter may have been trained for the other target: a PRM can start from the adapter of a policy.
    """

    def irrelevant_settings(self) -> frozenset[str]:
        """Return the names of the settings that, given the others, do not affect the trained weights."""
        return frozenset(("rank", "alpha", "dropout", "modules") if self.method == "full" else ())
