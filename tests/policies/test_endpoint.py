"""The endpoint policy on a real server, and against no server at all."""

import asyncio
from typing import Any

import pytest
from chat_server import Reply, chat, serve_chat
from no_servers import NO_SERVERS
from paths import step_after

from codetool.answers.composed import AnswerPrompt
from codetool.errors import ConfigError
from codetool.interfaces import LogProbabilityPolicy, TokenPolicy
from codetool.model_types import Sampling
from codetool.policies.endpoint_policy import EndpointPolicyConfig
from codetool.policies.recorded import RecordingPolicy
from codetool.prompts.policy_prompt import StepPrompt
from codetool.types import Task

STEP = "##Step 2: b\nPython Code:\n```python\nprint(2)\n```\n[All Finished]\n"


def option(prompt: StepPrompt, **changes: Any) -> EndpointPolicyConfig:
    fields: dict[str, Any] = {
        "model": "m", "base_url": "", "key_env": None, "temperature": 0.9, "top_p": 0.95, "max_tokens": 64,
        "concurrency": 10, "timeout": 5, "retries": 0, "backoff": 0, "stream": False, "extra_body": {},
        "stop": "prompt",
        "usd_per_million_in": None, "usd_per_million_out": None, "prompt": prompt,
    }  # fmt: skip
    return EndpointPolicyConfig(**fields | changes)


async def test_candidates_are_parsed_and_the_prompt_is_counted_once(task: Task, prompt: StepPrompt) -> None:
    path = step_after(None, "a", "one").path
    async with serve_chat(lambda body: chat(STEP, "no idea", tokens_out=20)) as server:
        async with option(prompt, base_url=server.url).open(NO_SERVERS) as policy:
            drawn = await policy.propose(task, path, 2)
    assert [(c.step.code, c.step.finished) for c in drawn] == [("print(2)", True), (None, False)]
    assert [c.tokens_in for c in drawn] == [10, 0]
    assert sum(c.tokens_out for c in drawn) == 20
    assert drawn[0].raw == STEP
    assert server.requests[0]["messages"] == prompt.messages(task, path)
    assert server.requests[0]["stop"] == ["[Step 2 Finished]"]


async def test_the_seed_depends_on_seed_task_path_and_first_and_on_nothing_else(task: Task, prompt: StepPrompt) -> None:
    async with serve_chat(lambda body: chat(STEP)) as server:
        async with option(prompt, base_url=server.url).open(NO_SERVERS) as policy:
            for _ in range(2):
                await policy.propose(task, (), 1)
            await policy.propose(task, (), 1, seed=1)
            await policy.propose(task, (), 1, first=1)
            await policy.propose(task, step_after(None, "a").path, 1)
            await policy.propose(task, step_after(step_after(None, "b"), "a").path, 1)
            await policy.propose(task, step_after(step_after(None, "c"), "a").path, 1)
            await policy.propose(Task("t2", task.query, task.tools), (), 1)
    seeds = [body["seed"] for body in server.requests]
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 7
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("model", [None, ""])
async def test_a_missing_model_is_told_with_the_option_to_set(prompt: StepPrompt, model: str | None) -> None:
    with pytest.raises(ConfigError, match=r"policy\.model"):
        async with option(prompt, model=model, base_url="http://127.0.0.1:9/v1").open(NO_SERVERS):
            pass


async def test_cancelling_a_proposal_frees_its_place(task: Task, prompt: StepPrompt) -> None:
    async def slow(body: dict[str, Any]) -> Any:
        await asyncio.sleep(0 if body["messages"][0]["content"].endswith("again") else 60)
        return chat(STEP)

    async with serve_chat(slow) as server:
        async with option(prompt, base_url=server.url, concurrency=1).open(NO_SERVERS) as policy:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(policy.propose(task, (), 1), 0.2)
            await asyncio.wait_for(policy.propose(Task("t", "again", ()), (), 1), 2)


async def test_a_prompt_beyond_the_context_is_a_step_without_code(task: Task, prompt: StepPrompt) -> None:
    said = "This model's maximum context length is 4096 tokens. However, your prompt has 5000."
    refused = Reply(status=400, body={"error": {"message": said}})
    async with (
        serve_chat(lambda body: refused) as server,
        option(prompt, base_url=server.url).open(NO_SERVERS) as policy,
    ):
        drawn = await policy.propose(task, (), 2)
    assert [candidate.step.code for candidate in drawn] == [None, None]
    assert "maximum context length" in drawn[0].raw


async def test_an_answer_is_asked_for_without_a_system_message_where_there_is_none(task: Task) -> None:
    answering = AnswerPrompt(system="You answer.", request="{{ query }}", max_observation_chars=9)

    def answer(body: dict[str, Any]) -> Reply:
        refused = body["messages"][0]["role"] == "system"
        return Reply(status=400, body={"error": {"message": "System role not supported"}}) if refused else chat("Ann")

    async with serve_chat(answer) as server, option(answering, base_url=server.url).open(NO_SERVERS) as policy:
        [first] = await policy.propose(task, (), 1)
        await policy.propose(task, (), 1)
    assert first.step.text == "Ann"
    sent = [body["messages"] for body in server.requests]
    assert [len(messages) for messages in sent] == [2, 1, 1]
    assert sent[1] == [{"role": "user", "content": f"You answer.\n\n{task.query}"}]


async def test_a_prompt_that_a_filter_refuses_is_a_refused_candidate(task: Task, prompt: StepPrompt) -> None:
    said = {"message": "The response was filtered", "code": "content_filter"}
    refused = Reply(status=400, body={"error": said})
    async with (
        serve_chat(lambda body: refused) as server,
        option(prompt, base_url=server.url).open(NO_SERVERS) as policy,
    ):
        drawn = await policy.propose(task, (), 2)
    assert [(candidate.refused, candidate.step.code) for candidate in drawn] == [(True, None)] * 2


