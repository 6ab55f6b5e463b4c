"""Explain in a line for each setting why the constructors of settings refused it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ValidationError

from codetool.config.renamed_settings import suggest_current_name


def explain_instantiation(name: str, error: Exception) -> Iterator[str]:
    """Yield one line for every setting that the constructors below `name` refused."""
    cause = error.__cause__ or error
    if isinstance(cause, MissingMandatoryValue):
        yield f"{cause.full_key}: is not set and has no default. Give it with {cause.full_key}=VALUE."
        return
    if isinstance(cause, OmegaConfBaseException):
        yield f"{cause.full_key or name}: {str(cause).splitlines()[0]}"
        return
    if not isinstance(cause, ValidationError):
        yield f"{name}: {' '.join(str(cause).split())}"
        return
    parent = getattr(error, "full_key", None) or name
    places = {item["loc"] for item in cause.errors()}
    for item in cause.errors():
        if item["type"] == "too_short" and any(place[:-1] == item["loc"] for place in places if place):
            continue  # only because its items were refused, which has a line of its own
        if not item["loc"]:  # settings that contradict each other: the message names them
            yield item["msg"].removeprefix("Value error, ")
            continue
        setting = name_place([parent, *(part for part in item["loc"] if not str(part).startswith("function-"))])
        if item["type"].startswith("missing"):
            yield f"{setting}: is missing"
        else:  # a preset or `+name=value` may use a former name
            hint = suggest_current_name(setting) if item["type"].startswith("unexpected") else ""
            yield format_problem(setting, item["input"], item["msg"]) + (f".{hint}" if hint else "")


def name_place(parts: Sequence[str | int]) -> str:
    """Return the name of a value inside settings, such as `export[1]` for the second item of a list."""
    names = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts[1:])
    return f"{parts[0]}{''.join(names)}"


LIST_MESSAGES = ("should be a valid tuple", "should be a valid list", "should be a valid set")
"""Messages of pydantic about a value that should be a list, as YAML and the command line call it."""


def format_problem(setting: str, value: object, message: str) -> str:
    """Return the line for a value that was refused with a message of pydantic."""
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    if message in LIST_MESSAGES:
        message = "should be a list"
        message += f": {setting}=[{value}]" if isinstance(value, str | int | float) else ""
    message = message.replace(
        "is not a valid path for <class 'pathlib.Path'>", "should be the path of a file or folder"
    )
    message = message.replace("should be a valid dictionary", "should be a mapping, {NAME: VALUE}")
    if isinstance(value, Mapping) and message.startswith("should be a"):
        message += ", not a mapping"
    # A mapping is long and may hold a pasted key; the message says what is wrong in it.
    shown = "" if isinstance(value, Mapping) or setting.startswith("tools.secrets") else f"={value!r}"
    return f"{setting}{shown}: {message[0].lower()}{message[1:]}"
