"""Jinja environment for templates that others may have written: no private attributes, and bounded time and memory.

Templates come from presets of third parties and from model folders. Jinja's sandbox keeps them from Python's internals.
This environment also ends a template that loops or grows without end: everything that a template repeats or makes is
counted against the `RenderBudget` of the rendering, and what exceeds it raises SecurityError, a TemplateError.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager
from functools import wraps
from typing import Any

from jinja2 import Environment, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_ITERATIONS = 1_000_000
"""Maximum number of loop passes and calls of one rendering."""
MAX_CHARS = 50_000_000
"""Maximum number of characters and list items that one rendering makes, intermediate texts included."""
MAX_SECONDS = 20.0
"""Maximum CPU time of one rendering in seconds."""
MAX_ARGUMENT = 10_000
"""Largest width that a filter or a method takes, such as that of `center`."""
MAX_INTEGER_BITS = 4096
"""Maximum size of a product or power of whole numbers."""
REPEATING = frozenset({"indent", "expandtabs", "translate", "wordwrap", "tojson", "join"})
"""Filters and methods whose result can be as long as the product of the lengths of what they are given."""
FORMATTING = frozenset({"format", "format_map"})
PADDING = frozenset({"center", "ljust", "rjust", "zfill", "batch", "slice", "to_bytes"})
"""Filters and methods whose result is as long as a number that they are given."""
_GIVEN_WIDTH = re.compile(r"%[^a-zA-Z%]*\*|\{[^{}]*\{")
"""A format that takes its width from an argument."""
_LONG_NUMBER = re.compile(r"\d{5}")
_ENDING_ERRORS = (RecursionError, MemoryError)


class RenderBudget:
    """What one rendering has used of its limits."""

    def __init__(self) -> None:
        self._iterations, self._chars = 0, 0
        self._deadline = time.thread_time() + MAX_SECONDS

    def count_iteration(self) -> None:
        """Count a pass of a loop or a call. Raises SecurityError above the limits on passes and time."""
        self._iterations += 1
        if self._iterations > MAX_ITERATIONS:
            raise SecurityError(f"it repeats more than {MAX_ITERATIONS:,} times")
        if time.thread_time() > self._deadline:
            raise SecurityError(f"it takes more than {MAX_SECONDS:g} s")

    def count_size(self, size: int) -> None:
        """Count characters or items before they are made. Raises SecurityError above the limit."""
        self._chars += size
        if self._chars > MAX_CHARS:
            raise SecurityError(f"it makes more than {MAX_CHARS:,} characters")


_rendering = threading.local()


@contextmanager
def limit_rendering() -> Iterator[None]:
    """Start a budget for the rendering in this thread; errors of exhausted memory or depth become SecurityError."""
    previous = getattr(_rendering, "budget", None)
    _rendering.budget = RenderBudget()
    try:
        yield
    except _ENDING_ERRORS as error:
        raise SecurityError(f"it needs too much memory or depth ({type(error).__name__})") from error
    finally:
        _rendering.budget = previous


def _budget() -> RenderBudget:
    return getattr(_rendering, "budget", None) or RenderBudget()


class _CountingTransformer(NodeTransformer):
    """Adds a count to the body of every loop, and makes every `~` countable."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Count every pass."""
        self.generic_visit(node)
        counter = nodes.Call(nodes.EnvironmentAttribute("count_iteration"), [], [], None, None, lineno=node.lineno)
        node.body.insert(0, nodes.ExprStmt(counter, lineno=node.lineno))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Join the texts in a counted call."""
        self.generic_visit(node)
        join = nodes.EnvironmentAttribute("join_texts")
        return nodes.Call(join, list(node.nodes), [], None, None, lineno=node.lineno)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """Sandboxed environment whose templates have bounded time and memory; render them inside `limit_rendering()`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        del self.globals["lipsum"]  # makes as much text as it is asked for
        self.filters.update({name: _limit(name, function) for name, function in self.filters.items()})

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _CountingTransformer().visit(tree)
        tree.set_environment(self)
        return tree

    def count_iteration(self) -> None:
        """Count a pass of a loop."""
        _budget().count_iteration()

    def join_texts(self, *parts: object) -> str:
        """Join texts as the operator `~` does."""
        return self.concat(map(str, parts))

    def concat(self, parts: Iterable[str]) -> str:  # called like Jinja's static method
        """Join the parts of an output, counting each before the next is made."""
        budget, kept = _budget(), []
        for part in parts:
            budget.count_size(len(part))
            kept.append(part)
        return "".join(kept)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Compute `+`, `*`, `**` or `%` if the result is not too large."""
        _budget().count_size(_bound_result(operator, left, right))
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a function, macro or method of a value if its result is not too large."""
        budget = _budget()
        budget.count_iteration()
        method = getattr(function, "__wrapped__", function)  # Jinja wraps `format` of a text
        owner = getattr(method, "__self__", None)
        if isinstance(owner, str | bytes | int):
            _check_arguments(getattr(method, "__name__", ""), [owner, *args, *kwargs.values()])
        result = super().call(context, function, *args, **kwargs)
        if isinstance(result, str | list | tuple):
            budget.count_size(len(result))
        return result


def _limit(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that checks its arguments and counts its result."""

    @wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        budget = _budget()
        budget.count_iteration()
        given = [value for value in (*args, *kwargs.values()) if not isinstance(value, Context | Environment)]
        _check_arguments(name, given)
        result = function(*args, **kwargs)
        if isinstance(result, str | list | tuple):
            budget.count_size(len(result))
        return result

    return limited


def _check_arguments(name: str, given: list[Any]) -> None:
    """Raise SecurityError if a filter or a method, given these values, makes too large a result."""
    numbers = [abs(value) for value in given[1:] if isinstance(value, int)]
    takes_width = name in PADDING or name in REPEATING
    if name in FORMATTING and isinstance(given[0], str):
        takes_width = _GIVEN_WIDTH.search(given[0]) is not None
        if _LONG_NUMBER.search(given[0]):
            raise SecurityError(f"{name} is given a width above {MAX_ARGUMENT:,}")
    if takes_width and max(numbers, default=0) > MAX_ARGUMENT:
        raise SecurityError(f"{name} is given a number above {MAX_ARGUMENT:,}")
    if name == "replace" and len(given) > 2 and all(isinstance(value, str) for value in given[:3]):
        _budget().count_size(len(given[0]) + given[0].count(given[1]) * len(given[2]))
    if name in REPEATING and given:
        factors = [_size(value) for value in given[1:]]
        _budget().count_size(_size(given[0]) * max(factors, default=1) if max(factors, default=1) > 1 else 0)


def _size(value: Any) -> int:
    """Return a number, the length of a value, or the greatest length in a mapping; at least one."""
    if isinstance(value, Mapping):
        return max(map(_size, value.values()), default=1)
    size = value if isinstance(value, int) else len(value) if isinstance(value, Sized) else 1
    return max(1, size)


def _bound_result(operator: str, left: Any, right: Any) -> int:
    """Return an upper bound of the size of an operator's result. Raises SecurityError for too large a number."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > MAX_INTEGER_BITS and operator != "%":
            raise SecurityError(f"a whole number has more than {MAX_INTEGER_BITS} bits")
        return 0
    sized = [value for value in (left, right) if isinstance(value, str | bytes | list | tuple)]
    if operator == "*" and sized:
        number = right if sized[0] is left else left
        return len(sized[0]) * number if isinstance(number, int) and number > 0 else 0
    if operator == "%" and isinstance(left, str):
        _check_arguments("format", [left, *(right if isinstance(right, tuple) else (right,))])
    return sum(map(len, sized))
