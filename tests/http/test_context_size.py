"""Prompts that leave less room for the answer than was asked for: sent again with what is left."""

from typing import Any

import pytest
from chat_server import Reply, chat, serve_chat
from chat_world import make_refusal, request_once

from codetool.errors import PromptTooLongError

# With 2048 tokens asked for, a context of 4096 and a prompt of 3800, there are 296 left.
FITTING = {
    "vllm": "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context length is 4096 "
    "tokens and your request has 3800 input tokens (2048 > 4096 - 3800). (parameter=max_tokens, value=2048)",
    "vllm, other order": "Your request has 3800 input tokens, and the maximum context length is 4096 tokens",
    "openai": "This model's maximum context length is 4096 tokens. However, you requested 5848 tokens (3800 in the "
    "messages, 2048 in the completion). Please reduce the length of the messages or completion.",
    "total only": "This model's maximum context length is 4096 tokens. However, you requested 5848 tokens.",
    "sglang": "Requested token count exceeds the model's maximum context length of 4096 tokens. You requested a total of "
    "5848 tokens: 3800 tokens from the input messages and 2048 tokens for the completion.",
    "tgi": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 3800 `inputs` tokens and "
    "2048 `max_new_tokens`",
    "anthropic": "input length and `max_tokens` exceed context limit: 3800 + 2048 > 4096, decrease input length or "
    "`max_tokens` and try again",
    "openrouter": "This endpoint's maximum context length is 4096 tokens. However, you requested about 5848 tokens (3800 "
    "of text input, 2048 in the output). Please reduce the length of either one.",
    "mistral": "Prompt contains 3800 tokens and 2048 draft tokens, too large for model with 4096 maximum context length",
    "thousands": "This model's maximum context length is 4,096 tokens and your prompt has 3,800 tokens",
}  # fmt: skip


@pytest.mark.parametrize("words", FITTING.values(), ids=FITTING.keys())
async def test_the_request_is_sent_again_with_what_is_left(words: str) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        return make_refusal(words) if body["max_tokens"] > 296 else chat("a")

    async with serve_chat(handler) as server:
        assert (await request_once(server, asked={"max_tokens": 2048})).texts == ("a",)
        assert [body["max_tokens"] for body in server.requests] == [2048, 296]


async def test_a_server_that_stops_counting_is_asked_for_less_and_less() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        most = 4096 - body["max_tokens"]
        if most >= 3800:
            return chat("a")
        return make_refusal(
            f"This model's maximum context length is 4096 tokens. However, you requested {body['max_tokens']} output tokens "
            f"and your prompt contains at least {most + 1} input tokens, for a total of at least 4097 tokens."
        )

    async with serve_chat(handler) as server:
        assert (await request_once(server, asked={"max_tokens": 2048})).texts == ("a",)
    assert len(server.requests) < 8


TOO_LONG = [
    make_refusal("This model's maximum context length is 4096 tokens. However, your messages resulted in 5000 tokens."),
    make_refusal("prompt is too long: 5000 tokens > 4096 maximum"),
    make_refusal("Prompt contains 5000 tokens, too large for model with 4096 maximum context length"),
    make_refusal("The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    make_refusal("Please reduce the length of the messages or completion.", code="context_length_exceeded"),
    make_refusal("The input token count (5000) exceeds the maximum number of tokens allowed (4096)."),
    make_refusal("This model's maximum prompt length is 4096 but the request contains 5000 tokens."),
    make_refusal("the request exceeds the available context size, try increasing it", type="exceed_context_size_error",
            n_prompt_tokens=5000, n_ctx=4096),
    make_refusal("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it"),
    Reply(500, {"error": {"code": 500, "message": "the request exceeds the available context size."}}),
    Reply(422, {"error": "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"}),
    Reply(413, {"error": {"message": "Request too long for this model's context window"}}),
]  # fmt: skip


@pytest.mark.parametrize("reply", TOO_LONG, ids=lambda reply: str(reply.body)[11:60])
async def test_a_prompt_that_leaves_no_room_is_too_long(reply: Reply) -> None:
    async with serve_chat(lambda body: reply) as server:
        with pytest.raises(PromptTooLongError):
            await request_once(server, asked={"max_tokens": 2048})
    assert len(server.requests) == 1
