"""The reward of a path on a scale from 0 to 1, whatever the weights and the aggregation of the reward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from codetool.interfaces import Reward
from codetool.types import Node


def compute_relative_reward(reward: Reward, path: Sequence[Node], cumulative: float) -> float:
    """Return where `cumulative` lies between the lowest and the highest reward of a path with as many steps.

    These are the rewards if every spot reward, latent reward and token probability of the path were 0 and 1. A reward
    that does not depend on them is taken as it is. The result is cut to [0, 1].
    """
    low, high = (reward.cumulative([_with_rewards(node, value) for node in path]) for value in (0.0, 1.0))
    relative = (cumulative - low) / (high - low) if high > low else cumulative
    return min(max(relative, 0.0), 1.0)


def _with_rewards(node: Node, value: float) -> Node:
    log_probability = None if node.log_probability is None else 0.0 if value else -math.inf
    latent = None if node.latent is None else value
    return replace(node, spot=value, latent=latent, log_probability=log_probability)
