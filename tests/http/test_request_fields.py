"""Fields of a request that servers refuse, in the words of many vendors: the client goes on without them."""

from typing import Any

import pytest
from chat_server import Reply, chat, serve_chat
from chat_world import ask, make_refusal, request_once, settings

from codetool.errors import CodeToolError
from codetool.http.chat_client import ChatClient
from codetool.http.request_fields import find_refused_field
from codetool.http.server_error import ServerError, parse_error_body

SENT = {
    "model": "m",
    "messages": [],
    "n": 2,
    "seed": 5,
    "stop": ["x"],
    "temperature": 0.9,
    "top_p": 0.9,
    "max_tokens": 64,
    "logprobs": True,
}

WORDINGS = [
    ("Unsupported parameter: 'stop' is not supported with this model.", "stop"),
    ("Unsupported parameter: 'top_p' is not supported with this model.", "top_p"),
    ("temperature and top_p cannot both be specified for this model.", "top_p"),
    ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p"),
    ("Unsupported value: 'temperature' does not support 0.9 with this model. Only the default (1) value is supported.",
     "temperature"),
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
     "max_tokens"),
    ("Unrecognized request argument supplied: seed", "seed"),
    ("Unknown parameter: 'seed'.", "seed"),
    ("Argument not supported on this model: stop", "stop"),
    ("Model grok-4 does not support parameter stop.", "stop"),
    ("Invalid JSON payload received. Unknown name \"seed\": Cannot find field.", "seed"),
    ("Additional properties are not allowed ('seed' was unexpected)", "seed"),
    ("property 'n' is unsupported", "n"),
    ("'n' : number must be at most 1", "n"),
    ("Only n = 1 is supported", "n"),
    ("n=2 is not supported by this engine", "n"),
    ("n must be 1 when using greedy sampling, got 2.", "n"),
    ("Only one completion choice is allowed", "n"),
    ("This model does not support multiple completions", "n"),
    ("openai does not support parameters: ['stop'], for model=o3", "stop"),
    ("extraneous key [seed] is not permitted", "seed"),
    ("Extra inputs are not permitted, field: 'seed'", "seed"),
    ("stop sequences are not available for this model", "stop"),
    ("`temperature` is deprecated for this model.", "temperature"),
    ("This model does not support the 'logprobs' parameter.", "logprobs"),
    ("Unable to submit request because Logprobs is not supported for this model.", "logprobs"),
    # what is no refusal of one of the fields
    ("messages[0].content: invalid character '\\\\n' in string", None),
    ("Bad request: line one\\nline two", None),
    ("the matrix has n = 4096 rows, which is invalid", None),
    ("Please stop sending requests of this kind, they are not allowed", None),
    ("The model m does not exist", None),
    ("Invalid 'messages': must not be empty. Supported parameters: temperature, top_p, n", None),
]  # fmt: skip


@pytest.mark.parametrize(("words", "field"), WORDINGS, ids=lambda value: str(value)[:40])
def test_the_refused_field_is_found_in_the_words_of_many_servers(words: str, field: str | None) -> None:
    assert find_refused_field(ServerError(400, words), SENT) == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"error": {"message": "Unsupported value", "param": "temperature", "code": "unsupported_value"}}', "temperature"),
        ('{"error": {"message": "stop is bad", "param": "messages"}}', None),
        ('{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}', "seed"),
        ('{"object": "error", "message": {"detail": [{"loc": ["body", "stop"], "msg": "not permitted"}]}}', "stop"),
        ('[{"error": {"code": 400, "message": "Unknown name \\"seed\\": Cannot find field.", "status": "INVALID"}}]', "seed"),
        ('{"error": "unsupported parameter: top_p", "error_type": "validation"}', "top_p"),
        ('{"type": "error", "error": {"type": "invalid_request_error", "message": "top_p: Extra inputs are not permitted"}}',
         "top_p"),
        ('{"error": {"message": "Unsupported parameter: \'stop\'", "param": "None"}}', "stop"),
    ],
)  # fmt: skip
def test_the_refused_field_is_found_in_many_shapes_of_errors(body: str, field: str | None) -> None:
    assert find_refused_field(parse_error_body(400, body), SENT) == field


