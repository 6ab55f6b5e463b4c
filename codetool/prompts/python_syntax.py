"""Parse Python code and Python literals of unknown origin, in bounded time and memory."""

from __future__ import annotations

import ast
import gc
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

MAX_PARSED_CHARS = 2**16
"""Maximum length of a text that Python parses here. The time grows with the square of the fields of an f-string and of
the classes of a module: this many characters take at most 0.6 s."""


def parse_python(code: str) -> ast.Module | None:
    """The syntax tree of `code`, None if it is too long or Python cannot parse it. Warnings about it are not shown."""
    try:
        return call_parser(ast.parse, code) if len(code) <= MAX_PARSED_CHARS else None
    except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
        return None


def parse_python_literal(text: str) -> Any:
    """The value of a Python literal. Raises ValueError if the text is none, or is longer than `MAX_PARSED_CHARS`."""
    if len(text) > MAX_PARSED_CHARS:
        raise ValueError(f"it is longer than {MAX_PARSED_CHARS:,} characters")
    try:
        return call_parser(ast.literal_eval, text)
    except (SyntaxError, TypeError, RecursionError, MemoryError, SystemError) as error:  # TypeError: `{{}}`
        raise ValueError(f"it is no Python literal: {error}") from None


def call_parser(parse: Callable[[str], T], code: str) -> T:
    """Return what Python's parser makes of `code`, without warnings. Raises what the parser raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in generated code is its author's business
        try:
            return parse(code)
        except SystemError:
            # Python before 3.13 fails if the garbage collector runs a finalizer meanwhile that parses code itself,
            # as formatting a traceback does. After a collection no finalizer is left to run.
            gc.collect()
            return parse(code)
