"""Claim something for one process among several machines that share a folder, without locks.

The claims of NAME are the files `NAME.claim-1`, `NAME.claim-2`, …, of which the one with the highest number counts. A
process claims NAME by creating the next one exclusively, which every network file system grants one process only. It
appends a byte to its file every few seconds, and a word when it is done. A claim without that word is over if its
process is known to have ended, or if its file has not grown for a minute, as after a machine was lost. The file of a
claim has one writer and is never replaced or removed.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError, WriteError
from codetool.runs.write_errors import explain_write_errors

BEAT_SECONDS = 5.0
"""Time after which a process appends a sign of life to its claim."""
SILENT_SECONDS = 60.0
"""Time without a sign of life after which a claim of another machine is over."""
POLL_SECONDS = 0.5
BEAT, END = b".", b"\nended\n"

log = logging.getLogger(__name__)


class ClaimedError(ConfigError):
    """Another process holds the claim."""


class Claim:
    """A claim that this process holds."""

    def __init__(self, base: Path, number: int, descriptor: int) -> None:
        """`base` is the path of what is claimed, and `descriptor` that of the claim's file, open for appending."""
        self._next, self._descriptor = _name_file(base, number + 1), descriptor
        self._ended = threading.Event()

    def check(self) -> None:
        """Raise WriteError if another process has claimed the same meanwhile, since this one seemed to be lost."""
        if self._next.exists():
            raise WriteError(
                f"{self._next}: another process goes on with this work, since this one gave no sign of life for "
                f"{SILENT_SECONDS:.0f} seconds. Nothing more is written here."
            )

    def beat(self) -> None:
        """Append signs of life until `end` is called. What the disk does not take is left out."""
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(OSError):
                os.write(self._descriptor, BEAT)
                os.fsync(self._descriptor)

    def end(self) -> None:
        """Record that the process is done."""
        self._ended.set()
        with suppress(OSError):
            os.write(self._descriptor, END)
            os.fsync(self._descriptor)


@contextmanager
def hold_claim(base: Path, describe: Callable[[str], str]) -> Iterator[Claim]:
    """Claim what `base` names while the context is open. Its folder must exist.

    Raises ClaimedError with the text of `describe`, which gets a description of the process, if another one holds it.
    """
    while True:
        number = _count_claims(base) + 1
        if number > 1 and (holder := find_holders([base]).get(base)):
            raise ClaimedError(describe(holder))
        if (descriptor := _create(_name_file(base, number))) is not None:
            break
    claim = Claim(base, number, descriptor)
    beating = threading.Thread(target=claim.beat, name="claim", daemon=True)
    beating.start()
    try:
        yield claim
    finally:
        claim.end()
        beating.join()
        os.close(descriptor)


def find_holders(bases: Sequence[Path]) -> dict[Path, str]:
    """Return a description of the process that holds the claim on each of these; without those that none holds.

    For claims of other machines this can wait for a minute until one gives a sign of life; it returns with the first.
    """
    latest = {base: _name_file(base, count) for base in bases if (count := _count_claims(base))}
    contents = {base: file.read_bytes() for base, file in latest.items()}
    owners = {base: _parse_owner(content) for base, content in contents.items() if not content.endswith(END)}
    holders: dict[Path, str] = {}
    for base, owner in list(owners.items()):
        if (is_running := _is_running(owner)) is not None:
            del owners[base]
            if is_running:
                holders[base] = _describe(owner)
    if not holders and owners:
        log.warning("%s: waiting for a sign of life, for up to %.0f seconds", _list_owners(owners), SILENT_SECONDS)
    until = time.monotonic() + SILENT_SECONDS
    while not holders and owners and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        for base, owner in list(owners.items()):
            content = latest[base].read_bytes()  # opened anew, since a network file system keeps old sizes otherwise
            if content.endswith(END):
                del owners[base]
            elif len(content) > len(contents[base]):
                holders[base] = _describe(owner)
    return holders


def _name_file(base: Path, number: int) -> Path:
    return base.with_name(f"{base.name}.claim-{number}")


def _count_claims(base: Path) -> int:
    """Return the number of the latest claim, 0 without any."""
    number = 0
    while _name_file(base, number + 1).exists():
        number += 1
    return number


def _create(path: Path) -> int | None:
    """Create a claim of this process and return its descriptor; None if another process has just created it."""
    owner = {"host": socket.gethostname(), "machine": _read_machine(), "process": os.getpid()}
    owner["process_started"] = _read_start(os.getpid())
    with explain_write_errors(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            return None
        os.write(descriptor, json.dumps(owner).encode() + b"\n")
        os.fsync(descriptor)
    return descriptor


def _parse_owner(content: bytes) -> Mapping[str, Any]:
    """Return what a claim tells of its process; empty if that was not written completely."""
    with suppress(ValueError):
        owner = json.loads(content.partition(b"\n")[0])
        if isinstance(owner, dict):
            return owner
    return {}


def _describe(owner: Mapping[str, Any]) -> str:
    return f"process {owner.get('process', 'unknown')} on {owner.get('host', 'an unknown machine')}"


def _list_owners(owners: Mapping[Path, Mapping[str, Any]]) -> str:
    return ", ".join(f"{base.name} of {_describe(owner)}" for base, owner in owners.items())


def _is_running(owner: Mapping[str, Any]) -> bool | None:
    """Whether the process of a claim is running; None if that cannot be seen from this machine."""
    if owner.get("machine") is None or owner["machine"] != _read_machine():
        return None
    return _read_start(owner["process"]) == owner.get("process_started")


def _read_machine() -> str | None:
    """Return what tells machines, and containers with processes of their own, apart; None if unknown."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return None


def _read_start(process: int) -> str | None:
    """Return when a process of this machine was started, in ticks since the boot; None if it is not running."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else fields[19]
    return None
