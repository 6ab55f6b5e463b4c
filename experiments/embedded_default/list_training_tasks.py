"""Write `trained_on.yaml` of the two adapters of the embedded default, from the tasks that their cards name.

Usage: python experiments/embedded_default/list_training_tasks.py

The policy was trained on the transcripts of the first 1,200 train tasks of the generator: written anew, they have the
sha256 that its card states. The PRM goes on from the policy's adapter, and its process data are of the same tasks and
templates. The ids of the tasks beyond them that its trees were grown on were not kept; they are of these templates too.
"""

from __future__ import annotations

from codetool.benchmarks.task_generator.generate import generate_train
from codetool.models.locate import ADAPTERS_FOLDER
from codetool.stages.train.trained_on import TRAINED_ON_FILE, TrainingTasks, write_training_tasks

TASKS = 1200
"""Number of train tasks that the policy was trained on."""


def main() -> None:
    """Write both files."""
    rows = generate_train(TASKS)
    tasks = TrainingTasks(frozenset(row["id"] for row in rows), frozenset(), frozenset(row["template"] for row in rows))
    for name in ("smollm2_policy", "smollm2_prm"):
        write_training_tasks(ADAPTERS_FOLDER / name, (), (), (), [tasks])
        print(f"{ADAPTERS_FOLDER / name / TRAINED_ON_FILE}: {len(tasks.tasks)} tasks, {len(tasks.templates)} templates")


if __name__ == "__main__":
    main()
