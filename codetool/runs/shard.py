"""Shards of a run: `shard=3/16` runs the third of sixteen parts of its tasks."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BeforeValidator

MAX_SHARDS = 10_000


@dataclass(frozen=True)
class Shard:
    """A part of a run's tasks."""

    index: int
    """Number of the part, from 1 on."""
    count: int
    """Number of parts."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Parse `INDEX/COUNT`. Raises ValueError that says what is allowed."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", value) if isinstance(value, str) else None
        if match is None:
            raise ValueError("write INDEX/COUNT, two whole numbers: shard=3/16 is the third of 16 parts of the tasks")
        index, count = int(match[1]), int(match[2])
        if not 1 <= count <= MAX_SHARDS:
            raise ValueError(f"the number of shards is from 1 to {MAX_SHARDS:,}, as 16 in shard=3/16")
        if not 1 <= index <= count:
            raise ValueError(f"the shards are numbered from 1 to {count}: shard=1/{count} is the first")
        return cls(index, count)

    @classmethod
    def parse_name(cls, name: str) -> Self | None:
        """Return the shard that has this name, None if none has."""
        try:
            shard = cls.parse(name.replace("-of-", "/"))
        except ValueError:
            return None
        return shard if shard.name == name else None

    @property
    def name(self) -> str:
        """Name of the shard's folder, `3-of-16`."""
        return f"{self.index}-of-{self.count}"

    @property
    def siblings(self) -> list[Self]:
        """All shards of the run, this one included."""
        return [type(self)(index, self.count) for index in range(1, self.count + 1)]

    def has(self, task_id: str) -> bool:
        """Whether a task is one of the shard's, which depends on its id and the number of shards alone."""
        number = int.from_bytes(hashlib.sha256(task_id.encode("utf-8", "surrogatepass")).digest()[:8], "big")
        return number % self.count == self.index - 1

    def __str__(self) -> str:
        """Return the value of the setting."""
        return f"{self.index}/{self.count}"


def _parse(value: Any) -> Shard | None:
    return value if value is None or isinstance(value, Shard) else Shard.parse(value)


ShardSetting = Annotated[Shard | None, BeforeValidator(_parse)]
"""Type of a setting that names a shard; None for all tasks."""
