"""What `expand` promises to every strategy."""

import asyncio
from dataclasses import replace

import pytest
from search_world import Sandbox, ScriptedPolicy, TextPRM, budget, call_tool, expansion, fans, jitter, step

from codetool.costs.rates import Rates
from codetool.errors import SandboxError
from codetool.model_types import Scores
from codetool.types import Task


async def test_children_hold_step_execution_and_place():
    async with expansion(fans) as tree:
        first, second = await tree.expand(tree.root, 2)
        (below,) = await tree.expand(second, 1)
    assert [node.id for node in (first, second, below)] == ["1", "2", "2-1"]
    assert (below.depth, below.step.text, below.execution.observation) == (2, "1.0", "1.0\n")
    assert [node.id for node in below.path] == ["2", "2-1"]


async def test_state_comes_from_the_parent_and_siblings_do_not_see_each_other():
    def script(path, index):
        return step(f"{len(path)}{index}", f"x = {index}" if not path else f"x += 10 + {index}\nprint(x)")

    async with expansion(script) as tree:
        children = await tree.expand(tree.root, 2)
        seen = [[node.execution.observation for node in await tree.expand(child, 2)] for child in children]
    assert seen == [["10\n", "11\n"], ["11\n", "12\n"]]


@pytest.mark.parametrize(
    ("code", "status", "spot"),
    [
        ("print(1)", "ok", 1.0),
        ("tool('http://films/a')", "ok", 1.0),
        ("tool('http://films/missing')", "tool_failed", 0.0),
        ("1/0", "exception", 0.0),
        ("HANG", "timeout", 0.0),
        ("DIE", "killed", 0.0),
        (None, "no_code", 0.0),
    ],
)
async def test_spot_is_one_exactly_for_steps_that_ran_with_all_tools_answering(code, status, spot):
    async with expansion(lambda path, index: step("s", code)) as tree:
        (node,) = await tree.expand(tree.root, 1)
    assert (node.execution.status, node.spot) == (status, spot)


async def test_a_final_text_has_spot_one():
    async with expansion(lambda path, index: step("It is Ann.", None, finished=True)) as tree:
        (node,) = await tree.expand(tree.root, 1)
    assert (node.execution.status, node.spot) == ("no_code", 1.0)


async def test_state_after_an_exception_is_what_the_step_left():
    script = {(): "a = 1\nb = a / 0", ("s0",): "print(a)"}
    async with expansion(lambda path, index: step(f"s{len(path)}", script[path])) as tree:
        (failed,) = await tree.expand(tree.root, 1)
        (after,) = await tree.expand(failed, 1)
    assert (failed.execution.status, after.execution.observation) == ("exception", "1\n")


@pytest.mark.parametrize("dead", ["HANG", "DIE", None])
async def test_a_step_that_left_nothing_is_followed_from_the_nearest_living_state(dead):
    script = {0: "a = 'alive'", 1: dead, 2: dead, 3: "print(a)"}
    node = None
    async with expansion(lambda path, index: step(f"s{len(path)}", script[len(path)])) as tree:
        node = tree.root
        for _ in range(4):
            (node,) = await tree.expand(node, 1)
    assert node.execution.observation == "alive\n"


async def test_the_same_program_in_other_clothes_is_merged_and_counted():
    codes = ["x=1 # one", "x = 1", "x = 2", "\nx = 1\n"]
    policy = ScriptedPolicy(lambda path, index: step(f"words {index}", codes[index]))
    sandbox = Sandbox()
    async with expansion(policy, sandbox) as tree:
        children = await tree.expand(tree.root, 4)
        assert tree.ledger.executions == sandbox.branched == 2
    assert [(node.step.code, node.multiplicity) for node in children] == [("x=1 # one", 3), ("x = 2", 1)]


