"""The formats that `export=` names, by stage, and the function that writes each.

A format of rollout trees is a module with a `codetool.process_data.exports.tree_export.TreeExport` and a line here. The
functions are named by text since this package does not import those that define them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

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
    known = EXPORT_FORMATS.get(stage, {})
    for name in names:
        if name not in known:
            owners = [owner for owner, its_formats in EXPORT_FORMATS.items() if name in its_formats]
            elsewhere = f"{name} goes with stage={owners[0]}; " if owners else ""
            raise ValueError(f"{elsewhere}stage={stage} writes {', '.join(known)}. Name one, or several: [A,B]")
    return tuple(dict.fromkeys(names))


def load_format(stage: str, name: str) -> Any:
    """Return the function that writes a format of a stage."""
    module, _, function = EXPORT_FORMATS[stage][name].rpartition(".")
    return getattr(import_module(module), function)
