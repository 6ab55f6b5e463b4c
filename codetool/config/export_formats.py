"""The formats that `export=` names, by stage, and the function that writes each.

A format of rollout trees is a module with a `codetool.process_data.exports.tree_export.TreeExport` and a line here. The
functions are named by text since this package does not import those that define them. An installed package adds a
format of trees by an entry point, and `export=my_module.write_export` names a function that is in no package:

    [project.entry-points."codetool.exports"]
    film_rows = "film_shop.export:write_export"
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

ENTRY_POINT_GROUP = "codetool.exports"
PLUGIN_STAGE = "collect"
"""Stage whose formats packages of others can add."""
EXPORT_FORMATS: Mapping[str, Mapping[str, str]] = {
    "evaluate": {
        "reference": "codetool.stages.evaluate.export_results.export_results",
        "inspect": "codetool.stages.evaluate.inspect_export.export_inspect_log",
    },
    "collect": {
        "reference": "codetool.process_data.reference_format.reference_export.write_export",
        "llamafactory_preference": "codetool.process_data.exports.llamafactory_preference.write_export",
        "trl_preference": "codetool.process_data.exports.trl_preference.write_export",
        "trl_prompt_completion": "codetool.process_data.exports.trl_prompt_completion.write_export",
        "trl_stepwise": "codetool.process_data.exports.trl_stepwise.write_export",
        "verl": "codetool.process_data.exports.verl.write_export",
        "verifiers": "codetool.process_data.exports.verifiers.write_export",
    },
}
"""Dotted name of the function that writes a format, by stage and by the format's name."""


def parse_formats(stage: str, formats: Any) -> Any:
    """Return the formats as a tuple without repetitions, a single name as one of them and None as none.

    Raises ValueError, which names what the stage can write, for another name.
    """
    names = [formats] if isinstance(formats, str) else formats or []
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        return formats
    for name in names:
        if name in EXPORT_FORMATS.get(stage, {}):
            continue
        added = _list_added_formats() if stage == PLUGIN_STAGE else {}
        if stage == PLUGIN_STAGE and (name in added or "." in name):
            _load_function(added.get(name, name), name)
            continue
        owners = [owner for owner, its_formats in EXPORT_FORMATS.items() if name in its_formats]
        elsewhere = f"{name} goes with stage={owners[0]}; " if owners else ""
        known = ", ".join([*EXPORT_FORMATS.get(stage, {}), *added])
        raise ValueError(f"{elsewhere}stage={stage} writes {known}. Name one, or several: [A,B]")
    return tuple(dict.fromkeys(names))


def load_format(stage: str, name: str) -> Any:
    """Return the function that writes a format of a stage. Raises ValueError for one of others that is none."""
    if name in EXPORT_FORMATS[stage]:
        module, _, function = EXPORT_FORMATS[stage][name].rpartition(".")
        return getattr(import_module(module), function)
    return _load_function(_list_added_formats().get(name, name), name)


def _list_added_formats() -> dict[str, str]:
    """Return the dotted names of the functions that installed packages declare, by the format's name."""
    return {entry.name: entry.value.replace(":", ".") for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _load_function(dotted_name: str, name: str) -> Any:
    """Import the function of a format. Raises ValueError if there is none that takes a folder, trees and settings."""
    module, _, function = dotted_name.rpartition(".")
    try:
        write_export = getattr(import_module(module), function)
    except (Exception, SystemExit) as error:  # a module can raise anything when it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"{name} cannot be had as {dotted_name} ({reason})") from error
    try:
        inspect.signature(write_export).bind("folder", "trees", "settings")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{dotted_name} is no function of (folder, trees, settings), as an export is") from error
    return write_export
