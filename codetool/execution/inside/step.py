"""Running one step: its code in a persistent module, what it printed, and what it raised in one line."""

from __future__ import annotations

import ast
import io
import linecache
import sys
import types
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step printed, and the one-line error that ended it, if one did."""

    observation: str
    error: str | None


class Capture(io.RawIOBase):
    """The end of `sys.stdout`: keeps the first bytes and counts nothing of the rest."""

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


class Steps:
    """The module in which all steps of a path run, as a script's steps would in `__main__`."""

    def __init__(self, limit: int) -> None:
        """`limit` is the number of characters kept of what a step prints."""
        self._limit = limit
        self._count = 0
        self._capture = Capture(0)
        self._module = types.ModuleType("__main__")
        sys.modules["__main__"] = self._module

    def printed(self) -> str:
        """What the running step has printed so far."""
        return self._capture.text()[: self._limit]

    def run(self, code: str) -> Outcome:
        """Run one step. Whatever it raises, even SystemExit, is an outcome."""
        self._count += 1
        name = f"<step {self._count}>"
        self._capture = Capture(4 * self._limit + 4)
        sys.stdout, sys.stderr = _text(self._capture), _text(Capture(0))
        error = None
        try:
            linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
            self._execute(code, name)
        except BaseException as raised:
            error = describe(raised, name, code)
        return Outcome(self.printed(), error)

    def _execute(self, code: str, name: str) -> None:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), self._module.__dict__)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), self._module.__dict__)
            if value is not None:
                print(value)


def describe(error: BaseException, name: str, code: str) -> str:
    """`Type: message (line n: source)`: the innermost line of the step itself that led to the error."""
    try:
        message = error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:
        message = "(its message cannot be read)"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    number = _line(error, name)
    lines = code.splitlines()
    if number is None or not 0 < number <= len(lines):
        return text[:2000]
    return f"{text[:2000]} (line {number}: {lines[number - 1].strip()[:200]})"


def _line(error: BaseException, name: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == name:
        return error.lineno
    number, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            number = trace.tb_lineno
        trace = trace.tb_next
    return number


def _text(end: io.RawIOBase) -> io.TextIOWrapper:
    return io.TextIOWrapper(end, encoding="utf-8", errors="replace", write_through=True)  # type: ignore[arg-type]
