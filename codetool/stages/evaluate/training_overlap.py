"""Say whether a run evaluates its policy or PRM on tasks that the model was trained on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import get_args

from codetool.config.run_config import RunConfig
from codetool.models.locate import Group, resolve_path
from codetool.runs.repeats import get_original
from codetool.stages.train.trained_on import describe_overlap, read_training_tasks
from codetool.types import Task

log = logging.getLogger(__name__)


def log_training_overlap(config: RunConfig, tasks: Sequence[Task]) -> None:
    """Log a warning if a model with a record of its training was trained on evaluated tasks, and a line if it was not.

    Tasks of the same templates are not counted: splits of one benchmark share templates on purpose.
    """
    models = {"policy": "the policy", "prm": "the PRM"}
    clean: list[str] = []
    for group in get_args(Group):
        path = resolve_path(group, getattr(getattr(config, group), "path", None))
        trained = None if path is None else read_training_tasks(path)
        if trained is None:
            continue
        by_id = {task.id: task for task in map(get_original, tasks)}
        lines = list(describe_overlap(trained, by_id, models[group], with_templates=False))
        for line in lines:
            log.warning("benchmark: %s; results on them do not tell how well it does on other tasks", line)
        clean += [] if lines else [models[group]]
    if clean:
        asked = len({get_original(task).id for task in tasks})
        log.info("none of the %d tasks is among those that %s was trained on", asked, " or ".join(clean))
