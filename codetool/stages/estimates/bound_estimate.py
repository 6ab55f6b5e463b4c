"""Estimate the most that tasks may cost, from what their search may ask for at most."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from codetool.config.run_config import RunConfig
from codetool.costs.rates import Rates
from codetool.interfaces import PrintedAnswer, ScoringPrompt
from codetool.policies.replay import ReplayPolicyConfig
from codetool.prm.ensemble import list_members
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.search.upper_bound import SearchDemand, bound_search
from codetool.stages.estimates.estimate import Estimate
from codetool.stages.judge.judge_run import needs_judge
from codetool.types import Step, Task

CHARACTERS_PER_TOKEN = 4
SAMPLED_TASKS = 30
"""Number of tasks whose prompts are rendered."""
LIMITS: Mapping[str, Callable[[Estimate], float]] = {
    "tokens": lambda bound: sum(bound.tokens["policy"]),
    "tokens_out": lambda bound: bound.tokens["policy"][1],
    "prm_tokens": lambda bound: bound.tokens["prm"][0],
    "executions": lambda bound: bound.calls["steps"],
    "usd": lambda bound: bound.usd or 0.0,
    "flops": lambda bound: bound.flops or 0.0,
}
"""Amounts of one task that a budget may limit, by the name of the limit."""


def estimate_by_bound(config: RunConfig, tasks: Sequence[Task], rates: Rates) -> Estimate:
    """Return the most that the tasks may cost, as far as the search's calls and the prompts' lengths determine it."""
    if not tasks:
        return Estimate(0, "bound")
    demand = asyncio.run(bound_search(config.search))
    one = _bound_task(config, tasks[:: max(1, len(tasks) // SAMPLED_TASKS)], demand, rates)
    share, limit = _find_share(config.budget, one)
    return Estimate(
        len(tasks),
        "bound",
        calls={name: len(tasks) * count * share for name, count in one.calls.items()}
        | _count_votes(config, len(tasks)),
        tokens={name: (len(tasks) * r * share, len(tasks) * w * share) for name, (r, w) in one.tokens.items()},
        usd=None if one.usd is None else len(tasks) * one.usd * share,
        flops=None if one.flops is None else len(tasks) * one.flops * share,
        assumptions=list(_list_assumptions(config, demand, limit)),
    )


def _bound_task(config: RunConfig, sample: Sequence[Task], demand: SearchDemand, rates: Rates) -> Estimate:
    """Return the most that one task may cost, without budgets; prompts are as long as those of the sample's mean."""
    written = config.policy.sampling.max_tokens or 0
    growth = written + _read_observation_chars(config, "policy") / CHARACTERS_PER_TOKEN
    first = mean(_count_tokens(config.policy.prompt.messages(task, ())) for task in sample)
    asked = {"policy": (0.0, 0.0), "prm": (0.0, 0.0), "answer": (0.0, 0.0)}
    draws = demand.candidates if _shows_siblings(config) else demand.draws  # each sibling is asked for alone
    prompts, deepest = _bound_prm(config, sample, demand), max(demand.candidates, default=0)
    if not isinstance(config.policy, ReplayPolicyConfig):
        read = sum(count * (first + depth * growth) for depth, count in draws.items())
        asked["policy"] = (read, float(demand.candidates.total() * written))
        if config.answer is not None and not isinstance(config.answer, PrintedAnswer):
            asked["answer"] = (first + (deepest + 1) * growth, float(config.answer.sampling.max_tokens or 0))
    asked["prm"] = (sum(count * size for count, size in prompts), 0.0)
    calls = {
        "policy requests": 0.0 if isinstance(config.policy, ReplayPolicyConfig) else float(draws.total()),
        "candidates": float(demand.candidates.total()),
        "PRM prompts": sum(count for count, _ in prompts),
        "steps": float(demand.candidates.total()),
    }
    whole = {name: (round(read), round(new)) for name, (read, new) in asked.items()}
    usd, flops = rates.compute_usd(whole), rates.count_flops(whole)
    return Estimate(1, "bound", calls=calls, tokens=asked, usd=usd, flops=flops)


def _shows_siblings(config: RunConfig) -> bool:
    return getattr(config.policy, "diversity", "none") == "shown"


def _bound_prm(config: RunConfig, sample: Sequence[Task], demand: SearchDemand) -> list[tuple[float, float]]:
    """Return the number of the PRM's prompts and the tokens of each, by the depth of the scored steps."""
    return [part for member in list_members(config.prm) for part in _bound_member(config, member, sample, demand)]


def _bound_member(
    config: RunConfig, member: Any, sample: Sequence[Task], demand: SearchDemand
) -> list[tuple[float, float]]:
    prompt, step = getattr(member, "prompt", None), Step("x" * _count_step_chars(config), "x", finished=False)
    growth = (len(step.text) + _read_observation_chars(config, "prm")) / CHARACTERS_PER_TOKEN
    if isinstance(prompt, PairwisePRMPrompt):
        first = mean(_count_tokens(prompt.messages(task, (), step, step)) for task in sample)
        draws = [(demand.candidates[depth] / count, count, depth) for depth, count in demand.draws.items()]
        return [(count * n * (n - 1), first + depth * growth) for n, count, depth in draws]
    if not isinstance(prompt, ScoringPrompt):
        return []  # no PRM, or one without a model
    first = mean(_count_tokens(prompt.messages(task, (), step)) for task in sample)
    return [(float(count), first + depth * growth) for depth, count in demand.candidates.items()]


def _count_step_chars(config: RunConfig) -> int:
    return (config.policy.sampling.max_tokens or 0) * CHARACTERS_PER_TOKEN


def _count_tokens(messages: Sequence[Mapping[str, str]]) -> float:
    return sum(len(message["content"]) for message in messages) / CHARACTERS_PER_TOKEN


def _read_observation_chars(config: RunConfig, group: str) -> int:
    """Return the most characters that a prompt shows of a step's output; 0 for a prompt without that setting."""
    prompt = config.settings.get(group, {}).get("prompt") or {}
    return int(prompt.get("max_observation_chars") or 0)


def _count_votes(config: RunConfig, tasks: int) -> dict[str, float]:
    return {"votes of the judge": float(tasks * getattr(config.judge, "votes", 1))} if needs_judge(config) else {}


def _find_share(budget: Any, one: Estimate) -> tuple[float, str | None]:
    """Return the share of the bound that the task's budget leaves, and the limit that leaves the least of it."""
    shares = {
        name: getattr(budget, name) / amount
        for name, measure in LIMITS.items()
        if getattr(budget, name) is not None and (amount := measure(one)) > getattr(budget, name)
    }
    limit = min(shares, key=shares.__getitem__, default=None)
    return (1.0, None) if limit is None else (shares[limit], limit)


def _list_assumptions(config: RunConfig, demand: SearchDemand, limit: str | None) -> Iterator[str]:
    depth = config.search.depth
    yield f"no path ends before step {depth}, every candidate is another program and has all of its tokens"
    yield (
        f"{CHARACTERS_PER_TOKEN} characters a token, and outputs as long as the prompts show them "
        f"({_read_observation_chars(config, 'policy')} characters)"
    )
    if demand.is_cut:
        yield f"the first {demand.candidates.total():,} candidates of each task only; the search may draw more"
    if _shows_siblings(config):
        yield "prompts without the siblings that they show (policy.diversity=shown)"
    if limit is not None:
        yield f"budget.{limit}={getattr(config.budget, limit):g} ends each task, which lowers all amounts alike"
    if needs_judge(config):
        yield "without the tokens of the judge, which depend on the answers"
