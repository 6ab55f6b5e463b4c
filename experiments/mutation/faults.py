"""Mutations of a Python module: find the places where single faults fit, and apply one.

A fault replaces the text of one syntax node and keeps all other bytes of the file. Docstrings, annotations, messages of
errors and logs, and code below `TYPE_CHECKING` are not changed, since no test should depend on them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
    ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
ARITHMETIC: Mapping[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
}  # fmt: skip
SYMMETRIC_CALLS = {"min", "max", "isclose"}  # swapped arguments change nothing
IGNORED_CALLS = ("log.", "logging.", "print", "warnings.")


@dataclass(frozen=True, order=True)
class Fault:
    """One change at one position of a module."""

    module: str
    """Path of the module below the repository."""
    start: int
    """Offset of the replaced text in the file, in bytes."""
    end: int
    kind: str
    line: int
    before: str
    after: str

    def apply(self, source: bytes) -> bytes:
        """Return the source of the module with the fault."""
        if source[self.start : self.end] != self.before.encode():
            raise ValueError(f"{self.module} has changed: line {self.line} no longer reads {self.before!r}")
        return source[: self.start] + self.after.encode() + source[self.end :]


def find_faults(module: str, source: str) -> Iterator[Fault]:
    """Return every fault that fits into the module."""
    offsets = _line_offsets(source)
    encoded = source.encode()
    for node in _executed_nodes(ast.parse(source)):
        for kind, mutate in KINDS.items():
            for place, after in mutate(node):
                start = offsets[place.lineno - 1] + place.col_offset
                end = offsets[(place.end_lineno or place.lineno) - 1] + (place.end_col_offset or 0)
                before = encoded[start:end].decode()
                if before != after:
                    yield Fault(module, start, end, kind, place.lineno, before, after)


def _line_offsets(source: str) -> list[int]:
    offsets = [0]
    for line in source.encode().splitlines(keepends=True):
        offsets.append(offsets[-1] + len(line))
    return offsets


def _executed_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Return the nodes below `node` that affect what the program computes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.AnnAssign):
            if child.value is not None:
                yield child.value
                yield from _executed_nodes(child.value)
        elif isinstance(child, ast.arguments):
            for default in [*child.defaults, *(value for value in child.kw_defaults if value is not None)]:
                yield default
                yield from _executed_nodes(default)
        elif child not in getattr(node, "decorator_list", ()) and not _is_irrelevant(child):
            yield child
            yield from _executed_nodes(child)


def _is_irrelevant(node: ast.AST) -> bool:
    """Return whether the node is a docstring, an import, an error message, a log call or code for type checkers."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.JoinedStr):
        return True
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).startswith(IGNORED_CALLS) or ast.unparse(node.func).endswith("Error")
    return isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", None), ast.Del)


Place = tuple[ast.expr | ast.stmt, str]


def _comparison(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        operator = COMPARISONS[type(node.ops[0])]
        yield node, f"({ast.unparse(node.left)} {operator} {ast.unparse(node.comparators[0])})"


def _constant(node: ast.AST) -> Iterator[Place]:
    if not isinstance(node, ast.Constant):
        return
    if isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node.value, float):
        yield node, repr(node.value * 2 if node.value else 1.0)
    elif isinstance(node.value, int) and abs(node.value) > 2:
        yield node, repr(node.value * 2)


def _removed_statement(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.AugAssign | ast.Continue | ast.Break):
        yield node, "pass"
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
        yield node, "pass"
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript):
        yield node, "pass"


def _negation(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.If | ast.IfExp | ast.While):
        yield node.test, f"(not ({ast.unparse(node.test)}))"


def _off_by_one(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.Constant) and type(node.value) is int and abs(node.value) <= 2:
        yield node, repr(node.value + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"len", "range"}:
        last = node.args[-1]
        if node.func.id == "len":
            yield node, f"({ast.unparse(node)} - 1)"
        elif len(node.args) < 3:
            yield last, f"{ast.unparse(last)} - 1"


def _swapped_arguments(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.Call) and len(node.args) >= 2 and not any(isinstance(a, ast.Starred) for a in node.args):
        first, second, *rest = map(ast.unparse, node.args)
        if first != second and ast.unparse(node.func).split(".")[-1] not in SYMMETRIC_CALLS:
            keywords = [f"{word.arg}={ast.unparse(word.value)}" if word.arg else f"**{ast.unparse(word.value)}"
                        for word in node.keywords]  # fmt: skip
            yield node, f"{ast.unparse(node.func)}({', '.join([second, first, *rest, *keywords])})"


def _boolean_operator(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield node, "(" + word.join(f"({ast.unparse(value)})" for value in node.values) + ")"


def _arithmetic(node: ast.AST) -> Iterator[Place]:
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC and not isinstance(node.left, ast.Constant):
        yield node, f"({ast.unparse(node.left)} {ARITHMETIC[type(node.op)]} {ast.unparse(node.right)})"


KINDS: Mapping[str, Callable[[ast.AST], Iterator[Place]]] = {
    "comparison": _comparison,
    "constant": _constant,
    "removed statement": _removed_statement,
    "negation": _negation,
    "off by one": _off_by_one,
    "swapped arguments": _swapped_arguments,
    "boolean operator": _boolean_operator,
    "arithmetic": _arithmetic,
}
