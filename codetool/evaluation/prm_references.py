"""Reference judges beside a PRM: metrics of scores that know nothing, and of scores that know the estimates.

- `constant`: the score 1 for every step, the judge that always says "right".
- `random`: uniform scores in [0, 1), seeded by task and step.
- `oracle`: for each metric the scores that are best for it: the label for `accuracy` and `auroc`, whether any leaf
  below the step succeeds for first errors, and the estimate for all others; in pairs, a step that ran comes first.

A PRM is useful as far as it is better than the first two; the oracle is what a perfect one would reach.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from codetool.evaluation.prm_metrics import compute_headline_metrics
from codetool.model_types import ProcessExample
from codetool.runs.seeding import draw_uniform

JUDGES = ("constant", "random", "oracle")

Score = Callable[[ProcessExample], float]

ORACLE_SCORES: Sequence[tuple[tuple[str, ...], Score]] = (
    (("accuracy", "auroc"), lambda example: float(example.label is True)),
    (
        ("first_error_f1", "first_error_accuracy", "first_error_erroneous", "first_error_correct"),
        lambda example: float(example.hard),
    ),
    (("pairwise_accuracy",), lambda example: (example.executed + example.soft) / 2),
)
"""Metrics with the scores that are best for them; for any other metric it is the soft estimate."""


def compute_reference_metrics(
    examples: Sequence[ProcessExample], *, threshold: float, seed: int
) -> dict[str, dict[str, float]]:
    """Return by judge the value of every metric that the examples determine, as for a PRM."""

    def compute(score: Score) -> dict[str, float]:
        return compute_headline_metrics(examples, [score(example) for example in examples], threshold=threshold)

    oracle = compute(lambda example: example.soft)
    for names, score in ORACLE_SCORES:
        best = compute(score)
        oracle |= {name: best[name] for name in names if name in best}
    return {
        "constant": compute(lambda example: 1.0),
        "random": compute(lambda example: draw_random_score(example, seed)),
        "oracle": oracle,
    }


def draw_random_score(example: ProcessExample, seed: int) -> float:
    """Return a uniform score in [0, 1) that depends on the seed, the task and the step alone."""
    return draw_uniform(seed, "reference judge", example.task_id, example.node_id)
