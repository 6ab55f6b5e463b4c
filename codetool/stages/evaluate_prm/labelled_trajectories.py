"""The steps of AgentProcessBench as a PRM evaluation dataset: each step follows one path and has no siblings.

A step that people have labelled right has the estimate 1 and the label "more potential"; a neutral or wrong one has the
estimate 0 and the label "less". A wrong step is an error, below which no leaf succeeds, and a neutral one is none.
"""

from __future__ import annotations

from collections.abc import Iterator

from codetool.model_types import ProcessExample
from codetool.process_data.agentprocessbench import AgentProcessBench, Trajectory
from codetool.stages.evaluate_prm.prm_eval_dataset import PRMEvalDataset, Siblings

NOTE = (
    "steps are labelled by people: accuracy, ece and brier count neutral ones (0) as not right, and the first error of "
    "a trajectory is its first wrong step (-1)"
)


def load_labelled_trajectories(source: AgentProcessBench, limit: int | None) -> PRMEvalDataset:
    """Return the labelled steps of the first `limit` trajectories. Raises what `AgentProcessBench.load` raises."""
    trajectories = source.load()[:limit]
    return PRMEvalDataset(
        benchmarks=[f"agentprocessbench-{'+'.join(source.parts)}"],
        checksums=source.checksums(),
        groups=[group for trajectory in trajectories for group in _make_groups(trajectory)],
        tasks={trajectory.task.id: trajectory.task for trajectory in trajectories},
        questions={trajectory.task.id: str(trajectory.task.template) for trajectory in trajectories},
        outcomes={trajectory.task.id: float(trajectory.success) for trajectory in trajectories},
        estimate_name="steps labelled right",
        note=NOTE,
    )


def _make_groups(trajectory: Trajectory) -> Iterator[Siblings]:
    """Yield each labelled step with the path before it. Only labelled steps count for its depth."""
    depth = 0
    for index, (node, label) in enumerate(zip(trajectory.nodes, trajectory.labels, strict=True)):
        if label is None or node.step is None:
            continue
        depth += 1
        example = ProcessExample(
            task_id=trajectory.task.id,
            node_id="-".join(["1"] * depth),
            group="-".join(["1"] * (depth - 1)) or "0",
            prefix=(),
            step=node.step.text,
            executed=True,
            soft=float(label == 1),
            hard=label != -1,
            latent=float(label == 1),
            label=label == 1,
        )
        yield Siblings(trajectory.task, trajectory.nodes[:index], [example], [node])
