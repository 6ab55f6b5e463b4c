"""Find syntax errors on the host, where no earlier step can have manipulated anything."""

from __future__ import annotations

import ast

from codetool.execution.inside.run_step import format_exception
from codetool.prompts.python_syntax import MAX_PARSED_CHARS, call_parser, parse_python

MAX_COMPILED_NODES = 500_000
"""Maximum number of syntax nodes that the host compiles, each `finally` block counted as often as it is copied."""
ALWAYS_COMPILED_CHARS = 10_000
"""Length up to which code without `finally` is compiled without counting: it takes at most 0.3 s."""
STEP_FILENAME = "<step>"
CHECK_FILENAME = "<syntax check>"
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_WITH_NODES = 20  # what a jump out of a `with` statement copies for each of its items
_JUMPS = (ast.Return, ast.Break, ast.Continue)


def is_cheap(code: str) -> bool:
    """Whether the host compiles the code in little time and memory."""
    if len(code) > MAX_PARSED_CHARS:
        return False
    is_suspect = "finally" in code or len(code) > ALWAYS_COMPILED_CHARS
    return not is_suspect or _count_compiled_nodes(code) <= MAX_COMPILED_NODES


def find_syntax_error(code: str) -> str | None:
    """The syntax error of cheap code as text, None if it has none. The code is not run.

    The host decides this, because an earlier step may have manipulated the process. Errors that only occur there, such
    as too deep nesting, are left to the process.
    """
    try:
        call_parser(lambda text: compile(text, STEP_FILENAME, "exec", dont_inherit=True), code)
    except (SyntaxError, ValueError) as error:
        return format_exception(error, STEP_FILENAME, code)
    except (RecursionError, MemoryError, SystemError):
        pass
    return None


def write_check(code: str) -> str:
    """Return a program that compiles the code and prints why that fails, nothing if it does not."""
    return f"""
import warnings
warnings.simplefilter("ignore")
try:
    compile({code!r}, {STEP_FILENAME!r}, "exec", dont_inherit=True)
except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
    print(f"{{type(error).__name__}}: {{error}}".rstrip(": "))
"""


def _count_compiled_nodes(code: str) -> int:
    """An upper bound of the nodes that Python compiles; 0 for code that it cannot parse.

    Python copies a `finally` block: once for each way out of its `try`, and once more for each jump that leaves it.
    Nested blocks multiply. It does the same with the end of a `with` statement.
    """
    tree = parse_python(code)
    try:
        return _count(tree)[0] if tree is not None else 0
    except RecursionError:
        return MAX_COMPILED_NODES + 1


def _count(node: ast.AST) -> tuple[int, int]:
    """Return the compiled nodes below and with a node, and the jumps among them that may leave it."""
    copied: list[ast.AST] = getattr(node, "finalbody", [])
    copied_ids = {id(child) for child in copied}
    below = [_count(child) for child in ast.iter_child_nodes(node) if id(child) not in copied_ids]
    nodes = 1 + sum(each[0] for each in below)
    jumps = int(isinstance(node, _JUMPS)) + sum(each[1] for each in below)
    if isinstance(node, ast.With | ast.AsyncWith):
        nodes += _WITH_NODES * len(node.items) * jumps
    copies = 2 + jumps
    for child_nodes, child_jumps in map(_count, copied):
        nodes, jumps = nodes + copies * child_nodes, jumps + copies * child_jumps
    return nodes, 0 if isinstance(node, _SCOPES) else jumps
