"""The Landlock ruleset that is asked of the kernel; the attacks show that it holds."""

import os
from typing import Any

import pytest

from codetool.execution.inside import landlock


@pytest.mark.parametrize(("version", "length"), [(1, 8), (3, 8), (4, 16), (5, 16), (6, 24), (7, 24)])
def test_the_ruleset_handles_what_the_kernels_version_knows(
    version: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files from version 1 on, TCP from 4, signals and abstract sockets from 6, eight bytes each."""
    lengths: list[Any] = []

    def record(number: int, *arguments: Any) -> int:
        if number == landlock.CREATE_RULESET:
            lengths.append(arguments[1])
            return os.open(os.devnull, os.O_RDONLY)
        return 0

    monkeypatch.setattr(landlock, "syscall", record)
    landlock.narrow(version, ["/usr"], ["/dev/null"], "/tmp")
    assert lengths == [length]
