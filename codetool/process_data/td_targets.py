"""Targets of a PRM by temporal differences on a rollout tree, instead of the share of successful leaves.

For a step n of a tree, let V(n) be its soft estimate, the share of the leaves below it that succeed; of a leaf, its
outcome, 0 or 1. Let E_c be the mean over the candidates c that were sampled after n. Generalized advantage estimation
(Schulman et al. 2015, arXiv 1506.02438), averaged over the continuations that the tree holds, is

    δ(n, c) = γ · V(c) - V(n)
    A(n)    = E_c [ δ(n, c) + γ · λ · A(c) ]         0 at a leaf

and the estimate of n is its λ-return, in [0, 1]:

    G(n)    = V(n) + A(n) = γ · E_c [ (1 - λ) · V(c) + λ · G(c) ]        V(n) at a leaf

The only reward is the outcome, at the leaf. λ = 0 looks one step ahead. λ = 1 is the expected outcome if each sampled
candidate is equally likely; V differs from it where siblings have unequally many leaves below them, for V weights each
leaf alike. γ < 1 lowers the estimate by the factor γ for each step that remains.

Progress is the gain of a step over the step before it, P(n) = (1 + G(n) - G(parent)) / 2, in [0, 1]; 1/2 is no gain.
The target `progress` is (1 - p) · G(n) + p · P(n), with the weight p of progress.

The on-the-spot reward of the step itself, 1 if it ran and else 0, is an option: the target is then
(1 - s) · (what it was) + s · spot(n).

AgentPRM (arXiv 2511.08325) trains a PRM on promise and progress with labels by GAE as well. There the values are those
of the PRM in training, on single trajectories, and progress is a loss of its own on the difference of two scores. Here
a tree has several continuations of each step, so that its shares are the values and both enter one target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.model_types import ProcessExample
from codetool.process_data.examples import number_trees

ROOT = ""
"""Key of the root among the estimates of a tree."""
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class TDSettings:
    """The symbols of the formulas, each in [0, 1]."""

    decay: float
    """λ."""
    discount: float
    """γ."""
    spot: float = 0.0
    """s: weight of the step's own on-the-spot reward."""
    progress: float = 0.0
    """p: weight of progress."""


def compute_td_targets(examples: Sequence[ProcessExample], settings: TDSettings) -> list[float]:
    """Return the target of each example; those of one tree follow each other, as in a `process.jsonl`.

    Raises ConfigError if steps of a tree are missing.
    """
    trees: defaultdict[int, list[ProcessExample]] = defaultdict(list)
    numbers = number_trees(examples)
    for number, example in zip(numbers, examples, strict=True):
        trees[number].append(example)
    returns = {number: compute_returns(tree, settings.decay, settings.discount) for number, tree in trees.items()}
    return [
        _compute_target(example, returns[number], settings) for number, example in zip(numbers, examples, strict=True)
    ]


def compute_returns(tree: Sequence[ProcessExample], decay: float, discount: float) -> dict[str, float]:
    """Return G of every step of a tree by node id, and of its root by `ROOT`. Raises ConfigError if steps are missing.

    A candidate counts as often as it was sampled; steps of unknown outcome are not among the examples.
    """
    children: defaultdict[str, list[ProcessExample]] = defaultdict(list)
    for example in tree:
        children[_name_parent(example)].append(example)
    _require_whole_tree(tree, children)
    returns: dict[str, float] = {}
    for example in sorted(tree, key=lambda example: example.node_id.count("-"), reverse=True):
        name = example.node_id
        returns[name] = _look_ahead(children[name], returns, decay, discount) if children[name] else example.soft
    return returns | {ROOT: _look_ahead(children[ROOT], returns, decay, discount)}


def _look_ahead(
    children: Sequence[ProcessExample], returns: Mapping[str, float], decay: float, discount: float
) -> float:
    """Return γ times the mean of (1 - λ) V + λ G over the sampled candidates."""
    values = [(1 - decay) * child.soft + decay * returns[child.node_id] for child in children]
    weights = [child.multiplicity for child in children]
    return discount * sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)


def _compute_target(example: ProcessExample, returns: Mapping[str, float], settings: TDSettings) -> float:
    promise = returns[example.node_id]
    progress = (1 + promise - returns[_name_parent(example)]) / 2
    value = (1 - settings.progress) * promise + settings.progress * progress
    return (1 - settings.spot) * value + settings.spot * float(example.executed)


def _name_parent(example: ProcessExample) -> str:
    return example.node_id.rpartition("-")[0] or ROOT


def _require_whole_tree(tree: Sequence[ProcessExample], children: Mapping[str, Sequence[ProcessExample]]) -> None:
    """Raise ConfigError if a step has no parent, or an estimate that its children cannot have given."""
    nodes = {example.node_id: example for example in tree}
    for parent, members in children.items():
        shares = [child.soft for child in members]
        estimate = nodes[parent].soft if parent in nodes else None
        given = estimate is not None and min(shares) - ROUNDING <= estimate <= max(shares) + ROUNDING
        if parent != ROOT and not given:
            raise ConfigError(
                f"train.soft_target: steps of the task {members[0].task_id} are missing around step {parent}, and "
                "temporal differences need whole trees. Write the data again, without a model, by stage=collect with "
                "collect.balance=false; or choose train.soft_target=soft."
            )
