"""What no setting may hold, whatever it is for, and what a `_target_` may name.

`_target_` chooses the class that is made of a group of settings. Only a class that does what the group is for is taken,
and it is looked at before anything of it is called: a configuration must not be able to run any function there is.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import re
import stat
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, Union, get_args, get_origin, get_type_hints

LARGEST = 2**63
"""Numbers below this are whole in every file and library that they reach."""
LONGEST_PATH = 4096
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[\ud800-\udfff]")
"""Characters that belong in no name and no text: control characters, and halves of a character."""
TEXTS = re.compile(r"(^|\.)(prompt|system|user|second_look|comparison)(\.|$)")
"""Settings that are texts for a model, which may be empty."""
SPECIAL = ("_args_", "_partial_", "_recursive_", "_convert_")
"""Words of Hydra's that would make something else of a target than an object with named settings."""


def wrong_values(value: Any, place: str) -> Iterator[str]:
    """A line for every value below a place that no setting can have."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from wrong_values(item, f"{place}.{name}" if place else str(name))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from wrong_values(item, f"{place}[{number}]")
    elif (reason := _objection(value, place)) is not None:
        shown = value if isinstance(value, int | float) and len(str(value)) < 40 else ascii(value)[:80]
        yield f"{place}={shown}: {reason}"


def _objection(value: Any, place: str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "should be a finite number"
    if isinstance(value, int) and abs(value) >= LARGEST:
        return "is too large a number: should be below 2**63"
    if not isinstance(value, str):
        return None
    if CONTROL.search(value):
        return "holds characters that are no text, such as control characters"
    if not value.strip() and not TEXTS.search(place):
        return "is empty. Write null where a setting may be left out, or leave it as it is"
    return _no_file(value)


def _no_file(text: str) -> str | None:
    """What is wrong with a text that is the path of a device or a pipe, which might never end."""
    if len(text) > LONGEST_PATH or "\n" in text:
        return None
    try:
        mode = Path(text).stat().st_mode
    except (OSError, ValueError):
        return None
    plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
    return None if plain else "is a device, a pipe or a socket, neither file nor folder"


def wrong_targets(node: Any, place: str, seam: Any = None) -> Iterator[str]:
    """A line for every `_target_` below a place whose class is not for it.

    `seam` is the Protocol or class that is wanted at the place itself; what is wanted further down is what the class
    above declares for its field. Without either, the class must be one of settings, a dataclass.
    """
    if not isinstance(node, Mapping):
        for number, item in enumerate(node if isinstance(node, list | tuple) else ()):
            yield from wrong_targets(item, f"{place}[{number}]")
        return
    hints: Mapping[str, Any] = {}
    if (target := node.get("_target_")) is not None:
        if special := [name for name in SPECIAL if name in node]:
            yield f"{place}.{special[0]}: is not for CodeTool's settings, which all have names"
            return
        found, reason = _located(str(target))
        reason = reason or _unfit(found, seam)
        if reason:
            yield f"{place}._target_={target}: {reason}"
            return
        hints = _hints(found)
    for name, item in node.items():
        yield from wrong_targets(item, f"{place}.{name}", hints.get(str(name)))


def _located(target: str) -> tuple[Any, str]:
    """What a dotted name stands for, and why that cannot be said, if it cannot."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+", target):
        return None, "should be the dotted name of a class, package.module.Class"
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        return None, f"cannot be had ({error})"
    return found, "" if isinstance(found, type) else "is no class"


def _unfit(found: type, seam: Any) -> str:
    """Why a class is not what is wanted; empty if it is."""
    wanted = [option for option in _options(seam) if isinstance(option, type)]
    if not wanted:
        return "" if dataclasses.is_dataclass(found) else "is no class of settings"
    if dataclasses.is_dataclass(found) and not _members(found):
        return ""  # the option that leaves something out, such as judge=none
    if any(_is(found, option) for option in wanted):
        return ""
    first = wanted[0]
    missing = sorted(_members(first) - _members(found)) if _is_protocol(first) else []
    lacks = f": it lacks {', '.join(missing)}" if missing else ""
    return f"is no {' or '.join(option.__name__ for option in wanted)}{lacks}"


def _is(found: type, wanted: type) -> bool:
    return _members(wanted) <= _members(found) if _is_protocol(wanted) else issubclass(found, wanted)


def _is_protocol(wanted: type) -> bool:
    return bool(getattr(wanted, "_is_protocol", False))


def _members(found: type) -> set[str]:
    """The public attributes of a class, fields without a default included."""
    classes = [each for each in found.__mro__ if each not in (object, Protocol) and each.__module__ != "typing"]
    names = {name for each in classes for name in (*vars(each), *each.__dict__.get("__annotations__", ()))}
    return {name for name in names if not name.startswith("_")}


def _options(hint: Any) -> Sequence[Any]:
    """The alternatives of a type hint, without what it is annotated with and without None."""
    if get_origin(hint) is Annotated:
        return _options(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return [option for part in get_args(hint) for option in _options(part) if option is not type(None)]
    return [hint] if hint is not None and hint is not Any else []


def _hints(found: type) -> Mapping[str, Any]:
    """The types of a class's fields, as far as they can be read."""
    try:
        return get_type_hints(found, include_extras=True)
    except (NameError, TypeError):  # a name that is imported for type checkers alone
        return {}
