"""Settings of the weights that are trained: a LoRA adapter, a QLoRA adapter or all weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from codetool.runs.operational import Checksummed, Operational


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TuningConfig:
    """Settings of `tuning=`."""

    method: Literal["lora", "full", "qlora"]
    """`lora`: a low-rank adapter beside frozen weights. `full`: every weight. `qlora`: an adapter beside 4-bit ones."""
    learning_rate: Annotated[float, Field(gt=0, le=1e30), Operational]
    """What `train.learning_rate` is unless it is set."""
    rank: PositiveInt
    """Rank of the adapter's factors."""
    alpha: PositiveFloat
    """The adapter's change is scaled by alpha / rank."""
    dropout: Annotated[float, Field(ge=0, lt=1)]
    """Share of an adapter's inputs that is zeroed in training."""
    modules: str | tuple[str, ...]
    """Names of the linear layers that get an adapter, or `all-linear`."""
    init_adapter: Annotated[Path | None, Checksummed]
    """Folder of a LoRA adapter that training goes on from, or the name of one in this package; None: a new one.

    It may be another target's: a PRM that starts as the policy's adapter has read such tasks before.
    """

    def irrelevant_settings(self) -> frozenset[str]:
        """The settings without effect on the weights, given the others."""
        return frozenset(("rank", "alpha", "dropout", "modules") if self.method == "full" else ())
