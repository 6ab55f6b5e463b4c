"""Checks of values that no setting may have, and of the classes that a `_target_` may name.

`_target_` chooses the class that is built from a group of settings. Only a class that implements the group's Protocol
is accepted, and it is checked before it is called: a configuration must not be able to run an arbitrary function.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import re
import stat
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

from codetool.config.library_arguments import (
    PARTIAL_KEY,
    PartialOf,
    find_wrong_arguments,
    has_own_checks,
    read_argument_hints,
)

MAX_NUMBER = 2**63
"""Whole numbers below this are exact in every file and library that stores them."""
MAX_PATH_CHARS = 4096
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[\ud800-\udfff]")
"""Control characters and halves of surrogate pairs, which no name and no text may hold."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line breaks, changes of the writing direction, and halves of surrogate pairs."""
TEXT_SETTINGS = re.compile(r"(^|\.)(prompt|system|user|second_look|comparison)(\.|$)")
"""Settings that are prompt texts, which may be empty."""
TARGET_KEY = "_target_"
NOT_A_FIELD = object
"""Hint of what no class declares: no `_target_` may stand there."""
PLAIN_TYPES = frozenset({object, str, int, float, bool, bytes, Path, dict, list, tuple, type(None)})
"""Types of values that are written in YAML as they are, so that no `_target_` may make one."""
HYDRA_KEYWORDS = ("_args_", PARTIAL_KEY, "_recursive_", "_convert_")
"""Keys of Hydra that would build something other than an object with named settings."""


def escape_control(line: str) -> str:
    """Return a line of a message whose line breaks and control characters are visible, as a terminal may obey them."""
    return CONTROL.sub(lambda match: ascii(match[0])[1:-1], line)


