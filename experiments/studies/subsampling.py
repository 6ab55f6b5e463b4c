"""Measure best of n for small n from one run of large N, by choosing among random subsets of its chains.

The N chains of a task are drawn independently, so a random subset of n of them is distributed as the chains of a run
with n, and the mean over many subsets varies less than such a run does. Every rule of choice reads the same chains.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt

from codetool.answers.final_answer import extract_path_answer
from codetool.benchmarks import tmdb_verified
from codetool.benchmarks.answer_checker.checker import matches
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.metrics import compute_scep
from codetool.evaluation.result_files import TreeFile, read_results
from codetool.evaluation.result_records import parse_nodes
from codetool.rewards.codetool import StepReward
from codetool.search.selection import Select, select_best
from codetool.types import Answer, Node

SUBSETS = 100
"""Number of random subsets of a task's chains, where there are more than these."""


class Subsample(BaseModel):
    """A cell that runs nothing: best of n among subsets of the chains of another cell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cell: str
    """The cell whose run has the chains, a `search=best_of_n`."""
    n: PositiveInt
    """Chains of a subset."""
    select: Select | Literal["oracle"]
    """How one is chosen, as `search.select`. `oracle` takes a right one wherever there is one, without a PRM."""
    reward: StepReward | None = None
    """Reward by which chains are compared, in the words of `conf/reward`; None takes that of the run."""


@dataclass(frozen=True)
class Chains:
    """The chains of one task, one entry for each that was drawn."""

    leaves: Sequence[Node]
    """Last steps; a leaf at which several chains ended occurs as often."""
    right: Mapping[str, bool]
    """Whether the answer of a leaf is right, by node id."""
    amounts: Mapping[str, float]
    """What all chains together cost, by metric."""
    prompt_tokens: Mapping[str, int]
    """Tokens of the prompt that was read after each step, by node id."""

    def measure(self, subsample: Subsample, draws: Random) -> dict[str, float]:
        """Return the means over random subsets: success, SCEP and amounts."""
        leaves = self.leaves if subsample.reward is None else _reward_anew(self.leaves, subsample.reward)
        has_prm = subsample.select != "oracle" and (subsample.reward is None or subsample.reward.latent > 0)
        found = [
            self._choose(subset, subsample.select, has_prm) for subset in _draw_subsets(leaves, subsample.n, draws)
        ]
        return {name: math.fsum(each[name] for each in found) / len(found) for name in found[0]}

    def _choose(self, leaves: Sequence[Node], select: Select | Literal["oracle"], has_prm: bool) -> dict[str, float]:
        """Choose among these leaves, and return the metrics of the choice."""
        counts = Counter(leaf.id for leaf in leaves)
        ends = [replace(leaf, multiplicity=counts[leaf.id]) for leaf in leaves]
        if select == "oracle":
            best = max(ends, key=lambda leaf: self.right[leaf.id])
        else:
            best = select_best(ends, select)
        prm_tokens = self._share_steps(leaves) * self.amounts["prm_tokens"] if has_prm else 0.0
        policy_tokens = self._share_policy(leaves) * self.amounts["policy_tokens"]
        return {
            "success": float(self.right[best.id]),
            "scep": compute_scep(best.path),
            "policy_tokens": policy_tokens,
            "prm_tokens": prm_tokens,
            "tokens": policy_tokens + prm_tokens,
            "tool_calls": float(sum(len(step.execution.calls) for step in _list_steps(leaves) if step.execution)),
        }

    def _share_steps(self, leaves: Sequence[Node]) -> float:
        """Return the share of the tree's different steps that lie on these chains: each is scored once."""
        return len(_list_steps(leaves)) / len(_list_steps(self.leaves))

    def _share_policy(self, leaves: Sequence[Node]) -> float:
        """Return the share of the policy's tokens that these chains cost, as measured by `_count_policy_tokens`."""
        return self._count_policy_tokens(leaves) / (self._count_policy_tokens(self.leaves) or 1)

    def _count_policy_tokens(self, leaves: Sequence[Node]) -> int:
        """Count the tokens that chains write, each its own, and read: the prompt after a step once for all of them."""
        written = sum(step.tokens_out or 0 for leaf in leaves for step in leaf.path)
        expanded = {step.parent.id for step in _list_steps(leaves) if step.parent}
        return written + sum(self.prompt_tokens.get(node, 0) for node in expanded)