async def test_the_finish_reason_is_recorded_with_the_candidate(task: Task, prompt: StepPrompt) -> None:
    choices = [{"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": None}}]
    records: list[Any] = []
    async with serve_chat(lambda body: Reply(body={"choices": choices})) as server:
        async with option(prompt, base_url=server.url).open(NO_SERVERS) as inner:
            policy = RecordingPolicy(
                inner, prompt=prompt, sampling=Sampling(0.9, 0.95, 64), records=(), append=records.extend
            )
            [drawn] = await policy.propose(task, (), 1)
    assert drawn.finish_reason == records[0]["finish_reason"] == "length"


def with_logprobs(reply: Reply, *values: list[tuple[str, Any]]) -> Reply:
    for choice, tokens in zip(reply.body["choices"], values, strict=True):
        choice["logprobs"] = {"content": [{"token": token, "logprob": value} for token, value in tokens]}
    return reply


async def test_log_probabilities_are_requested_and_sent_only_on_request(task: Task, prompt: StepPrompt) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        reply = chat("##Step 1: a", "##Step 1: b\n[Step 1 Finished] and more")
        tokens = [("##Step 1: b\n", -0.25), ("[Step", -1.0), (" 1 Finished]", -1.0), (" and more", -8.0)]
        return with_logprobs(reply, [("##Step", -0.5), (" 1: a", -1.75)], tokens) if body.get("logprobs") else reply

    async with serve_chat(answer) as server, option(prompt, base_url=server.url).open(NO_SERVERS) as policy:
        silent = await policy.propose(task, (), 2)
        assert isinstance(policy, LogProbabilityPolicy)
        drawn = await policy.with_log_probability().propose(task, (), 2)
    assert [candidate.log_probability for candidate in silent] == [None, None]
    assert [candidate.log_probability for candidate in drawn] == [-2.25, -0.25]  # what follows the stop does not count
    assert [body.get("logprobs") for body in server.requests] == [None, True]
    assert "top_logprobs" not in server.requests[1]


async def test_tokens_are_requested_and_kept_only_if_the_server_gives_id_and_probability_of_each(
    task: Task, prompt: StepPrompt
) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        reply = chat("##Step 1: a", "##Step 1: b", "##Step 1: c\n[Step 1 Finished] more")
        reply = with_logprobs(reply, [("x", -0.5), ("y", 0.004)], [("x", -1.0)], [("##Step 1: c\n", -2.0), ("[", -1.0)])
        for choice, ids in zip(reply.body["choices"], ([7, 8], [7, 8], [3, 4]), strict=True):
            choice["token_ids"] = ids
        return reply

    async with serve_chat(answer) as server, option(prompt, base_url=server.url).open(NO_SERVERS) as policy:
        assert isinstance(policy, TokenPolicy)
        drawn = await policy.with_tokens().propose(task, (), 3)
        await policy.propose(task, (), 3)
    assert [(each.tokens, each.token_log_probabilities) for each in drawn] == [
        ((7, 8), (-0.5, 0.0)),
        ((), ()),  # one token has no probability
        ((3,), (-2.0,)),  # what follows the stop string was not asked for
    ]
    assert [body.get("return_token_ids") for body in server.requests] == [True, None]


async def test_a_server_that_refuses_to_give_token_ids_is_asked_without(task: Task, prompt: StepPrompt) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        if "return_token_ids" in body:
            return Reply(400, {"error": {"message": "Unrecognized request argument supplied: return_token_ids"}})
        return with_logprobs(chat("##Step 1: a"), [("##Step 1: a", -0.5)])

    async with serve_chat(answer) as server, option(prompt, base_url=server.url).open(NO_SERVERS) as policy:
        assert isinstance(policy, TokenPolicy)
        [drawn] = await policy.with_tokens().propose(task, (), 1)
    assert (drawn.tokens, drawn.log_probability) == ((), -0.5)


@pytest.mark.parametrize("values", [None, [("a", "nan")], [("a", 0.5)], [("a", None)], [("a", "-inf")], []])
async def test_a_server_without_log_probabilities_is_noticed_in_one_line(
    task: Task, prompt: StepPrompt, values: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        return chat("##Step 1: a") if values is None else with_logprobs(chat("##Step 1: a"), values)

    async with serve_chat(answer) as server, option(prompt, base_url=server.url).open(NO_SERVERS) as inner:
        policy = RecordingPolicy(
            inner.with_log_probability(),
            prompt=prompt,
            sampling=Sampling(0.9, 0.95, 64),
            records=(),
            reads_log_probability=True,
        )
        drawn = [await policy.propose(task, (), 1, first=first) for first in range(3)]
    assert [candidate.log_probability for [candidate] in drawn] == [None] * 3
    assert sum("log-probability" in record.message for record in caplog.records) == 1


async def test_settings_that_are_null_are_not_sent(task: Task, prompt: StepPrompt) -> None:
    async with serve_chat(lambda body: chat("##Step 1: a\n[Step 1 Finished] more")) as server:
        changes: dict[str, Any] = {"temperature": None, "top_p": None, "stop": None}
        async with option(prompt, base_url=server.url, **changes).open(NO_SERVERS) as policy:
            [drawn] = await policy.propose(task, (), 1)
    assert not {"temperature", "top_p", "stop"} & server.requests[0].keys()
    assert drawn.raw == "##Step 1: a\n"
