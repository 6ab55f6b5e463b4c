"""How a candidate is drawn: the sampling settings, and the seed that makes the draw independent of arrival order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from codetool.types import Node, Task


def draw_seed(seed: int, task: Task, path: Sequence[Node], index: int) -> int:
    """The seed of candidate `index` after `path`: 31 bits, which every server takes.

    A path is known by its texts. So the draw depends neither on how a search numbers its nodes nor on arrival order,
    and two equal paths have equal candidates, which the journal records once.
    """
    texts = [node.step.text if node.step else "" for node in path]
    purpose = "\0".join([str(seed), task.id, *texts, "candidate", str(index)])
    return int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big") >> 1
