"""The configuration of a run as flat values, by which a dashboard filters, groups and compares runs.

search: beam             the chosen option of a group
search/width: 2          a setting of it
policy/prompt: stepwise  the chosen option of a group inside a group
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from codetool.runs import provenance
from codetool.tracking.run_content import RunInfo

LEFT_OUT = ("logger", "dry_run", "fresh", "costs")
"""Settings that say nothing about a run's result."""
LIST_CHOICE = str(None)
"""What Hydra has as the choice of a group of which a list of options is chosen."""


def get_run_config(run: RunInfo) -> dict[str, Any]:
    """Return the values that describe a run: its own ones, else those of its folder."""
    return dict(run.config) if run.config is not None else read_run_config(run.folder, run.choices)


def read_run_config(folder: Path, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the resolved settings of a run folder, with CodeTool's version, the checksums and the code versions.

    `choices` are the chosen options by `group` or `group@place`.
    """
    run_provenance = provenance.read_provenance(folder)
    checksums = {f"sha256/{name}": value for name, value in run_provenance.identity.checksums.items()}
    settings = dict(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    settings = {name: value for name, value in settings.items() if name not in LEFT_OUT}
    # `policy` after `sampling@policy`, a part of its settings
    groups = sorted(choices, key=lambda group: "@" not in group)
    chosen = {group.rpartition("@")[2]: choices[group] for group in groups}
    return {
        "codetool": run_provenance.identity.version,
        **checksums,
        "code": [asdict(code) for code in run_provenance.codes],
        **dict(_flatten(settings, "")),
        **dict(_name_options(settings, chosen)),
    }


def _name_options(settings: Mapping[str, Any], chosen: Mapping[str, str]) -> Iterator[tuple[str, str | list[str]]]:
    """Yield the chosen option of each block of settings by its path; of a group that takes several, their list."""
    for place, option in chosen.items():
        block: Any = settings
        for name in place.split("."):
            block = block.get(name) if isinstance(block, Mapping) else None
        if isinstance(block, Mapping):
            yield place.replace(".", "/"), list(block) if option == LIST_CHOICE else option


def _flatten(settings: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield every value by its path."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}/")
        elif not (name.startswith("_") and name.endswith("_")):  # `_target_` and the like
            yield f"{prefix}{name}", value
