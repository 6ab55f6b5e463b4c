"""What servers send with HTTP 200: errors inside a success, other forms of contents, no text at all."""

import json
import re
from typing import Any

import pytest
from chat_server import Reply, chat, serve_chat
from chat_world import MESSAGES, ask, choice, request_once, script, settings

from codetool.errors import CodeToolError, PromptFilteredError, UnreachableError
from codetool.http.chat_client import ChatClient

PASSING = {
    "finish_reason error": {"choices": [choice("##Step 1: Beg", finish_reason="error", error={"code": 502, "message": "gone"})]},
    "finish_reason error alone": {"choices": [choice("##Step 1: Beg", finish_reason="error")]},
    "error beside choices": {"error": {"code": 429, "message": "slow down"}, "choices": [choice("##Step 1: Beg")]},
    "overloaded": {"choices": None, "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "code in words": {"error": {"code": "503", "message": "no instances"}},
    "error is a text": {"error": "upstream timed out"},
    "no message": {"choices": [{"index": 0, "finish_reason": "stop"}]},
    "null message": {"choices": [{"index": 0, "message": None}]},
    "choices is null": {"id": "1", "choices": None},
    "null": None,
    "a list": [1],
    "detail": {"detail": "worker restarting"},
}  # fmt: skip


@pytest.mark.parametrize("body", PASSING.values(), ids=PASSING.keys())
async def test_an_error_inside_a_success_is_another_attempt(body: Any) -> None:
    async with serve_chat(script(Reply(body=body), chat("whole"))) as server:
        assert (await request_once(server)).texts == ("whole",)
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"<html>busy</html>", b'{"choices": [{"mess', b"\xff\xfe", b""])
async def test_what_is_no_json_is_another_attempt(body: bytes) -> None:
    async with serve_chat(
        script(Reply(body=body, headers={"Content-Type": "application/json"}), chat("whole"))
    ) as server:
        assert (await request_once(server)).texts == ("whole",)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body={"choices": None, "error": {"message": "Insufficient credits to go on", "code": 402}}),
        Reply(402, {"error": {"message": "Insufficient credits to go on"}}),
        Reply(429, {"error": {"message": "Insufficient credits to go on", "code": "insufficient_quota"}}),
        Reply(body={"error": {"message": "Insufficient credits to go on", "code": "401"}}),
        Reply(403, {"error": {"message": "Your credit balance is too low. Insufficient credits to go on"}}),
    ],
    ids=["402 inside", "402", "quota", "401 inside", "403"],
)
async def test_what_no_pause_mends_stops_at_once_with_the_servers_words(reply: Reply, monkeypatch: Any) -> None:
    monkeypatch.setenv("TEST_KEY", "sk-1")
    async with serve_chat(lambda body: reply) as server, ChatClient(settings(server.url)) as client:
        for _ in range(2):
            with pytest.raises(CodeToolError, match="Insufficient credits to go on"):
                await ask(client)
    assert len(server.requests) == 1


async def test_the_whole_choices_of_an_answer_are_kept_and_the_others_asked_for() -> None:
    broken = choice("##St", index=1, finish_reason="error")
    both = Reply(body={"choices": [choice("a"), broken], "usage": {"prompt_tokens": 10, "completion_tokens": 2}})
    async with serve_chat(script(both, chat("b"))) as server:
        assert (await request_once(server, 2)).texts == ("a", "b")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "##Step 1"}, {"type": "text", "text": ": go"}], "##Step 1: go"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "go"}], "go"),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "output_text", "text": "go"}], "go"),
        ([{"type": "reasoning", "text": "hm"}, "go"], "go"),
        ([{"text": "go"}], "go"),
        ({"type": "text", "text": "go"}, "go"),
        ([{"type": "text", "text": {"value": "go"}}], "go"),
        ([], ""),
    ],
)
async def test_contents_in_parts_are_joined_and_thoughts_left_out(content: Any, text: str) -> None:
    async with serve_chat(lambda body: Reply(body={"choices": [choice(content)]})) as server:
        assert (await request_once(server)).texts == (text,)


@pytest.mark.parametrize("content", [[{"type": "image_url", "image_url": {}}], 7, [[1]], {"a": 1}, [{}]])
async def test_contents_that_are_no_text_are_named(content: Any) -> None:
    async with serve_chat(lambda body: Reply(body={"choices": [choice(content)]})) as server:
        with pytest.raises(CodeToolError, match="content of the kind"):
            await request_once(server)


