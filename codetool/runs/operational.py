"""Marks of settings that stay out of a result's identity, to be put where a setting is defined.

    base_url: Annotated[str, Operational]

Every other setting is hashed. A YAML file whose `_target_` is a library's class or function, which cannot be marked,
lists the names beside it: `_operational_: [num_workers]`.
"""

from __future__ import annotations

from enum import Enum

OPERATIONAL_KEY = "_operational_"
"""Key of the list of unhashed settings beside a `_target_`."""


class Mark(Enum):
    """Why a setting is not hashed."""

    OPERATIONAL = "operational"
    CHECKSUMMED = "checksummed"


Operational = Mark.OPERATIONAL
"""The setting does not change a result: addresses, keys, time-outs, how much is done at once, where files are kept."""
Checksummed = Mark.CHECKSUMMED
"""The setting names files whose content is hashed by its option's `checksum()`, so their place does not matter."""
