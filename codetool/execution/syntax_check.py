"""Find syntax errors on the host, where no earlier step can have manipulated anything."""

from __future__ import annotations

import warnings

from codetool.execution.inside.run_step import format_exception

MAX_COMPILED_CHARACTERS = 200_000
"""Maximum number of characters of code that the host compiles to find syntax errors; the process checks longer code."""
STEP_FILENAME = "<step>"


def find_syntax_error(code: str) -> str | None:
    """The syntax error of `code` as text, None if it has none. The code is not run.

    The host decides this, because an earlier step may have manipulated the process. Errors that only occur there, such
    as too deep nesting, are left to the process.
    """
    if len(code) > MAX_COMPILED_CHARACTERS:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(code, STEP_FILENAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return format_exception(error, STEP_FILENAME, code)
        except (RecursionError, MemoryError):
            pass
    return None
