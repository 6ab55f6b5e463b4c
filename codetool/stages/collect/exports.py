"""Write the trees of a collection in the formats of other trainers, `export=`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from codetool.config.export_formats import load_format
from codetool.config.run_config import RunConfig
from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree
from codetool.runs.write_errors import explain_write_errors

EXPORTS = "exports"
"""Folder with a folder for each format."""
REFERENCE = "reference"
"""Folder of the reference implementation's files, which stands alone."""


def write_exports(
    config: RunConfig, benchmark: str, folder: Path, make_trees: Callable[[], Iterable[LabelledTree]]
) -> dict[str, int]:
    """Replace the exports of a run folder by those that are asked for, and return the number of rows of each.

    Exports that are not asked for are removed, since their labels may be outdated. Each format is written beside its
    place and moved there when it is complete. Raises WriteError, and ConfigError for a prompt that a format cannot cut.
    """
    rows: dict[str, int] = {}
    for target in (folder / REFERENCE, folder / EXPORTS):
        shutil.rmtree(target, ignore_errors=True)
    shutil.rmtree(_locate_partial(folder / REFERENCE), ignore_errors=True)
    for name in config.export:
        target = locate_export(folder, name)
        partial = _locate_partial(target)
        with explain_write_errors(target):
            partial.mkdir(parents=True)
            rows[name] = load_format("collect", name)(partial, make_trees(), _describe_run(config, benchmark))
            partial.rename(target)
    return rows


def locate_export(folder: Path, name: str) -> Path:
    """Return the folder of a format's files in a run folder."""
    return folder / REFERENCE if name == REFERENCE else folder / EXPORTS / name


def _locate_partial(target: Path) -> Path:
    """Return where a format is written until it is complete."""
    return target.with_name(f"{target.name}.new")


def _describe_run(config: RunConfig, benchmark: str) -> ExportSettings:
    return ExportSettings(
        benchmark=benchmark,
        split=str(config.settings["benchmark"].get("split") or ""),
        model=str(config.settings["policy"].get("model") or ""),
        policy_prompt=config.policy.prompt,
        prm_prompt=config.collect.prompt,
        estimator=config.collect.estimator,
        max_transcripts=config.collect.transcripts,
    )
