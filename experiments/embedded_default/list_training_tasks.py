"""Write `trained_on.yaml` of the embedded PRM, from the tasks that its card names.

Usage: python experiments/embedded_default/list_training_tasks.py

The PRM goes on from a policy that was trained on the first 1,200 train tasks of the generator, and its process data are
of the same tasks and templates. The ids of the tasks beyond them that its trees were grown on were not kept; they are
of these templates too. The policy's own file is written by its training.
"""

from __future__ import annotations

from codetool.benchmarks.task_generator.generate import generate_train
from codetool.models.locate import ADAPTERS_FOLDER
from codetool.stages.train.trained_on import TRAINED_ON_FILE, TrainingTasks, write_training_tasks

TASKS = 1200
"""Number of train tasks that the policy was trained on."""


def main() -> None:
    """Write the file."""
    rows = generate_train(TASKS)
    tasks = TrainingTasks(frozenset(row["id"] for row in rows), frozenset(), frozenset(row["template"] for row in rows))
    folder = ADAPTERS_FOLDER / "smollm2_prm"
    write_training_tasks(folder, (), (), (), [tasks])
    print(f"{folder / TRAINED_ON_FILE}: {len(tasks.tasks)} tasks, {len(tasks.templates)} templates")


if __name__ == "__main__":
    main()
