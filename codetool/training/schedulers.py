"""Learning-rate schedulers: a linear warm-up, and then the shape that the class is named after.

`total_steps` is the number of updates of the whole training. The module that is trained fills it in, for these classes
and for those of PyTorch that have an argument of this name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class CosineScheduler(LambdaLR):  # type: ignore[misc]
    """Linear warm-up, then cosine decay to 0."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_ratio: float) -> None:
        """The learning rate rises for `warmup_ratio` of the updates, in [0, 1)."""
        super().__init__(
            optimizer,
            _add_warmup(lambda done, steps: 0.5 * (1 + math.cos(math.pi * done / steps)), total_steps, warmup_ratio),
        )


class LinearScheduler(LambdaLR):  # type: ignore[misc]
    """Linear warm-up, then linear decay to 0."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_ratio: float) -> None:
        """The learning rate rises for `warmup_ratio` of the updates, in [0, 1)."""
        super().__init__(optimizer, _add_warmup(lambda done, steps: 1 - done / steps, total_steps, warmup_ratio))


class ConstantScheduler(LambdaLR):  # type: ignore[misc]
    """Linear warm-up, then a constant learning rate."""

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_ratio: float) -> None:
        """The learning rate rises for `warmup_ratio` of the updates, in [0, 1)."""
        super().__init__(optimizer, _add_warmup(lambda done, steps: 1.0, total_steps, warmup_ratio))


def _add_warmup(shape: Callable[[int, int], float], total_steps: int, warmup_ratio: float) -> Callable[[int], float]:
    """Return the learning rate at an update, from 0, as a share of the maximum.

    `shape` gives it after the warm-up, from the number of the other updates that are done and of all of them. The
    warm-up takes at least one update. Raises ValueError for a ratio outside [0, 1).
    """
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"warmup_ratio={warmup_ratio}: should be 0 up to but not including 1")
    warmup_steps = max(1, round(warmup_ratio * total_steps))

    def compute_factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        return shape(step - warmup_steps, max(1, total_steps - warmup_steps))

    return compute_factor