def find_wrong_values(value: Any, setting: str) -> Iterator[str]:
    """Yield a line for every invalid value below a setting."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from find_wrong_values(item, f"{setting}.{name}" if setting else str(name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from find_wrong_values(item, f"{setting}[{number}]")
    elif (reason := _explain_wrong_value(value, setting)) is not None:
        shown = value if isinstance(value, int | float) and len(str(value)) < 40 else ascii(value)[:80]
        yield f"{setting}={shown}: {reason}"


def _explain_wrong_value(value: Any, setting: str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "should be a finite number"
    if isinstance(value, int) and abs(value) >= MAX_NUMBER:
        return "is too large a number: should be below 2**63"
    if not isinstance(value, str):
        return None
    if CONTROL_CHARACTERS.search(value):
        return "holds characters that are no text, such as control characters"
    if not value.strip() and not TEXT_SETTINGS.search(setting):
        return "is empty. Write null where a setting may be left out, or leave it as it is"
    return _explain_special_file(value)


def _explain_special_file(text: str) -> str | None:
    """Explain why a text must not name a device or a pipe, which might never end; None if it does not."""
    if len(text) > MAX_PATH_CHARS or "\n" in text:
        return None
    try:
        mode = Path(text).stat().st_mode
    except (OSError, ValueError):
        return None
    plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return None if plain else "is a device, a pipe or a socket, neither file nor folder"


def find_wrong_targets(value: Any, setting: str, allowed: Any = None) -> Iterator[str]:
    """Yield a line for every `_target_` below a setting whose class does not fit.

    `allowed` is what the setting itself requires: a Protocol, a class, a type hint with several of them, or the dotted
    name of a class. The class of a group declares what its fields require. Without any, the class must be a dataclass.
    With `PartialOf` the group must have `_partial_: true`.
    """
    partial = allowed if isinstance(allowed, PartialOf) else None
    allowed = partial.base_class if partial else allowed
    if not isinstance(value, Mapping):
        for number, item in enumerate(value if isinstance(value, list | tuple) else ()):
            yield from find_wrong_targets(item, f"{setting}[{number}]", _get_item_hint(allowed))
        return
    hints: Mapping[str, Any] = {}
    if TARGET_KEY in value:
        target = value[TARGET_KEY]
        if special := [name for name in HYDRA_KEYWORDS if name in value and not (partial and name == PARTIAL_KEY)]:
            yield f"{setting}.{special[0]}: is not for CodeTool's settings, which all have names"
            return
        if partial and value.get(PARTIAL_KEY) is not True:
            yield f"{setting}.{PARTIAL_KEY}: should be true, since the run gives the class further arguments"
            return
        target_class, reason = locate_class(target)
        if reason := reason or _explain_wrong_class(target_class, allowed):
            yield f"{setting}.{TARGET_KEY}={ascii(target)[1:-1] if isinstance(target, str) else target}: {reason}"
            return
        hints = _read_hints(target_class)
        if not has_own_checks(target_class):
            settings = {name: item for name, item in value.items() if name not in (TARGET_KEY, PARTIAL_KEY)}
            yield from find_wrong_arguments(target_class, settings, setting, partial.reserved if partial else {})
    for name, item in value.items():
        below = hints.get(str(name), NOT_A_FIELD) if hints else _get_item_hint(allowed)
        yield from find_wrong_targets(item, f"{setting}.{name}", below)


def locate_class(target: object) -> tuple[Any, str]:
    """Import the class of a dotted name. Returns it with an empty text, or what is wrong with the name.

    Further modules of Python's standard library are not imported: some act when they are imported.
    """
    if not isinstance(target, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        return None, "should be the dotted name of a class, package.module.Class"
    module, _, name = target.rpartition(".")
    if (_is_standard(module) and module not in sys.modules) or "__main__" in module.split("."):
        return None, "is no class of settings, but a part of Python itself"
    try:
        target_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        return None, f"cannot be had ({error})"
    except (Exception, SystemExit) as error:  # a module can raise anything when it is imported
        return None, f"cannot be had ({' '.join(f'{type(error).__name__}: {error}'.split())[:200]})"
    return target_class, "" if isinstance(target_class, type) else "is no class"


def _is_standard(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _explain_wrong_class(target_class: type, allowed: Any) -> str:
    """Explain why a class is not what a setting requires; empty if it is."""
    if isinstance(allowed, str):
        allowed, reason = locate_class(allowed)
        assert not reason, reason
    options = list_alternatives(allowed)
    allowed_classes = [option for option in options if isinstance(option, type) and option not in PLAIN_TYPES]
    if not allowed_classes:
        if options:
            return "stands where no class can be chosen"
        return "" if dataclasses.is_dataclass(target_class) else "is no class of settings"
    if dataclasses.is_dataclass(target_class) and not _list_members(target_class):
        return ""  # the option that leaves something out, such as judge=none
    if any(_satisfies(target_class, option) for option in allowed_classes):
        return "is no class of settings, but a part of Python itself" if _is_standard(target_class.__module__) else ""
    first = allowed_classes[0]
    if not _is_protocol(first) and dataclasses.is_dataclass(first) and not dataclasses.is_dataclass(target_class):
        return "is no class of settings"
    missing = sorted(_list_members(first) - _list_members(target_class)) if _is_protocol(first) else []
    unfit = _find_unfit_method(target_class, first) if _is_protocol(first) and not missing else None
    lacks = f": it lacks {', '.join(missing)}" if missing else f": its {unfit} wants other arguments" if unfit else ""
    return f"is no {' or '.join(option.__name__ for option in allowed_classes)}{lacks}"


def _satisfies(target_class: type, allowed_class: type) -> bool:
    if not _is_protocol(allowed_class):
        return issubclass(target_class, allowed_class)
    has_members = _list_members(allowed_class) <= _list_members(target_class)
    return has_members and _find_unfit_method(target_class, allowed_class) is None


def _find_unfit_method(target_class: type, protocol: type) -> str | None:
    """Return the name of a method that requires more arguments than the Protocol's; None if all methods fit."""
    for name in sorted(_list_members(protocol)):
        declared, own = getattr(protocol, name, None), inspect.getattr_static(target_class, name, None)
        if not inspect.isfunction(declared) or not inspect.isfunction(own):
            continue  # properties and fields; a decorated method that is no function is not judged
        given = set(inspect.signature(declared).parameters)
        required = {
            parameter.name
            for parameter in inspect.signature(own).parameters.values()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }
        if len(required) > len(given):
            return name
    return None


def _is_protocol(allowed_class: type) -> bool:
    return bool(getattr(allowed_class, "_is_protocol", False))


def _list_members(target_class: type) -> set[str]:
    """List the public attributes of a class, including fields without a default."""
    classes = [base for base in target_class.__mro__ if base not in (object, Protocol) and base.__module__ != "typing"]
    names = {name for base in classes for name in (*vars(base), *base.__dict__.get("__annotations__", ()))}
    return {name for name in names if not name.startswith("_")}


def list_alternatives(hint: Any) -> Sequence[Any]:
    """List the alternatives of a type hint, without annotations and None; empty for Any."""
    if get_origin(hint) is Annotated:
        return list_alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [option for part in get_args(hint) for option in list_alternatives(part) if option is not type(None)]
    return [hint] if hint is not None and hint is not Any else []


def _get_item_hint(hint: Any) -> Any:
    """Return the hint of the items of a list or a mapping; `hint` itself if it is for neither."""
    for option in list_alternatives(hint):
        arguments = [argument for argument in get_args(option) if argument is not Ellipsis]
        if get_origin(option) is not None and arguments:
            return NOT_A_FIELD if arguments[-1] is Any else arguments[-1]
    return hint


@lru_cache(1024)
def _read_hints(target_class: type) -> Mapping[str, Any]:
    """Return the type hints of a class's fields; empty if they cannot be evaluated."""
    if not has_own_checks(target_class):
        return read_argument_hints(target_class)
    try:
        return get_type_hints(target_class, include_extras=True)
    except (NameError, TypeError):  # a name that is imported for type checkers only
        return {}
