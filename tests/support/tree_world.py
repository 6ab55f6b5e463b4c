"""Rollout trees written down: a step is named by its place, and the names make the tree."""

from __future__ import annotations

from collections.abc import Mapping

from codetool.process_data.rollouts import Rollout
from codetool.process_data.settings import LabelingConfig
from codetool.prompts.policy_prompt import StepPrompt
from codetool.prompts.prm_prompt import PRMPrompt
from codetool.types import Execution, Node, Step, Task

JUDGE = PRMPrompt(
    system="You judge.",
    task="Question: {{ query }}\n",
    step="Step {{ k }}: {{ text }}\n",
    result="Saw ({{ status }}): {{ observation }}\n",
    max_observation_chars=2000,
)
POLICY = StepPrompt(
    instruction="Answer {{ query }}",
    result="Step {{ k }} {{ status }}: {{ output }}",
    max_observation_chars=1000,
    max_response_chars=100,
)
TASK = Task("t1", "Who?", ())


def settings(**changes: object) -> LabelingConfig:
    defaults = {
        "leaf_success": "checked",
        "estimator": "soft",
        "length_term": "mean",
        "alpha": 0.9,
        "beta": 0.95,
        "horizon": 20,
        "keep_unsolved": True,
        "balance": False,
        "transcripts": 4,
        "prompt": JUDGE,
    }
    return LabelingConfig(**{**defaults, **changes})  # type: ignore[arg-type]


def rollout(
    outcomes: Mapping[str, bool],
    *inner: str,
    times: Mapping[str, int] | None = None,
    failed: tuple[str, ...] = (),
    task: Task = TASK,
) -> Rollout:
    """The tree with these leaves; `inner` are further steps, `times` multiplicities, `failed` steps did not run."""
    names = {*outcomes, *inner}
    for name in [*names]:
        places = name.split("-")
        names |= {"-".join(places[:k]) for k in range(1, len(places))}
    nodes = {"0": Node("0")}
    for name in sorted(names, key=lambda name: (name.count("-"), [int(place) for place in name.split("-")])):
        parent = nodes[name.rpartition("-")[0] or "0"]
        ran = name not in failed
        nodes[name] = Node(
            id=name,
            parent=parent,
            depth=parent.depth + 1,
            step=Step(f"##Step: do {name}", f"print('{name}')", name in outcomes),
            execution=Execution("ok", f"saw {name}") if ran else Execution("exception", "", "NameError: x"),
            spot=float(ran),
            multiplicity=(times or {}).get(name, 1),
        )
    return Rollout(task, tuple(nodes.values()), outcomes)
