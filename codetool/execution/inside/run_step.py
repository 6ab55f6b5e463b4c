"""Running one step: its code in a persistent module, what it printed, and what it raised."""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import re
import sys
import types
from dataclasses import dataclass

MAX_STDERR_LINES = 10
MAX_STDERR_CHARACTERS = 1_000
"""Lines and characters at the end of what a step writes to `sys.stderr` that are kept."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]{6,16}\b")


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """What a step printed, the error that ended it, if one did (see `describe`), and its last lines on stderr."""

    observation: str
    error: str | None
    stderr: str = ""


class HeadBuffer(io.RawIOBase):
    """The end of `sys.stdout`: keeps the first bytes of a step and counts nothing of the rest."""

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
    """The end of `sys.stderr`: keeps the last bytes of a step."""

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._kept += view[-self._limit :]
        del self._kept[: -self._limit]
        return len(view)


class StepRunner:
    """The module in which all steps of a path run, as a script's steps would in `__main__`."""

    def __init__(self, limit: int) -> None:
        """`limit` is the number of characters kept of what a step prints."""
        self._limit = limit
        self._count = 0
        self._roots = sorted({path for path in sys.path if len(path) > 1}, key=len, reverse=True)
        self._module = types.ModuleType("__main__")
        sys.modules["__main__"] = self._module
        self._open_streams()

    def read_stdout(self) -> str:
        """What the running step has printed so far."""
        return _strip_addresses(self._capture.text())[: self._limit]

    def read_stderr(self) -> str:
        """The last lines that the running step has written to stderr so far, with paths that say no machine's name."""
        text = self._errors.text()
        for root in self._roots:
            text = text.replace(f"{root}/", "")
        lines = _strip_addresses(text).rstrip().splitlines(keepends=True)
        return "".join(lines[-MAX_STDERR_LINES:])[-MAX_STDERR_CHARACTERS:]

    def run(self, code: str) -> StepOutcome:
        """Run one step. Whatever it raises, even SystemExit, is an outcome."""
        self._count += 1
        name = f"<step {self._count}>"
        self._capture.clear()
        self._errors.clear()
        if not all(map(_is_open, self._streams)):  # exit() closes stdin
            self._open_streams()
        sys.stdin, sys.stdout, sys.stderr = self._streams
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]
        error = None
        try:
            linecache.cache[name] = (len(code), None, _split_lines(code), name)
            self._execute(code, name)
        except BaseException as raised:
            error = None if _is_success(raised) else format_exception(raised, name, code)
        with contextlib.suppress(BaseException):
            sys.stdout.flush()  # it may be a buffer that the code put before ours
        with contextlib.suppress(BaseException):
            sys.stderr.flush()
        return StepOutcome(self.read_stdout(), error, self.read_stderr())

    def _open_streams(self) -> None:
        """The same streams for all steps: what code keeps of them, in a log handler for example, goes on working."""
        self._capture = HeadBuffer(4 * self._limit + 4)
        self._errors = TailBuffer(4 * MAX_STDERR_CHARACTERS)
        self._streams = (
            _open_text_stream(io.BytesIO()),
            _open_text_stream(self._capture),
            _open_text_stream(self._errors),
        )

    def _execute(self, code: str, name: str) -> None:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec", dont_inherit=True), self._module.__dict__)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), self._module.__dict__)
            if value is not None:
                print(value)


def format_exception(error: BaseException, name: str, code: str) -> str:
    """`Type: message (line n: source)`: the innermost line of the step itself that led to the error."""
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
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


def _is_success(error: BaseException) -> bool:
    """Whether it is what `exit()`, `sys.exit()` and `sys.exit(0)` raise: a program that ended as it meant to."""
    return isinstance(error, SystemExit) and (error.code is None or (type(error.code) is int and error.code == 0))


def _strip_addresses(text: str) -> str:
    """`<map object at 0x...>`: where an object lies tells nothing, and no two runs would print the same."""
    return _ADDRESS.sub(" at 0x...", text)


def _split_lines(code: str) -> list[str]:
    """The lines as Python counts them; `splitlines` also ends them at form feeds and others."""
    return io.StringIO(code, newline=None).readlines()


def _is_open(stream: io.TextIOWrapper) -> bool:
    try:
        return not stream.closed
    except ValueError:  # it was detached
        return False


def _open_text_stream(end: io.RawIOBase | io.BytesIO) -> io.TextIOWrapper:
    return io.TextIOWrapper(end, encoding="utf-8", errors="replace", write_through=True)  # type: ignore[arg-type]
