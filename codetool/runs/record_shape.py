"""The shape of a record: which fields it must have and of which types, also of nested objects and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Shape = Mapping[Any, Any]
"""Required fields of a record: for each a type, None, a nested shape, a list with the shape of its items, or a tuple
of alternatives. `Absent` as an alternative allows that the field is missing. The only field `str` stands for any
fields, whose values have its shape."""


class Absent:
    """The value of a field that a record does not have, as part of a shape."""


_ABSENT = Absent()


def find_mismatch(value: Any, shape: Any, field: str = "") -> str | None:
    """Return the dotted name of the first field that does not match the shape, None if all match."""
    if isinstance(shape, tuple):
        problems = [find_mismatch(value, alternative, field) for alternative in shape]
        return None if None in problems else max(map(str, problems), key=len)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return field
        return _find_first_mismatch((item, shape[0], f"{field}.{number}") for number, item in enumerate(value))
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return field
        if str in shape:
            return _find_first_mismatch((item, shape[str], f"{field}.{name}") for name, item in value.items())
        prefix = f"{field}." if field else ""
        return _find_first_mismatch((value.get(name, _ABSENT), shape[name], f"{prefix}{name}") for name in shape)
    fits = value is None if shape is None else isinstance(value, shape)
    return None if fits else field


def _find_first_mismatch(parts: Iterable[tuple[Any, Any, str]]) -> str | None:
    """Return the first mismatch among values with their shapes and names."""
    problems = (find_mismatch(value, shape, name) for value, shape, name in parts)
    return next((problem for problem in problems if problem is not None), None)