async def test_a_later_draw_of_a_known_program_raises_its_multiplicity_in_the_whole_result():
    async with expansion(lambda path, index: step(str(index % 2))) as tree:
        (first,) = await tree.expand(tree.root, 1)
        (below,) = await tree.expand(first, 1)
        again = await tree.expand(tree.root, 3)
        result = tree.result(below)
    assert [(node.id, node.multiplicity) for node in again] == [("2", 2), ("1", 2)]
    assert result.best.parent.multiplicity == 2
    assert [node.id for node in result.nodes] == ["0", "1", "2", "1-1"]


async def test_the_draws_of_a_node_are_numbered_through_over_all_calls():
    policy = ScriptedPolicy(fans)
    async with expansion(policy) as tree:
        await asyncio.gather(tree.expand(tree.root, 2), tree.expand(tree.root, 3))
        await tree.expand(tree.root, 1)
    assert [(first, n) for _, _, first, n in policy.asked] == [(0, 2), (2, 3), (5, 1)]


async def test_calls_at_the_same_time_for_the_same_node_agree_on_its_children():
    policy = ScriptedPolicy(lambda path, index: step("aabbb"[index]), delay=iter([0.02, 0.0]).__next__)
    async with expansion(policy) as tree:
        await asyncio.gather(tree.expand(tree.root, 2), tree.expand(tree.root, 3))
        result = tree.result(tree.root)
    assert [(node.step.text, node.multiplicity) for node in result.nodes[1:]] == [("a", 2), ("b", 3)]


async def test_depth_limit_finished_node_and_silent_policy_give_no_children():
    def script(path, index):
        return None if path == ("quiet",) else step(["quiet", "end"][index], finished=index == 1)

    async with expansion(script, depth=2) as tree:
        quiet, end = await tree.expand(tree.root, 2)
        assert await tree.expand(quiet, 2) == ()
        assert await tree.expand(end, 2) == ()
    async with expansion(fans, depth=1) as tree:
        (node,) = await tree.expand(tree.root, 1)
        assert await tree.expand(node, 1) == ()


async def test_the_ledger_counts_every_token_call_and_run():
    codes = {0: "tool('http://films/a'); tool('http://films/missing')", 1: "tool('http://films/a'); 1/0", 2: None}
    async with expansion(lambda path, index: step(str(index), codes[index % 3]), prm=TextPRM()) as tree:
        await tree.expand(tree.root, 4)  # the fourth is the first again
    ledger = tree.ledger
    assert (ledger.tokens_in, ledger.tokens_out, ledger.prm_tokens) == (100, 40, 21)
    assert (ledger.executions, ledger.tool_calls) == (2, 3)


async def test_two_trees_share_no_counters():
    async with expansion(fans) as one, expansion(fans) as other:
        await one.expand(one.root, 2)
        (node,) = await other.expand(other.root, 1)
    assert node.id == "1"
    assert (one.ledger.executions, other.ledger.executions) == (2, 1)


@pytest.mark.parametrize(
    ("limit", "allowed"),
    [({"tokens": 220}, 2), ({"executions": 1}, 1), ({"tool_calls": 3}, 3), ({"prm_tokens": 8}, 2), ({"tokens": 0}, 0)],
)
async def test_a_spent_budget_ends_the_growth_and_is_named(limit, allowed):
    def script(path, index):
        return step(str(len(path)), "tool('http://films/a')")

    async with expansion(script, prm=TextPRM(), limits=budget(**limit)) as tree:
        node, steps = tree.root, 0
        while children := await tree.expand(node, 1):
            node, steps = children[0], steps + 1
    assert steps == allowed
    assert tree.result(node).stopped_by == next(iter(limit))


@pytest.mark.parametrize(
    ("limit", "allowed"), [({"tokens_out": 20}, 2), ({"usd": 0.5}, 1), ({"flops": 1000}, 4), ({"live_calls": 1}, 5)]
)
async def test_a_budget_limits_what_a_task_costs(limit, allowed):
    rates = Rates({"policy": lambda tokens_in, tokens_out: tokens_out / 10}, {"policy": 1, "prm": 7})
    world = {"prm": TextPRM(), "limits": budget(**limit), "rates": rates}
    async with expansion(lambda path, index: step(str(len(path))), **world) as tree:
        node, steps = tree.root, 0
        while children := await tree.expand(node, 1):
            node, steps = children[0], steps + 1
    assert steps == allowed  # a step has 110 tokens of the policy and 7 of the PRM
    assert tree.result(node).stopped_by == (next(iter(limit)) if allowed < 5 else None)


