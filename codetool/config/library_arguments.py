"""Checks of the settings of a library's class: are they arguments of its constructor, and of the right type?

A settings class of this package is a dataclass that checks itself. A class of Lightning or PyTorch, or one that a user
derived from it, has a constructor with type hints instead.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

PARTIAL_KEY = "_partial_"
"""Key of Hydra beside a `_target_`: true builds a `functools.partial`, which the run calls with the other arguments."""


@dataclasses.dataclass(frozen=True)
class PartialOf:
    """Requirement on a group of settings: arguments of a class whose other arguments only the run knows."""

    base_class: str
    """Dotted name of the class that the group's class must be, or be derived from."""
    reserved: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Arguments that the run sets itself, each with what the user sets instead."""


def has_own_checks(target_class: type) -> bool:
    """Whether a class checks its settings itself, as all dataclasses of settings do."""
    return dataclasses.is_dataclass(target_class)


def find_wrong_arguments(
    target_class: type, settings: Mapping[str, Any], setting: str, reserved: Mapping[str, str]
) -> Iterator[str]:
    """Yield a line for each setting that is no argument of the class, or has a value of the wrong type.

    Nested settings objects are not checked here. `reserved` are arguments that cannot be set, each with what to set
    instead.
    """
    allowed = list_arguments(target_class)
    for name, value in settings.items():
        if name in reserved:
            yield f"{setting}.{name}: {reserved[name]}"
        elif allowed is not None and name not in allowed:
            close = get_close_matches(name, allowed, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(close)}?" if close else f" It has: {', '.join(sorted(allowed))}."
            yield f"{setting}.{name}: {target_class.__name__} has no argument of this name.{hint}"
        elif not isinstance(value, Mapping) and (reason := _explain_wrong_type(target_class, name, value)):
            yield f"{setting}.{name}={value!r}: {reason}"


def convert_arguments(target_class: type, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the types that the constructor of the class declares: a list as a tuple, for example."""
    converted = dict(settings)
    for name, value in settings.items():
        if _is_plain(value) and (adapter := _get_adapter(target_class, name)) is not None:
            converted[name] = adapter.validate_python(value)
    return converted


def _is_plain(value: Any) -> bool:
    """Whether a value is as YAML has it, and not an object that was built from settings."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is not None and isinstance(value, str | int | float)


def _explain_wrong_type(target_class: type, name: str, value: Any) -> str | None:
    if value is None or (adapter := _get_adapter(target_class, name)) is None:
        return None  # null leaves the default of the library
    try:
        adapter.validate_python(value)
    except ValidationError as error:
        reasons = [item["msg"].removeprefix("Input ").removeprefix("Value error, ") for item in error.errors()]
        return ", or ".join(dict.fromkeys(reasons))
    return None


@lru_cache(64)
def list_arguments(target_class: type) -> frozenset[str] | None:
    """Return the names of the arguments of a class; None if it takes any."""
    parameters = inspect.signature(target_class).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL)


@lru_cache(512)
def _get_adapter(target_class: type, name: str) -> TypeAdapter[Any] | None:
    """Return the check of an argument's type; None without a type that can be checked."""
    hint = read_argument_hints(target_class).get(name)
    if hint is None or hint is Any:
        return None
    try:
        return TypeAdapter(hint | None, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return None


@lru_cache(64)
def read_argument_hints(target_class: type) -> Mapping[str, Any]:
    """Return the type hints of the constructor of a class; empty if they cannot be evaluated."""
    try:
        return typing.get_type_hints(target_class.__init__)  # type: ignore[misc]
    except (NameError, TypeError):
        return {}
