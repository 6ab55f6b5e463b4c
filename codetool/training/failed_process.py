"""Failures of single processes of a training: the record that a failing one leaves, and what rank 0 says of it.

The record is the error file of PyTorch's elastic launcher, so that torchrun too names the error in its summary. The
processes that Lightning's launcher starts share one in the run folder, and the first that fails writes it.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from codetool.credentials.masking import mask_text
from codetool.errors import CodeToolError

FAILURE_FILE = "failed-process.json"
"""Name of the record in the run folder."""
FAILURE_VARIABLE = "TORCHELASTIC_ERROR_FILE"
"""Environment variable with the path of a process's record, which torchrun sets."""


class LostProcessError(CodeToolError):
    """Another process of the training has ended before its time."""

    def __init__(self, reason: str | None = None) -> None:
        """Build the message; `reason` says which process has failed and why, None if that is not known."""
        reason = reason or "Another process of the training has ended; what it said is in its output."
        super().__init__(f"{reason} The same command continues from the last checkpoint.")


@contextmanager
def record_failure() -> Iterator[None]:
    """Record an exception of the context in the file that the launcher of this process has named, if there is one."""
    try:
        yield
    except LostProcessError:
        raise  # the failure is another's
    except Exception as error:
        if file := os.environ.get(FAILURE_VARIABLE):
            write_failure(Path(file), error, _get_rank())
        raise


def write_failure(file: Path, error: Exception, rank: int) -> None:
    """Write the record of an exception in PyTorch's form, as far as the disk takes it, unless there is one."""
    callstack = mask_text("".join(traceback.format_exception(error)))
    details = {"rank": rank, "py_callstack": callstack, "timestamp": str(int(time.time()))}
    message = {"message": mask_text(f"{type(error).__name__}: {error}"), "extraInfo": details}
    with suppress(OSError), file.open("x", encoding="utf-8") as out:
        json.dump({"message": message}, out, indent=2)


def _get_rank() -> int:
    """Return the rank of this process, as far as the environment tells it before Lightning does."""
    return next((int(os.environ[name]) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if name in os.environ), 0)


def describe_failure(file: Path) -> str | None:
    """Return a sentence about the recorded failure; None if there is no whole record."""
    try:
        record: Any = json.loads(file.read_text(encoding="utf-8"))["message"]
        rank, message = record["extraInfo"]["rank"], " ".join(str(record["message"]).split())
    except (OSError, ValueError, TypeError, LookupError):
        return None
    return f"Rank {rank} of the training failed: {message.removesuffix('.')} (its traceback: {file})."


def describe_exit(rank: int, return_code: int) -> str:
    """Return a sentence about a process that left no record; a negative code is the signal that killed it."""
    if return_code >= 0:
        return f"Rank {rank} of the training ended with exit code {return_code}; what it said is above."
    cause = ", as the kernel does when memory runs out" if -return_code == signal.SIGKILL else ""
    return f"Rank {rank} of the training was killed by {signal.Signals(-return_code).name}{cause}."
