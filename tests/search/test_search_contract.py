"""What every strategy of `conf/search` keeps to, whichever it is: budgets, determinism, failures, depth, ends."""

import asyncio
import json
from dataclasses import replace

import pytest
from search_options import SIZES, STRATEGIES
from search_world import Sandbox, ScriptedPolicy, TextPRM, budget, expansion, fans, jitter, search, step

from codetool.errors import MissingError
from codetool.model_types import Sampling
from codetool.policies.recorded import RecordingPolicy
from codetool.types import Step, Task

every = pytest.mark.parametrize("option", STRATEGIES, ids=lambda option: option.name)


def endless(path, index):
    """A tree in which all draws differ and no step finishes."""
    return step(".".join([*path[-1:], str(index)]))


def all_alike(path, index):
    """Every draw is the same program, and the third step finishes."""
    return step(f"{len(path)}", finished=len(path) == 2)


class Prompt:
    """Renders and parses the steps of scripted policies, so that their candidates can be recorded."""

    def messages(self, task, path, tried=()):
        return [{"role": "user", "content": json.dumps([[node.step.text for node in part] for part in (path, tried)])}]

    def parse(self, raw, k, task):
        return Step(**json.loads(raw))


class Recordable(ScriptedPolicy):
    """A scripted policy whose raw texts hold the whole step, and log-probabilities that differ."""

    async def propose(self, task, path, n, **options):
        drawn = await super().propose(task, path, n, **options)
        return [
            replace(
                each,
                raw=json.dumps({name: getattr(each.step, name) for name in ("text", "code", "finished")}),
                log_probability=-1.0 - len(each.step.text) % 3,
            )
            for each in drawn
        ]


def recorded(inner, records, append=None):
    return RecordingPolicy(inner, prompt=Prompt(), sampling=Sampling(0.9, 1.0, 9), records=records, append=append)


async def run(strategy, policy, **world):
    """The result of a strategy with any policy."""
    async with expansion(fans, depth=strategy.depth, **world) as tree:
        tree._policy = policy
        return tree.result(await strategy.run(tree.root, tree.expand))


@every
async def test_it_ends_with_a_path_of_its_tree_that_finished(option):
    result = await search(option.make(), fans, prm=TextPRM())
    assert result.best.finished and result.best in result.nodes
    assert result.stopped_by is None


@every
async def test_a_policy_with_nothing_to_say_leaves_the_root(option):
    result = await search(option.make(), lambda path, index: None)
    assert (result.best.id, result.best.path, result.best.finished) == ("0", (), False)


@every
async def test_a_path_that_never_finishes_ends_at_the_depth_limit(option):
    for depth in (1, 3):
        result = await search(option.make(depth=depth), endless, prm=TextPRM())
        assert (result.best.depth, result.best.finished, result.stopped_by) == (depth, False, None)
        assert max(node.depth for node in result.nodes) == depth


@every
async def test_a_zero_budget_gives_the_root_and_its_name(option):
    result = await search(option.make(), fans, limits=budget(executions=0))
    assert (result.best.id, result.stopped_by, result.ledger.executions) == ("0", "executions", 0)


@every
@pytest.mark.parametrize("limit", ["tokens", "prm_tokens", "executions"])
async def test_a_spent_budget_ends_it_with_the_best_up_to_then(option, limit):
    """What is in flight when the limit strikes is the most that it may exceed."""
    whole = await search(option.make(), endless, prm=TextPRM())
    result = await search(option.make(), endless, prm=TextPRM(), limits=budget(**{limit: 1}))
    first = [node for node in result.nodes if node.depth == 1]
    assert result.best in result.nodes[1:] and result.best.depth >= 1
    assert first and len(result.nodes) <= len(whole.nodes)
    assert result.stopped_by == (limit if len(result.nodes) < len(whole.nodes) else result.stopped_by)
    assert max(node.depth for node in result.nodes) == 1, "no expansion begins once the budget is spent"