def measure_subsets(folder: Path, subsample: Subsample) -> Mapping[str, Mapping[str, float]]:
    """Return the metrics of the finished tasks of a run, by task: the means over random subsets of its chains.

    A task that failed internally is unsolved and has no amounts. Every rule of choice reads the same subsets.
    """
    results = folder / "results.jsonl"
    return _measure_tasks(folder, results.stat().st_size, subsample) if results.is_file() else {}


@cache
def _measure_tasks(folder: Path, size: int, subsample: Subsample) -> dict[str, dict[str, float]]:
    """Return the metrics by task; `size` of the results says whether what was computed before is out of date."""
    return {
        task: {"success": 0.0, "scep": 0.0}
        if chains is None
        else chains.measure(subsample, Random(f"{task} {subsample.n}"))
        for task, chains in _load_chains(folder, size).items()
    }


@cache
def _load_chains(folder: Path, size: int) -> dict[str, Chains | None]:
    """Return the chains of every finished task; None for one that failed internally."""
    lines = {line["task_id"]: line for line in read_results(folder)}
    trees = {tree["task_id"]: tree for tree in TreeFile(folder / "trees.jsonl").read_trees(lines)}
    rows = {row["id"]: row for row in tmdb_verified.load_all_rows()}
    prompts = _read_prompt_tokens(folder / "candidates.jsonl")
    return {
        task: None if is_internal(line) else _build_chains(line, rows[task], parse_nodes(trees[task]), prompts[task])
        for task, line in lines.items()
        if task in trees or is_internal(line)
    }


def _build_chains(
    line: Mapping[str, Any], row: Mapping[str, Any], nodes: Sequence[Node], prompts: Mapping[str, int]
) -> Chains:
    parents = {node.parent.id for node in nodes if node.parent}
    leaves = [node for node in nodes if node.id not in parents]
    answer, metrics = Answer(row["answer"]["type"], row["answer"]["value"]), line["metrics"]
    return Chains(
        leaves=[leaf for leaf in leaves for _ in range(leaf.multiplicity)],
        right={leaf.id: matches(answer, extract_path_answer(leaf), row["query"]) for leaf in leaves},
        amounts={
            "policy_tokens": metrics["tokens_in"] + metrics["tokens_out"],
            "prm_tokens": metrics["prm_tokens"],
        },
        prompt_tokens=prompts,
    )


def _read_prompt_tokens(file: Path) -> defaultdict[str, defaultdict[str, int]]:
    """Return the prompt tokens by task and node, from the recorded candidates."""
    found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for record in _read_records(file):
        found[record["task_id"]][record["path"]] += record["tokens_in"]
    return found


def _read_records(file: Path) -> Iterator[Mapping[str, Any]]:
    with file.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _draw_subsets(leaves: Sequence[Node], size: int, draws: Random) -> Iterator[list[Node]]:
    """Yield all subsets where there are at most `SUBSETS`, else that many random ones, each in a random order.

    The order decides between chains of equal reward.
    """
    size = min(size, len(leaves))
    if math.comb(len(leaves), size) <= SUBSETS:
        yield from (draws.sample(subset, size) for subset in combinations(leaves, size))
    else:
        yield from (draws.sample(leaves, size) for _ in range(SUBSETS))


def _reward_anew(leaves: Sequence[Node], reward: StepReward) -> list[Node]:
    """Return the leaves with the cumulative reward that another reward gives their paths."""
    return [replace(leaf, cumulative=reward.cumulative(leaf.path)) for leaf in leaves]


def _list_steps(leaves: Sequence[Node]) -> list[Node]:
    """Return the different steps on the paths to these leaves."""
    return list({step.id: step for leaf in leaves for step in leaf.path}.values())
