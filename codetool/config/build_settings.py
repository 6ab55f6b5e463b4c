"""Build settings objects from plain settings: the class in `_target_` gets the settings beside it.

Hydra's `instantiate` is not used, because it resolves interpolations a second time: text that was escaped, or that a
run folder of somebody else holds, would be replaced by a variable of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from codetool.config.library_arguments import PARTIAL_KEY, convert_arguments, has_own_checks
from codetool.config.setting_checks import TARGET_KEY, locate_class


class BuildError(Exception):
    """A class refused its settings; the cause is the exception that it raised."""

    def __init__(self, full_key: str) -> None:
        """`full_key` is the dotted name of the group of settings."""
        super().__init__(full_key)
        self.full_key = full_key


def build_settings(value: Any, full_key: str) -> Any:
    """Build the object of a group, after those inside it; with `_partial_`, a `functools.partial`. Raises BuildError.

    The targets must have been checked by `find_wrong_targets`.
    """
    if isinstance(value, list):
        return [build_settings(item, f"{full_key}[{number}]") for number, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    built = {name: build_settings(item, f"{full_key}.{name}") for name, item in value.items() if name != TARGET_KEY}
    return build_object(value[TARGET_KEY], built, full_key) if TARGET_KEY in value else built


def build_object(target: object, settings: Mapping[Any, Any], full_key: str) -> Any:
    """Call the class of a dotted name with settings, or with `_partial_` prepare the call. Raises BuildError."""
    target_class, reason = locate_class(target)
    try:
        if reason:
            raise TypeError(f"{target} {reason}")
        arguments = {name: value for name, value in settings.items() if name != PARTIAL_KEY}
        if not has_own_checks(target_class):
            arguments = convert_arguments(target_class, arguments)
        return partial(target_class, **arguments) if settings.get(PARTIAL_KEY) else target_class(**arguments)
    except Exception as error:
        raise BuildError(full_key) from error
