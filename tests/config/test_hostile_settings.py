"""Whatever a command line says: one message or a configuration that works, soon, in little memory."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest
from hostile_settings import overrides
from hypothesis import HealthCheck, given, settings

from codetool.config.overrides import compose_all, split_flags, validate_all
from codetool.errors import CodeToolError

MAX_SECONDS = 5.0
"""Seconds of CPU time that one command line may take."""
MAX_GROWTH_KIB = 2**20
"""KiB by which the process may grow while all are checked."""
RUN = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=True
)


@contextmanager
def within_limits() -> Iterator[None]:
    """Fail if the block takes more than 5 CPU seconds (20 seconds end it), or the process grows by 1 GiB."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        raise TimeoutError("20 seconds")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    started, size = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    assert time.process_time() - started < MAX_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size < MAX_GROWTH_KIB


def check(words: list[str]) -> None:
    """Compose and validate a command line; a refusal is one message that names an override."""
    flags, options = split_flags(words)
    try:
        with within_limits():
            validate_all(compose_all(options, flags=flags))
    except CodeToolError as error:
        message = str(error)
        assert message.strip() and "Traceback" not in message and error.exit_code
        assert len(message) < 20_000
        assert "\x1b" not in message and "\x01" not in message


@given(overrides())
@settings(RUN, max_examples=150)
def test_a_hostile_command_line_is_one_message_or_valid(words: list[str]) -> None:
    check(words)


@pytest.mark.slow
@given(overrides())
@settings(RUN, max_examples=2000)
def test_two_thousand_hostile_command_lines(words: list[str]) -> None:
    check(words)
