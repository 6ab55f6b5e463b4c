"""Seeded random numbers that depend on their purpose only, never on the order in which they are drawn."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from codetool.types import Node, Task


def draw_uniform(seed: int, *parts: str) -> float:
    """A uniform number in [0, 1), determined by `seed` and `parts` (task id, path, purpose) alone.

    The parts are hashed as a JSON list, so ("ab", "c") and ("a", "bc") give different numbers.
    """
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # 53 bits: what a float holds without rounding up to 1


def draw_seed(seed: int, task: Task, path: Sequence[Node], index: int) -> int:
    """The sampling seed of candidate `index` after `path`: a whole number of 31 bits, which every server accepts.

    A path is identified by the texts of its steps. So the seed depends neither on how a search numbers its nodes nor on
    arrival order, and two equal paths have equal candidates, which the journal records once.
    """
    texts = [node.step.text if node.step else "" for node in path]
    purpose = "\0".join([str(seed), task.id, *texts, "candidate", str(index)])
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big") >> 1
