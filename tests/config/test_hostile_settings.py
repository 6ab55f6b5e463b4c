"""Whatever a command line says: one message or a configuration that works, soon, in little memory."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
from command_line import ROOT
from hostile_settings import overrides
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codetool.config.overrides import compose_all, split_flags, validate_all
from codetool.errors import CodeToolError

MAX_SECONDS = 5.0
"""Seconds of CPU time that one command line may take."""
MAX_GROWTH_KIB = 2**20
"""KiB by which the process may grow while all are checked."""
RUN = settings(
    derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=True
)
COMMAND_LINES = st.deferred(overrides)  # lists all settings, which takes seconds, where a test draws one


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


@given(COMMAND_LINES)
@settings(RUN, max_examples=15)
def test_a_hostile_command_line_is_one_message_or_valid(words: list[str]) -> None:
    check(words)


@pytest.mark.slow
@given(COMMAND_LINES)
@settings(RUN, max_examples=300)
def test_three_hundred_hostile_command_lines(words: list[str]) -> None:
    check(words)


@pytest.mark.exhaustive
@given(COMMAND_LINES)
@settings(RUN, max_examples=2000)
def test_two_thousand_hostile_command_lines(words: list[str]) -> None:
    check(words)


@pytest.mark.slow
@given(COMMAND_LINES)
@settings(RUN, max_examples=50)
def test_a_hostile_command_ends_with_one_message_or_runs(words: list[str]) -> None:
    """As a user types it: no traceback, no time-out, less than 1 GiB."""
    words = [word for word in words if can_be_typed(word)]
    command = [sys.executable, "run.py", "dry_run=true", "limit=1", "logger=none", *words]
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", MEASURE_MEMORY, *command], cwd=ROOT, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", start_new_session=True,
    )  # fmt: skip
    killer = threading.Timer(120, os.killpg, (process.pid, signal.SIGKILL))
    killer.start()
    try:
        shown, _ = process.communicate()
    finally:
        killer.cancel()
    shown, _, peak_kib = shown.rstrip("\n").rpartition("\n")
    assert "Traceback" not in shown
    assert process.returncode in (0, 1, 2, 3, 4), shown
    assert process.returncode == 0 or "error: " in shown
    assert int(peak_kib) < MAX_GROWTH_KIB


MEASURE_MEMORY = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
sys.exit(code if code >= 0 else 128 - code)
"""
"""Runs a command and prints its highest memory in KiB. A child of the test's own process would count what that has."""


def can_be_typed(word: str) -> bool:
    """Whether a word can be an argument of a command; a folder to search is none of this test."""
    is_encodable = not re.search("[\0\ud800-\udc7f\udd00-\udfff]", word)
    return is_encodable and not word.startswith("hydra.searchpath")


RUN_PY = f"{sys.executable} {ROOT / 'run.py'} dry_run=true limit=1 policy=openai policy.model=m prm=none logger=none"
SHELL_LINES = {
    "stdin closed": (f"{RUN_PY} <&-", 0, "results: "),
    "stdout closed": (f"{RUN_PY} >&-", 2, "error: standard output is closed"),
    "stderr closed": (f"{RUN_PY} 2>&-", 0, ""),
    "no reader": (f"{RUN_PY} --help | head -1", 0, ""),
    "no HOME": (f"env -u HOME {RUN_PY}", 0, "results: "),
    "no environment": (f"env -i {RUN_PY}", 0, "results: "),
    "locale C": (f"env LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {RUN_PY} policy.model=\u00e9", 2, "no UTF-8 text"),
    "ascii only": (f"env PYTHONIOENCODING=ascii {RUN_PY} benchmark.split=\u00e9", 2, "error: benchmark.split=?"),
    "bytes": (f"{RUN_PY} policy.model=$'a\\xffb'", 2, r"error: policy.model=a\udcffb: holds bytes"),
    "bytes in a name": (f"{RUN_PY} $'a\\xffb=1'", 2, r"error: a\udcffb=1: holds bytes"),
    "bytes in a path": (f"{RUN_PY} outputs=$'/tmp/\\xff'", 2, r"error: outputs=/tmp/\udcff: holds bytes"),
    "a flag": (f"{RUN_PY} --nothing", 2, "--nothing"),
    "no folder": (f"mkdir gone && cd gone && rmdir ../gone && {RUN_PY}", 2, "error: the current folder does not exist"),
    "not writable": (f"{RUN_PY} outputs=/dev/null/x", 2, "error: outputs=/dev/null/x"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHELL_LINES)
def test_a_strange_surrounding_is_one_message_or_no_matter(name: str, tmp_path: Path) -> None:
    line, code, expected = SHELL_LINES[name]
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120,
        start_new_session=True,
    )  # fmt: skip
    assert done.returncode == code and expected in done.stdout + done.stderr, done.stderr
    assert "Traceback" not in done.stderr
