"""The settings of the policy's training that an objective stands for."""

from __future__ import annotations

from codetool.stages.improve.settings import ImproveConfig


def list_objective_words(settings: ImproveConfig) -> list[str]:
    """Return the overrides of stage=train by which the policy learns with `improve.objective`."""
    return []
