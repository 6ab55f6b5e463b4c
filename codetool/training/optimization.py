"""Build the optimizer and the learning-rate scheduler from plain values: the name of a class and its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import torch

from codetool.errors import ConfigError

TARGET_KEY = "_target_"
TOTAL_STEPS = "total_steps"
"""Argument of schedulers that gets the number of updates of the whole training."""


def describe_call(call: partial[Any]) -> dict[str, Any]:
    """Return a class with some of its arguments as plain values, for a checkpoint."""
    target = call.func
    assert isinstance(target, type)
    arguments = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in call.keywords.items()
        if value is not None
    }
    return {TARGET_KEY: f"{target.__module__}.{target.__qualname__}", **arguments}


def build_optimizer(settings: Mapping[str, Any], weights: Sequence[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Return the optimizer of the weights. Raises ConfigError for arguments that its class refuses."""
    return _call("optimizer", settings, {"params": weights})


def build_scheduler(
    settings: Mapping[str, Any], optimizer: torch.optim.Optimizer, total_steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """Return the learning-rate scheduler of an optimizer. Raises ConfigError for arguments that its class refuses."""
    added = {"optimizer": optimizer}
    if TOTAL_STEPS in inspect.signature(_locate(settings)).parameters and TOTAL_STEPS not in settings:
        added[TOTAL_STEPS] = total_steps
    return _call("scheduler", settings, added)


def check_optimization(optimizer: partial[Any], scheduler: partial[Any]) -> None:
    """Raise ConfigError for an optimizer or a scheduler whose arguments are refused, before any model is loaded."""
    weight = torch.nn.Parameter(torch.zeros(1))
    build_scheduler(describe_call(scheduler), build_optimizer(describe_call(optimizer), [weight]), total_steps=10)


def _call(group: str, settings: Mapping[str, Any], added: Mapping[str, Any]) -> Any:
    arguments = {name: value for name, value in settings.items() if name != TARGET_KEY}
    try:
        return _locate(settings)(**added, **arguments)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{group}: {error}") from error


def _locate(settings: Mapping[str, Any]) -> Any:
    module, _, name = str(settings[TARGET_KEY]).rpartition(".")
    return getattr(import_module(module), name)
