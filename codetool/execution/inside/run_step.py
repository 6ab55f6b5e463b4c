"""Run one step: execute its code in a persistent module, capture its output and format its exception."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
import sys
import types
from collections.abc import Callable

from codetool.execution.inside.sealed import Verdict, bind_run

MAX_STDERR_LINES = 10
MAX_STDERR_CHARACTERS = 1_000
"""Maximum numbers of lines and of characters kept from the end of a step's stderr."""
MAX_MESSAGE_CHARACTERS = 4_000
"""Number of characters of an error's message that are looked at."""
MAX_ERROR_CHARACTERS = 2_500
"""Maximum number of characters of a step's error: its message, and the line of code that raised it."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,16}\b")


class HeadBuffer(io.RawIOBase):
    """Output stream that keeps the first `limit` bytes and discards the rest."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        room = self._limit - len(self._kept)
        if room > 0:
            self._kept += view[:room]
        return len(view)

    def text(self) -> str:
        return self._kept.decode(errors="ignore")

    def clear(self) -> None:
        self._kept = bytearray()


class TailBuffer(HeadBuffer):
    """Output stream that keeps the last `limit` bytes."""

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._kept += view[-self._limit :]
        del self._kept[: -self._limit]
        return len(view)


class StepRunner:
    """Runs all steps of a path in one module, which is `__main__`."""

    def __init__(self, limit: int) -> None:
        """`limit` is the maximum number of characters kept of a step's stdout."""
        self._limit = limit
        self._roots = sorted({path for path in sys.path if len(path) > 1}, key=len, reverse=True)
        self._module = types.ModuleType("__main__")
        sys.modules["__main__"] = self._module
        self._open_streams()

    def read_stdout(self) -> str:
        """The stdout of the running step so far."""
        return _strip_addresses(self._capture.text())[: self._limit]

    def read_stderr(self) -> str:
        """The last lines of the running step's stderr so far, with paths relative to `sys.path`."""
        text = self._errors.text()
        for root in self._roots:
            text = text.replace(f"{root}/", "")
        lines = _strip_addresses(text).rstrip().splitlines(keepends=True)
        return "".join(lines[-MAX_STDERR_LINES:])[-MAX_STDERR_CHARACTERS:]

    def bind_run(self) -> Callable[[str, str], Verdict]:
        """A function that runs the code and name of one step, which later changes to this class do not affect.

        The name is the file name in tracebacks. Any exception, even SystemExit, becomes part of the verdict.
        """
        return bind_run(self._module.__dict__, self._prepare, format_exception, self._read_output)

    def _prepare(self, code: str, name: str) -> None:
        """Give a step its streams and its source lines."""
        self._capture.clear()
        self._errors.clear()
        if not all(map(_is_open, self._streams)):  # exit() closes stdin
            self._open_streams()
        sys.stdin, sys.stdout, sys.stderr = self._streams
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        linecache.cache[name] = (len(code), None, _split_lines(code), name)

    def _read_output(self) -> tuple[str, str]:
        """The stdout and the end of the stderr of the step that has ended."""
        with contextlib.suppress(BaseException):
            sys.stdout.flush()  # the code may have replaced the stream
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        return self.read_stdout(), self.read_stderr()

    def _open_streams(self) -> None:
        """Open the streams of all steps; they stay the same, so that a log handler that holds one keeps working."""
        self._capture = HeadBuffer(4 * self._limit + 4)
        self._errors = TailBuffer(4 * MAX_STDERR_CHARACTERS)
        self._streams = (
            _open_text_stream(io.BytesIO()),
            _open_text_stream(self._capture),
            _open_text_stream(self._errors),
        )


def format_exception(error: BaseException, name: str, code: str) -> str:
    """`Type: message (line n: source)`, with the innermost line of the step itself that led to the error."""
    try:
        message = (error.msg if isinstance(error, SyntaxError) else str(error))[:MAX_MESSAGE_CHARACTERS]
    except BaseException:
        message = "(its message cannot be read)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    number = _find_line(error, name)
    lines, text = _split_lines(code), _strip_addresses(text)[:2000]
    if number is None or not 0 < number <= len(lines):
        return text
    return f"{text} (line {number}: {lines[number - 1].strip()[:200]})"


def _find_line(error: BaseException, name: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno
    number, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            number = trace.tb_lineno
        trace = trace.tb_next
    return number


def _strip_addresses(text: str) -> str:
    """Replace memory addresses (`<map object at 0x...>`), which would differ between runs."""
    return _ADDRESS.sub(" at 0x...", text)


def _split_lines(code: str) -> list[str]:
    """The lines as Python counts them; `splitlines` would also split at form feeds."""
    return io.StringIO(code, newline=None).readlines()


def _is_open(stream: io.TextIOWrapper) -> bool:
    try:
        return not stream.closed
    except ValueError:  # it was detached
        return False


def _open_text_stream(end: io.RawIOBase | io.BytesIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(end, encoding="utf-8", errors="replace", write_through=True)  # type: ignore[arg-type]
