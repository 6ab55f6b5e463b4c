"""`policy.diversity=shown`: siblings are drawn one after the other, and each prompt shows those before it."""

import pytest
from search_world import Sandbox, ScriptedPolicy, TextPRM, budget, expansion, fans, jitter, step

from codetool.model_types import Sampling
from codetool.policies.recorded import RecordingPolicy
from codetool.prompts.policy_prompt import StepPrompt
from codetool.search.beam import Beam
from codetool.search.dfs import DepthFirst
from codetool.search.greedy import Greedy
from codetool.types import Candidate


async def search(strategy, policy, sandbox=None, **world):
    sandbox = sandbox or Sandbox()
    async with expansion(policy, sandbox, depth=strategy.depth, shows_siblings=True, **world) as tree:
        result = tree.result(await strategy.run(tree.root, tree.expand))
    assert not sandbox.open
    return result


async def test_each_candidate_is_asked_for_with_those_before_it_and_their_output():
    seen = []

    class Reader(ScriptedPolicy):
        async def propose(self, *args, tried=(), **kwargs):
            seen.append([node.execution.printed for node in tried])
            return await super().propose(*args, tried=tried, **kwargs)

    policy = Reader(fans)
    result = await search(Greedy(n=3, depth=1), policy)
    assert [(first, n) for *_, first, n in policy.asked] == [(0, 1), (1, 1), (2, 1)]
    assert policy.shown == [(), ("0",), ("0", "1")]
    assert seen == [[], ["0\n"], ["0\n", "1\n"]]
    assert (result.ledger.tokens_in, result.ledger.tokens_out, result.ledger.executions) == (300, 30, 3)


async def test_the_tree_is_that_of_a_policy_whose_draws_do_not_depend_on_the_prompt():
    prm = TextPRM(**{"0": 0.9, "0.1": 0.8})
    async with expansion(fans, depth=3, prm=TextPRM(**prm.values)) as tree:
        plain = tree.result(await Beam(width=2, n=2, depth=3).run(tree.root, tree.expand))
    shown = await search(Beam(width=2, n=2, depth=3), fans, prm=prm)
    assert (shown.best, shown.nodes) == (plain.best, plain.nodes)
    assert [texts for _, texts in prm.asked][0] == ("0", "1"), "siblings are scored together, as pairs need it"


async def test_a_program_drawn_again_is_run_and_shown_once():
    policy = ScriptedPolicy(lambda path, index: step("ab"[index == 2], finished=True))
    result = await search(Greedy(n=4, depth=2), policy)
    assert policy.shown == [(), ("a",), ("a",), ("a", "b")]
    assert [(node.id, node.multiplicity) for node in result.nodes[1:]] == [("1", 3), ("2", 1)]
    assert result.ledger.executions == 2


async def test_what_an_earlier_call_drew_is_shown_too():
    policy = ScriptedPolicy(fans)
    await search(DepthFirst(n=2, depth=1, order="drawn", show_tried=False), policy)
    assert policy.shown == [(), ("0",)]


async def test_timing_changes_nothing():
    outcomes = []
    for shuffle in range(3):
        policy = ScriptedPolicy(fans, delay=jitter(shuffle))
        outcomes.append(await search(Beam(width=2, n=2, depth=3), policy, Sandbox(delay=jitter(100 + shuffle))))
    assert outcomes[0] == outcomes[1] == outcomes[2]


async def test_a_prm_that_reads_outputs_gets_those_of_the_steps_shown():
    class Observer(TextPRM):
        sees_observation = True

        async def score(self, task, path, candidates, executions=()):
            assert [execution.printed.strip() for execution in executions] == [each.text for each in candidates]
            return await super().score(task, path, candidates)

    assert (await search(Greedy(n=2, depth=3), fans, prm=Observer())).best.finished


@pytest.mark.parametrize("texts", [0, 1])
async def test_a_policy_with_nothing_to_say_and_a_spent_budget_end_the_search(texts):
    policy = ScriptedPolicy(lambda path, index: step("a") if index < texts and not path else None)
    assert (await search(Greedy(n=2, depth=3), policy)).best.depth == texts
    stopped = await search(Greedy(n=2, depth=3), fans, limits=budget(executions=2))
    assert (stopped.stopped_by, stopped.ledger.executions) == ("executions", 2)


class Writer:
    """A policy that writes each step as text in the step format, with what it was shown."""

    async def propose(self, task, path, n, *, first=0, seed=0, tried=()):
        k = len(path) + 1
        code = f"print({first}, {len(tried)})"
        raw = f"##Step {k}: Go.\nPython Code:\n```python\n{code}\n```\n"
        return [Candidate(raw, PROMPT.parse(raw, k, task), 9, 3)]


PROMPT = StepPrompt(
    instruction="{{ query }}",
    result="{{ output }}",
    tried="{% for way in ways %}{{ way.text }}{{ way.output }}{% endfor %}",
    max_observation_chars=100,
    max_response_chars=0,
)
SAMPLING = Sampling(0.9, 0.95, 64)


async def test_a_recorded_tree_is_replayed_and_a_stopped_one_resumed():
    records = []
    recorder = RecordingPolicy(Writer(), prompt=PROMPT, sampling=SAMPLING, records=(), append=records.extend)
    first = await search(Beam(width=2, n=3, depth=2), recorder)
    assert len({record["key"] for record in records}) == len(records) == 9, "each prompt shows other steps"
    replayed = RecordingPolicy(None, prompt=PROMPT, sampling=SAMPLING, records=records)
    assert await search(Beam(width=2, n=3, depth=2), replayed) == first
    added = []
    resumed = RecordingPolicy(Writer(), prompt=PROMPT, sampling=SAMPLING, records=records[:4], append=added.extend)
    assert await search(Beam(width=2, n=3, depth=2), resumed) == first
    assert sorted(added, key=str) == sorted(records[4:], key=str)