async def test_what_ends_the_run_ends_the_growth_and_is_named():
    stop = iter([None, None, "run_budget.usd"])
    async with expansion(fans, find_stop=lambda: next(stop)) as tree:
        (node,) = await tree.expand(tree.root, 1)
        (below,) = await tree.expand(node, 1)
        assert await tree.expand(below, 1) == ()
    assert tree.result(below).stopped_by == "run_budget.usd"


async def test_the_ledger_tells_calls_by_who_answered_and_what_simulating_them_cost():
    answers = iter([("recorded", None), ("live", None), ("simulated", None), (None, "miss")])

    async def answer(request):
        provenance, failure = next(answers)
        answered = replace(await call_tool(request), provenance=provenance, failure=failure)
        return replace(answered, simulator_tokens_in=100, simulator_tokens_out=3) if failure else answered

    code = "; ".join(["tool('http://films/a')"] * 4)
    async with expansion(lambda path, index: step("s", code), tools=answer) as tree:
        await tree.expand(tree.root, 1)
    ledger = tree.ledger
    assert (ledger.tool_calls, ledger.tool_calls_recorded, ledger.tool_calls_live) == (4, 1, 1)
    assert (ledger.tool_calls_simulated, ledger.tool_calls_replica, ledger.tool_calls_unanswered) == (1, 0, 1)
    assert (ledger.simulator_tokens_in, ledger.simulator_tokens_out) == (100, 3)
    assert (ledger.executions, ledger.executions_ran) == (1, 0)


async def test_the_budget_of_seconds_reads_the_clock_it_is_given():
    now = [100.0]
    async with expansion(fans, limits=budget(seconds=5), clock=lambda: now[0]) as tree:
        (node,) = await tree.expand(tree.root, 1)
        now[0] = 105.0
        assert await tree.expand(node, 1) == ()
    assert tree.stopped_by == "seconds"


async def test_the_clock_starts_when_the_tree_is_opened():
    now = [100.0]
    tree = expansion(fans, limits=budget(seconds=5), clock=lambda: now[0])
    now[0] = 200.0
    async with tree:
        assert await tree.expand(tree.root, 1)


async def test_a_budget_reached_by_the_last_step_stopped_nothing():
    async with expansion(fans, depth=1, limits=budget(executions=1)) as tree:
        (node,) = await tree.expand(tree.root, 1)
        await tree.expand(node, 1)
    assert tree.result(node).stopped_by is None


async def test_the_prm_judges_distinct_siblings_while_they_run():
    judged = asyncio.Event()

    class Waiting(TextPRM):
        async def score(self, task, path, candidates, executions=()):
            judged.set()
            return await super().score(task, path, candidates)

    async def wait_for_prm(request):
        await asyncio.wait_for(judged.wait(), 1)
        return await call_tool(request)

    prm = Waiting(a=0.25)
    codes = ["tool('http://films/a')", "tool('http://films/a') # again", "2"]
    async with expansion(lambda path, index: step("abc"[index], codes[index]), prm=prm, tools=wait_for_prm) as tree:
        children = await tree.expand(tree.root, 3)
    assert prm.asked == [((), ("a", "c"))]
    assert [node.latent for node in children] == [0.25, 0.5]


async def test_a_prm_that_sees_observations_judges_after_the_steps_ran():
    class Seeing(TextPRM):
        sees_observation = True

        async def score(self, task, path, candidates, executions=()):
            return Scores(tuple(float(execution.observation.strip() == "7") for execution in executions))

    async with expansion(lambda path, index: step("ab"[index], f"print({index + 6})"), prm=Seeing()) as tree:
        children = await tree.expand(tree.root, 2)
    assert [node.latent for node in children] == [0.0, 1.0]