@pytest.mark.parametrize(
    ("message", "finish", "reason", "told"),
    [
        ({"content": None}, "length", "length", "cut at policy.max_tokens=64"),
        ({"content": "half a st"}, "length", "length", "cut at policy.max_tokens=64"),
        ({"content": None}, "content_filter", "content_filter", "content filter"),
        ({"content": None, "refusal": "I cannot"}, "stop", "refusal", "refusals"),
        ({"content": "", "reasoning_content": "hm"}, "stop", "reasoning_only", "thoughts"),
        ({"content": None, "reasoning": "hm"}, "stop", "reasoning_only", "thoughts"),
        ({"content": ""}, "stop", "empty", "empty"),
        (None, "content_filter", "content_filter", "content filter"),
        (None, "length", "length", "cut at policy.max_tokens=64"),
        (None, "MAX_TOKENS", "MAX_TOKENS", "cut at policy.max_tokens=64"),
        (None, "SAFETY", "SAFETY", "content filter"),
        ({"content": None}, "content_filter: RECITATION", "content_filter: RECITATION", "content filter"),
    ],
)
async def test_answers_without_a_whole_text_are_counted_by_kind_and_told_once(
    message: dict[str, Any] | None, finish: str, reason: str, told: str, caplog: Any
) -> None:
    reply = Reply(body={"choices": [{"index": 0, "finish_reason": finish, "message": message}]})
    async with serve_chat(lambda body: reply) as server, ChatClient(settings(server.url)) as client:
        for _ in range(3):
            assert (await ask(client)).finish_reasons == (reason,)
        assert told not in caplog.text
    assert [record.message for record in caplog.records if told in record.message][0].find("3 of 3 answers") > 0
    assert caplog.text.count(told) == 1


async def test_a_prompt_that_a_server_cuts_is_warned_of_once(caplog: Any) -> None:
    async with serve_chat(lambda body: chat("a", tokens_in=2050)) as server, ChatClient(settings(server.url)) as client:
        for _ in range(2):
            await ask(client, messages=[{"role": "user", "content": "word " * 7600}])
    assert caplog.text.count("counts 2050 tokens for a prompt of 38000 characters: it cuts prompts") == 1


async def test_a_prompt_that_outgrows_the_servers_own_rate_is_warned_of(caplog: Any) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        return chat("a", tokens_in=min(2048, len(body["messages"][0]["content"]) // 3))

    async with serve_chat(handler) as server, ChatClient(settings(server.url)) as client:
        for words in (500, 1000, 1200):
            await ask(client, messages=[{"role": "user", "content": "word " * words}])
        assert "cuts" not in caplog.text
        await ask(client, messages=[{"role": "user", "content": "word " * 2400}])
    assert caplog.text.count("it cuts prompts") == 1


COUNTS = {"prompt_tokens": 12, "completion_tokens": 0, "total_tokens": 12}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"choices": [], "usage": COUNTS}, "(`choices: []`), and it counts 12 prompt_tokens and 0 completion_tokens"),
        ({"choices": None, "usage": COUNTS}, "it has no choices, and it counts 12 prompt_tokens"),
        ({"usage": COUNTS}, "it has no choices, and it counts 12 prompt_tokens"),
        ({"choices": [{"message": None, "finish_reason": "stop"}], "usage": {}}, "it has no choice with a message"),
        ({"choices": [None], "usage": COUNTS}, "it has no choice with a message, and it counts 12"),
        (
            {"choices": [], "usage": COUNTS, "prompt_filter_results": [{"content_filter_results": {"hate": {}}}]},
            "(`choices: []`)",
        ),
    ],
)
@pytest.mark.parametrize(("retries", "requests"), [(6, 3), (1, 2), (0, 1)])
async def test_a_server_that_never_gives_a_choice_is_one_failure_with_the_reason(
    body: Any, reason: str, retries: int, requests: int
) -> None:
    async with serve_chat(lambda _: Reply(body=body)) as server:
        with pytest.raises(UnreachableError, match=re.escape(reason)) as raised:
            await request_once(server, retries=retries)
    assert len(server.requests) == requests
    assert f"in {requests} attempt" in str(raised.value)
    assert "overloaded" not in str(raised.value)


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": None, "usage": None}, {}])
async def test_an_answer_without_choices_and_usage_is_asked_for_as_often_as_other_failures(body: Any) -> None:
    async with serve_chat(lambda _: Reply(body=body)) as server:
        with pytest.raises(UnreachableError, match="gave no answer in 5 attempts; .* choices"):
            await request_once(server, retries=4)
    assert len(server.requests) == 5


