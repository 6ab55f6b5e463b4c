"""Parse Python code that a model wrote."""

from __future__ import annotations

import ast
import gc
import warnings


def parse_python(code: str) -> ast.Module | None:
    """The syntax tree of `code`, None if Python cannot parse it. Warnings about the code are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an invalid escape in generated code is its author's business
        try:
            try:
                return ast.parse(code)
            except SystemError:
                # Python before 3.13 fails if the garbage collector runs a finalizer meanwhile that parses code itself,
                # as formatting a traceback does. After a collection no finalizer is left to run.
                gc.collect()
                return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError, SystemError):
            return None
