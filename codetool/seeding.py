"""Random numbers that depend on what they are for, never on when they are asked for."""

from __future__ import annotations

import hashlib
import json


def draw(seed: int, *parts: str) -> float:
    """A number in [0, 1) that `seed` and `parts` (task id, path, purpose) determine alone; parts never run together."""
    digest = hashlib.sha256(json.dumps([seed, *parts]).encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # 53 bits: what a float holds without rounding up to 1
