"""Say whether a run evaluates its policy or PRM on tasks that the model was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.models.locate import Group, resolve_path
from codetool.prm.ensemble import list_members
from codetool.runs.repeats import get_original
from codetool.stages.train.trained_on import describe_overlap, read_training_tasks
from codetool.types import Task

log = logging.getLogger(__name__)


def log_training_overlap(config: RunConfig, tasks: Sequence[Task]) -> None:
    """Log a warning if a model with a record of its training was trained on evaluated tasks, and a line if it was not.

    Tasks of the same templates are not counted: splits of one benchmark share templates on purpose.
    """
    by_id = {task.id: task for task in map(get_original, tasks)}
    models: dict[Group, tuple[str, Sequence[Any]]] = {
        "policy": ("the policy", [config.policy]),
        "prm": ("the PRM", list_members(config.prm)),
    }
    clean: list[str] = []
    for group, (name, options) in models.items():
        paths = [resolve_path(group, getattr(option, "path", None)) for option in options]
        trained = [ids for path in paths if path is not None and (ids := read_training_tasks(path)) is not None]
        lines = [line for ids in trained for line in describe_overlap(ids, by_id, name, with_templates=False)]
        for line in dict.fromkeys(lines):
            log.warning("benchmark: %s; results on them do not tell how well it does on other tasks", line)
        clean += [name] if trained and not lines else []
    if clean:
        asked = len({get_original(task).id for task in tasks})
        tasks_asked = "the task is not" if asked == 1 else f"none of the {asked} tasks is"
        log.info("%s among those that %s was trained on", tasks_asked, " or ".join(clean))