@pytest.mark.parametrize("field", ["stop", "top_p", "temperature", "seed"])
async def test_the_client_goes_on_without_a_refused_field_and_says_so_once(field: str, caplog: Any) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        return (
            make_refusal(f"Unsupported parameter: '{field}' is not supported with this model.")
            if field in body
            else chat("a")
        )

    async with serve_chat(handler) as server, ChatClient(settings(server.url)) as client:
        for _ in range(3):
            assert (await ask(client)).texts == ("a",)
    assert [field in body for body in server.requests] == [True, False, False, False]
    assert caplog.text.count(f"refuses `{field}`") == 1


def test_logprobs_are_no_field_to_do_without_where_the_answer_is_read_from_them() -> None:
    error = ServerError(400, "This model does not support the 'logprobs' parameter.", param="logprobs")
    assert find_refused_field(error, SENT | {"top_logprobs": 5}) is None
    assert find_refused_field(error, SENT | {"logprob_token_ids": [1, 2]}) is None


async def test_an_account_that_may_not_request_logprobs_goes_on_without() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        error = {"error": {"message": "You are not allowed to request logprobs from this model."}}
        return Reply(403, error) if "logprobs" in body else chat("a")

    async with serve_chat(handler) as server:
        completion = await request_once(server, asked={"logprobs": True})
    assert (completion.texts, completion.logprobs) == (("a",), (None,))


async def test_two_fields_are_refused_one_after_the_other() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        for field in ("temperature", "top_p", "stop"):
            if field in body:
                return make_refusal("Unsupported parameter", param=field, code="unsupported_parameter")
        return chat("a")

    async with serve_chat(handler) as server:
        assert (await request_once(server)).texts == ("a",)


async def test_an_answer_is_cut_where_a_server_that_takes_no_stop_text_writes_on() -> None:
    def handler(body: dict[str, Any]) -> Reply:
        return make_refusal("stop", param="stop") if "stop" in body else chat("step one[Stop] and more")

    async with serve_chat(handler) as server:
        assert (await request_once(server)).texts == ("step one",)


async def test_what_is_null_is_not_sent() -> None:
    async with serve_chat(lambda body: chat("a[Stop]b")) as server:
        done = await request_once(server, asked={"temperature": None, "top_p": None, "sends_stop": False, "seed": None})
    assert server.requests[0].keys() == {"model", "messages", "max_tokens"}
    assert done.texts == ("a",)


async def test_a_text_with_an_escaped_newline_drops_no_field() -> None:
    async with serve_chat(lambda body: make_refusal("bad \\n template, n = 4096 rows")) as server:
        async with ChatClient(settings(server.url)) as client:
            with pytest.raises(CodeToolError, match="4096 rows"):
                await ask(client, 2)
            with pytest.raises(CodeToolError):
                await ask(client, 2)
    assert ["n" in body for body in server.requests] == [True, True]


@pytest.mark.parametrize(
    ("words", "cap"),
    [
        ("max_tokens is too large: 64. This model supports at most 48 completion tokens, whereas you provided 64.", 48),
        ("Invalid max_tokens value, the valid range of max_tokens is [1, 48]", 48),
        ("max_tokens: 64 > 48, which is the maximum allowed number of output tokens for m", 48),
        ("`max_tokens` must be less than or equal to `48`, the maximum value for `max_tokens` is less than the "
         "`context_window` for this model", 48),
        ("Range of max_tokens should be [1, 48]", 48),
    ],
)  # fmt: skip
async def test_a_models_longest_answer_is_learnt_once(words: str, cap: int, caplog: Any) -> None:
    def handler(body: dict[str, Any]) -> Reply:
        return make_refusal(words) if body["max_tokens"] > cap else chat(str(body["max_tokens"]))

    async with serve_chat(handler) as server, ChatClient(settings(server.url)) as client:
        assert (await ask(client)).texts == (await ask(client)).texts == (str(cap),)
    assert len(server.requests) == 3
    assert caplog.text.count(f"`max_tokens` {cap}") == 1
