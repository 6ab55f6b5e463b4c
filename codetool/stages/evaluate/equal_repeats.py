"""Warn of repeats that cannot differ, since the policy does not sample."""

from __future__ import annotations

import logging

from codetool.config.run_config import RunConfig

log = logging.getLogger(__name__)


def warn_of_equal_repeats(config: RunConfig) -> None:
    """Log one line if a task is searched several times by a policy with the temperature 0."""
    if config.repeats > 1 and config.policy.sampling.temperature == 0:
        log.warning(
            "repeats=%d: policy.temperature=0 draws the same steps each time, so the repeats of a task are equal and "
            "tell nothing about chance. Set a temperature, such as policy.temperature=0.7, or repeats=1.",
            config.repeats,
        )