@every
async def test_the_outcome_does_not_depend_on_who_answers_first(option):
    outcomes = []
    for shuffle in range(4):
        policy = ScriptedPolicy(fans, delay=jitter(shuffle))
        result = await search(option.make(), policy, sandbox=Sandbox(delay=jitter(100 + shuffle)), prm=TextPRM())
        outcomes.append((result.best.id, result.nodes, result.ledger))
    assert all(outcome == outcomes[0] for outcome in outcomes)


@every
async def test_a_replay_gives_the_same_whoever_answers_first(option):
    """The recorded candidates suffice, and each seed gives its own tree again."""
    for seed in (0, 1):
        records = []
        drawn = await run(option.make(), recorded(Recordable(fans), [], records.extend), prm=TextPRM(), seed=seed)
        again = json.loads(json.dumps(records))
        for shuffle in (5, 6):
            sandbox = Sandbox(delay=jitter(shuffle))
            repeated = await run(option.make(), recorded(None, again), prm=TextPRM(), seed=seed, sandbox=sandbox)
            assert repeated == drawn
    with pytest.raises(MissingError, match="No recorded candidate"):
        await run(option.make(), recorded(None, again[:-1]), prm=TextPRM(), seed=1)


@every
async def test_seeds_decide_between_equal_scores(option):
    """But where the first path that finishes ends the search, which compares nothing."""
    best = {(await search(option.make(), fans, seed=seed)).best.id for seed in range(12)}
    first_finished = option.name == "chain" or option.settings.get("order") == "drawn"
    assert (len(best) == 1) == first_finished


@every
async def test_steps_that_all_fail_are_searched_to_the_end(option):
    result = await search(
        option.make(), lambda path, index: step(f"{path[-1:]}{index}", "HANG", finished=len(path) == 2)
    )
    assert (result.best.finished, result.best.depth, result.best.cumulative) == (True, 3, 0.0)


@every
async def test_a_single_candidate_is_the_path(option):
    """Sizes of one, a policy that writes one candidate whatever it is asked for, and one that repeats itself."""
    sizes = dict.fromkeys(SIZES, 1) | {"simulations": 9}
    assert (await search(option.make(**sizes), fans)).best.id == "1-1-1"
    only_first = await search(option.make(), lambda path, index: fans(path, index) if index == 0 else None)
    alike = await search(option.make(), all_alike, prm=TextPRM())
    assert only_first.best.id == alike.best.id == "1-1-1"
    assert alike.ledger.executions == 3


@every
async def test_scores_of_zero_are_scores(option):
    result = await search(option.make(), fans, prm=TextPRM(**{f"{i}": 0.0 for i in range(9)}))
    assert result.best.finished


@every
async def test_an_error_of_the_policy_is_raised_as_it_is(option):
    class Broken(ScriptedPolicy):
        async def propose(self, *arguments, **options):
            if self.asked:
                raise MissingError("gone")
            return await super().propose(*arguments, **options)

    with pytest.raises(MissingError, match="^gone$"):
        await search(option.make(), Broken(fans))


@every
async def test_cancelling_it_leaves_no_process(option):
    sandbox = Sandbox(delay=jitter(1))
    running = asyncio.create_task(search(option.make(), ScriptedPolicy(endless, delay=jitter(2)), sandbox=sandbox))
    while not sandbox.open:
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sandbox.open


@every
async def test_tasks_do_not_wait_for_each_other(option):
    fast_done = asyncio.Event()

    class Slow(ScriptedPolicy):
        async def propose(self, task, path, n, **options):
            if task.id == "slow":
                await asyncio.wait_for(fast_done.wait(), 1)
            return await super().propose(task, path, n, **options)

    async def fast():
        results = await asyncio.gather(*(search(option.make(), policy, task=Task(str(i), "", ())) for i in range(3)))
        fast_done.set()
        return results

    policy = Slow(fans)
    slow, others = await asyncio.gather(search(option.make(), policy, task=Task("slow", "", ())), fast())
    assert all(result.best.finished for result in (slow, *others))
