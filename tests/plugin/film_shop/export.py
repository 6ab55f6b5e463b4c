"""An export of rollout trees: a line for each tree, with its task and the number of its steps."""

from collections.abc import Iterable
from pathlib import Path

from codetool.process_data.exports.tree_export import ExportSettings, LabelledTree, write_rows


def write_export(folder: Path, trees: Iterable[LabelledTree], settings: ExportSettings) -> int:
    """Write `rows.jsonl`, and return the number of trees."""
    rows = (
        {"benchmark": settings.benchmark, "task_id": tree.rollout.task.id, "steps": len(tree.examples)}
        for tree in trees
    )
    return write_rows(folder / "rows.jsonl", rows)
