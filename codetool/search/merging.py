"""Merging sibling candidates that are the same program."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from codetool.prompts.python_syntax import parse_python
from codetool.types import Candidate, Step

ProgramKey = tuple[str, str, bool]
"""Kind of the text compared, that text, and whether the step finishes its path."""


def make_program_key(step: Step) -> ProgramKey:
    """What two steps must share to count as one: syntax tree without comments and layout, and the finished flag.

    Code that Python cannot parse is compared as stripped text, and so is a step without code.
    """
    if step.code is None:
        return ("text", step.text.strip(), step.finished)
    tree = parse_python(step.code)
    try:
        if tree is not None:
            return ("tree", ast.dump(tree), step.finished)
    except (RecursionError, MemoryError, ValueError):  # too deep, or an integer of more digits than Python prints
        pass
    return ("code", step.code.strip(), step.finished)


def group_by_program(candidates: Iterable[Candidate]) -> dict[ProgramKey, list[Candidate]]:
    """The candidates by program, in the order in which each program first came."""
    groups: dict[ProgramKey, list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(make_program_key(candidate.step), []).append(candidate)
    return groups