async def test_a_child_has_the_log_probability_and_the_tokens_of_its_first_candidate():
    class Telling(ScriptedPolicy):
        async def propose(self, *arguments, **options):
            drawn = await super().propose(*arguments, **options)
            return [replace(each, log_probability=-1.0 - place) for place, each in enumerate(drawn)]

    async with expansion(Telling(lambda path, index: step("aab"[index]))) as tree:
        children = await tree.expand(tree.root, 3)
    assert [(node.log_probability, node.tokens_out) for node in children] == [(-1.0, 10), (-3.0, 10)]


async def test_the_prm_is_told_the_steps_before():
    prm = TextPRM()
    async with expansion(fans, prm=prm) as tree:
        _, second = await tree.expand(tree.root, 2)
        await tree.expand(second, 1)
    assert [path for path, _ in prm.asked] == [(), ("2",)]


async def test_siblings_run_at_the_same_time():
    sandbox = Sandbox(delay=lambda: 0.05)
    async with expansion(fans, sandbox) as tree:
        begin = asyncio.get_running_loop().time()
        await tree.expand(tree.root, 10)
        assert asyncio.get_running_loop().time() - begin < 0.3  # one after another: 1 s


async def test_ties_are_drawn_from_seed_task_and_node():
    async def ties(seed, task_id):
        async with expansion(fans, seed=seed, task=Task(id=task_id, query="", tools=())) as tree:
            return [node.tie for node in await tree.expand(tree.root, 3)]

    first = await ties(0, "a")
    assert first == await ties(0, "a")
    assert len({*first, *await ties(1, "a"), *await ties(0, "b")}) == 9
    assert all(0 <= tie < 1 for tie in first)


async def test_the_root_process_starts_once_and_only_for_code():
    sandbox = Sandbox(start_delay=0.01)
    async with expansion(lambda path, index: step(str(index), None), sandbox) as tree:
        await tree.expand(tree.root, 2)
    assert sandbox.started == 0
    async with expansion(fans, sandbox) as tree:
        await tree.expand(tree.root, 5)
    assert sandbox.started == 1


async def test_ends_of_paths_hold_no_process():
    def script(path, index):
        return [step("end", finished=True), step("dead", "HANG"), step("on")][index]

    sandbox = Sandbox()
    async with expansion(script, sandbox, depth=2) as tree:
        _, _, on = await tree.expand(tree.root, 3)
        assert len(sandbox.open) == 2  # the root and the one that can go on
        await tree.expand(on, 3)
        assert len(sandbox.open) == 2
    assert not sandbox.open


@pytest.mark.parametrize("moment", [0.0, 0.002, 0.012, 0.022, 0.032])
async def test_cancelling_leaves_no_process(moment):
    sandbox = Sandbox(start_delay=0.01, delay=lambda: 0.01)

    async def work():
        async with expansion(fans, sandbox) as tree:
            children = await tree.expand(tree.root, 3)
            await asyncio.gather(*(tree.expand(child, 3) for child in children))

    running = asyncio.create_task(work())
    await asyncio.sleep(moment)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sandbox.open


async def test_cancelling_twice_leaves_no_process():
    sandbox = Sandbox(delay=lambda: 0.02, close_delay=0.05)

    async def work():
        async with expansion(fans, sandbox) as tree:
            await tree.expand(tree.root, 3)

    running = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.sleep(0.03)
    assert sandbox.open  # it is closing them
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not sandbox.open


async def test_a_broken_sandbox_is_raised_as_it_is_and_leaves_no_process():
    sandbox = Sandbox(delay=jitter(1))

    async def broken(request):
        raise SandboxError("the root process died")

    with pytest.raises(SandboxError, match="root process died"):
        async with expansion(lambda path, index: step(str(index), f"tool({index!r})"), sandbox, tools=broken) as tree:
            await tree.expand(tree.root, 4)
    assert not sandbox.open
