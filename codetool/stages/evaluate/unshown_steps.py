"""Warn of a search that shows the policy the steps tried before, with a prompt that has no words for them."""

from __future__ import annotations

import logging
from typing import Any

from codetool.config.run_config import RunConfig

log = logging.getLogger(__name__)


def warn_of_unshown_steps(config: RunConfig) -> None:
    """Log one line if `search.show_tried` has no effect because `policy.prompt.tried` is empty."""
    prompt: Any = config.policy.prompt
    has_words = bool(getattr(prompt, "tried", "its own").strip())
    if getattr(config.search, "show_tried", False) and not has_words:
        log.warning(
            "search.show_tried=true has no effect: policy.prompt has no words for steps tried before "
            "(policy.prompt.tried is empty), so another step is asked for with the same prompt. "
            "policy_prompt@policy.prompt=stepwise and react have them."
        )
