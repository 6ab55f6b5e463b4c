"""Marks for settings that are not part of a result's identity.

    base_url: Annotated[str, Operational]

A setting that was renamed keeps its former name in the hash, so that the rename changes no identity:

    max_grad_norm: Annotated[float, HashedAs("clip")]

All other settings are hashed. For the `_target_` of a library's class or function, which cannot be marked, the YAML
file lists the names beside it: `_operational_: [num_workers]`, or has `_operational_: true` if it changes no result at
all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

OPERATIONAL_KEY = "_operational_"
"""Key of the list of unhashed settings beside a `_target_`."""


class Mark(Enum):
    """Reason why a setting is not hashed."""

    OPERATIONAL = "operational"
    CHECKSUMMED = "checksummed"


Operational = Mark.OPERATIONAL
"""The setting does not change a result: addresses, keys, time-outs, concurrency, folders."""
Checksummed = Mark.CHECKSUMMED
"""The setting names files whose content is hashed by its option's `checksum()`, so their path does not matter."""


@dataclass(frozen=True)
class HashedAs:
    """Mark of a renamed setting: the name under which its value enters the hash."""

    name: str