async def test_a_stream_that_holds_only_the_usage_is_one_failure_with_the_reason() -> None:
    async with serve_chat(lambda body: stream(USAGE)) as server:
        with pytest.raises(UnreachableError, match="no text for 'm' in 3 attempts"):
            await request_once(server, stream=True, retries=6)
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "told",
    [
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}},
        {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"violence": {"filtered": True}}}]},
    ],
)
async def test_an_empty_list_of_choices_for_a_filtered_prompt_refuses_the_prompt_at_once(told: Any) -> None:
    async with serve_chat(lambda _: Reply(body={"choices": [], "usage": COUNTS} | told)) as server:
        with pytest.raises(PromptFilteredError, match="PROHIBITED_CONTENT|violence"):
            await request_once(server)
    assert len(server.requests) == 1
    blocked = stream({"choices": [], **told}, USAGE)
    async with serve_chat(lambda _: blocked) as server:
        with pytest.raises(PromptFilteredError, match="PROHIBITED_CONTENT|violence"):
            await request_once(server, stream=True)
    assert len(server.requests) == 1


def stream(*events: Any, done: bool = True) -> Reply:
    lines = [f"data: {json.dumps(event)}\n\n" for event in events] + (["data: [DONE]\n\n"] if done else [])
    return Reply(body="".join(lines).encode(), headers={"Content-Type": "text/event-stream"})


def delta(text: str | None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": {"content": text}, **more}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 4}}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "enable_thinking must be false without a stream",
            "extra_body={enable_thinking:false}` switches thinking off.",
        ),
        ("Ask for a stream.", "m: Ask for a stream. `policy.stream=true` asks for a stream."),
    ],
)
async def test_a_refusal_names_the_settings_that_send_what_the_server_asks_for(message: str, told: str) -> None:
    async with serve_chat(lambda body: Reply(400, {"error": {"message": message}})) as server:
        with pytest.raises(CodeToolError, match=re.escape(told)):
            await request_once(server)


async def test_a_stream_is_put_together_choice_by_choice() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        if not body.get("stream"):
            return Reply(400, {"error": {"message": "this model only supports stream mode"}})
        return stream(
            delta("##Step"),
            delta("b", 1),
            delta(" 1", finish_reason="stop"),
            delta("c", 1, finish_reason="length"),
            USAGE,
        )

    async with serve_chat(handler) as server:
        with pytest.raises(CodeToolError, match="policy.stream=true"):
            await request_once(server)
        done = await request_once(server, 2, stream=True, extra_body={"enable_thinking": False})
    assert done.texts == ("##Step 1", "bc")
    assert (done.tokens_in, sum(done.tokens_out), done.finish_reasons) == (10, 4, ("stop", "length"))
    assert server.requests[-1]["stream_options"] == {"include_usage": True}
    assert server.requests[-1]["enable_thinking"] is False


@pytest.mark.parametrize(
    "broken",
    [
        stream(delta("##St"), done=False),
        stream(delta("##St"), {"error": {"message": "worker lost", "code": 500}}, done=False),
        Reply(body=b"data: {not json\n\n", headers={"Content-Type": "text/event-stream"}),
        stream(),
    ],
    ids=["broken off", "error", "no json", "empty"],
)
async def test_a_stream_that_breaks_off_is_another_attempt(broken: Reply) -> None:
    whole = stream(delta("whole", finish_reason="stop"), USAGE)
    async with serve_chat(script(broken, whole)) as server:
        assert (await request_once(server, stream=True)).texts == ("whole",)


async def test_a_server_that_ignores_stream_is_read_all_the_same() -> None:
    reply = chat("a")
    reply.headers["Content-Type"] = "application/json"
    async with serve_chat(lambda body: reply) as server:
        assert (await request_once(server, stream=True)).texts == ("a",)


async def test_a_server_that_takes_no_stream_options_is_asked_without() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        if "stream_options" in body:
            return Reply(
                422, {"detail": [{"loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]}
            )
        return stream(delta("a", finish_reason="stop"))

    async with serve_chat(handler) as server:
        assert (await request_once(server, stream=True)).texts == ("a",)


async def test_extra_body_goes_before_fields_of_the_same_name() -> None:
    async with serve_chat(lambda body: chat("a")) as server:
        await request_once(server, extra_body={"chat_template_kwargs": {"enable_thinking": False}, "seed": 1})
    assert (server.requests[0]["chat_template_kwargs"], server.requests[0]["seed"]) == ({"enable_thinking": False}, 1)


async def test_the_last_words_of_a_server_that_only_errs_are_told() -> None:
    async with serve_chat(lambda body: Reply(body={"error": "upstream timed out"})) as server:
        with pytest.raises(UnreachableError, match="upstream timed out"):
            await request_once(server)
    assert len(server.requests) == 4
    assert server.requests[0]["messages"] == MESSAGES
