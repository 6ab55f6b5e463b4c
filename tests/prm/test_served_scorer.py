"""The generative PRM behind a server, against scripted ones on this machine."""

import asyncio
import math

import pytest
import tiny_models
from chat_server import ChatServer, Reply, serve_chat
from judging import after, option, steps, task, tiny
from no_servers import NO_SERVERS
from promptly import promptly

from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.model_types import ServedModel, Weights
from codetool.models.chat_template import ChatTokenizer

SIBLINGS = steps("search", "give up")


def told(logprobs, tokens=100, cached=None):
    """An answer of one token with these log-probabilities."""
    top = [{"token": token, "logprob": value} for token, value in logprobs.items()]
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}}
    choice |= {"logprobs": {"content": [{"token": "yes", "top_logprobs": top}]}}
    usage = {"prompt_tokens": tokens, "completion_tokens": 1}
    usage |= {"prompt_tokens_details": {"cached_tokens": cached}} if cached is not None else {}
    return Reply(body={"choices": [choice], "usage": usage})


def log(**probabilities):
    return {token: math.log(value) for token, value in probabilities.items()}


def endpoint(server: ChatServer, *overrides):
    return option("qwen7b", "backend=endpoint", f"base_url={server.url}", "backoff=0.01", "retries=1", *overrides)


async def test_the_score_is_the_share_of_the_first_label_among_the_two():
    def answer(body):
        good = body["messages"][1]["content"].endswith("search")
        return told(log(yes=0.6, no=0.2, maybe=0.1) if good else log(no=0.5, yes=0.1))

    async with serve_chat(answer) as server, endpoint(server).open(NO_SERVERS) as prm:
        scores = await prm.score(task(), [], SIBLINGS)
    assert scores.values == pytest.approx([0.75, 1 / 6])
    assert scores.tokens == 200


async def test_one_token_is_asked_for_with_the_most_log_probabilities_openai_gives():
    async with serve_chat(lambda body: told(log(yes=0.5, no=0.5))) as server, endpoint(server).open(NO_SERVERS) as prm:
        await prm.score(task(), [], SIBLINGS)
    body = server.requests[0]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 20)
    assert body["model"] == "Qwen/Qwen2.5-7B-Instruct"
    assert len(server.requests) == len(SIBLINGS)


async def test_the_server_is_sent_the_very_text_that_is_read_in_process(tmp_path):
    """Messages that its chat template turns into the tokens that the local model reads."""
    tiny_models.save("qwen2", tmp_path)
    local, path = tiny(tmp_path), after("search", "603").path
    async with serve_chat(lambda body: told(log(yes=0.5, no=0.5))) as server, endpoint(server).open(NO_SERVERS) as prm:
        await prm.score(task(), path, SIBLINGS)
    chat = tiny_models.tokenizer()
    asked = [body["messages"] for body in server.requests]
    sent = {chat.apply_chat_template(each, add_generation_prompt=True, tokenize=False) for each in asked}
    tokens = ChatTokenizer(tmp_path)
    assert sent == {tokens.render(local.prompt.messages(task(), path, step)) for step in SIBLINGS}
    for text in sent:
        assert tokens.tokenize(text) == chat.encode(text, add_special_tokens=False)


async def test_tokens_out_of_the_servers_cache_do_not_count():
    half = told(log(yes=0.5, no=0.5), cached=90)
    async with serve_chat(lambda _: half) as server, endpoint(server).open(NO_SERVERS) as prm:
        assert (await prm.score(task(), [], SIBLINGS)).tokens_computed == 20


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ({"yes": 0.6, "Yes": 0.3, "a": 0.06}, 0.9 / 0.94),  # what is left, 0.04, is less than the least named
        ({"no": 0.5, "b": 0.1}, 0.1 / 0.6),  # the least named, 0.1, is less than what is left
    ],
)
async def test_a_label_that_is_not_named_is_as_probable_as_it_could_be(probabilities, expected, caplog):
    async with serve_chat(lambda _: told(log(**probabilities))) as server, endpoint(server).open(NO_SERVERS) as prm:
        scores = await prm.score(task(), [], SIBLINGS)
    assert scores.values == pytest.approx([expected] * 2, abs=1e-6)
    assert caplog.text.count("both labels") == 1


@pytest.mark.parametrize(
    "tokens",
    [
        {"Yes": -0.01, "No": -5, "no": -8},
        {" Yes": -0.01, "No": -5, " no": -8},
        {"\u0120Yes": -0.01, "\u2581No": -5, "NO": -8},
    ],
)
async def test_the_spellings_of_a_label_are_added_up(tokens):
    async with serve_chat(lambda _: told(tokens)) as server, endpoint(server).open(NO_SERVERS) as prm:
        values = (await prm.score(task(), [], SIBLINGS)).values
    assert values == pytest.approx([0.9929] * 2, abs=1e-4)


async def test_labels_that_differ_in_case_alone_are_only_themselves():
    tokens = log(yes=0.6, YES=0.3, Yes=0.1)
    async with serve_chat(lambda _: told(tokens)) as server:
        async with endpoint(server, "labels=[yes,YES]").open(NO_SERVERS) as prm:
            assert (await prm.score(task(), [], SIBLINGS)).values == pytest.approx([2 / 3] * 2)


async def test_labels_that_hold_next_to_nothing_are_an_error_that_names_what_is_likely():
    thinking = {"<think>": -0.0001, "Okay": -9, "no": -11}
    async with serve_chat(lambda _: told(thinking)) as server, endpoint(server).open(NO_SERVERS) as prm:
        with pytest.raises(CodeToolError, match=r"1\.7e-05 of the.*'<think>' \(1\), 'Okay'.*enable_thinking"):
            await prm.score(task(), [], SIBLINGS)


async def test_an_answer_without_log_probabilities_among_good_ones_is_asked_for_again():
    asked = 0

    def answer(body):
        nonlocal asked
        asked += 1
        bare = {"choices": [{"message": {"role": "assistant", "content": "yes"}, "logprobs": None}]}
        return Reply(body=bare) if asked in (1, 3) else told(log(yes=0.75, no=0.25))

    async with serve_chat(answer) as server, endpoint(server, "retries=3").open(NO_SERVERS) as prm:
        for _ in range(3):
            assert (await prm.score(task(), [], SIBLINGS)).values == pytest.approx([0.75] * 2)


async def test_a_server_that_gives_fewer_log_probabilities_is_asked_for_those():
    def answer(body):
        if body["top_logprobs"] > 5:
            said = "Invalid value for 'top_logprobs': must be less than or equal to 5."
            return Reply(400, {"error": {"message": said, "param": "top_logprobs"}})
        return told(log(yes=0.75, no=0.25))

    async with serve_chat(answer) as server, endpoint(server).open(NO_SERVERS) as prm:
        assert (await prm.score(task(), [], SIBLINGS)).values == pytest.approx([0.75] * 2)


async def test_neither_label_named_is_an_error_that_shows_what_was():
    async with serve_chat(lambda _: told(log(Sure=0.9, Well=0.05))) as server, endpoint(server).open(NO_SERVERS) as prm:
        with pytest.raises(CodeToolError, match="neither label.*'Sure'"):
            await prm.score(task(), [], SIBLINGS)


async def test_a_server_without_log_probabilities_is_told():
    silent = Reply(body={"choices": [{"message": {"role": "assistant", "content": "yes"}, "logprobs": None}]})
    async with serve_chat(lambda _: silent) as server, endpoint(server).open(NO_SERVERS) as prm:
        with pytest.raises(ConfigError, match="no log-probabilities.*prm.base_url="):
            await prm.score(task(), [], SIBLINGS)


async def test_a_prompt_beyond_the_servers_context_scores_zero():
    refusal = Reply(400, {"error": {"message": "maximum context length is 4096 tokens"}})
    async with serve_chat(lambda _: refusal) as server, endpoint(server).open(NO_SERVERS) as prm:
        assert (await prm.score(task(), [], SIBLINGS)).values == (0.0, 0.0)


async def test_trouble_names_the_prms_options():
    async with serve_chat(lambda _: Reply(503)) as server, endpoint(server).open(NO_SERVERS) as prm:
        with pytest.raises(UnreachableError, match="prm.retries"):
            await prm.score(task(), [], SIBLINGS)


async def test_nobody_there_is_said_without_waiting():
    with promptly(), pytest.raises(UnreachableError, match="prm.base_url="):
        async with option("qwen7b", "backend=endpoint", "base_url=http://127.0.0.1:9/v1").open(NO_SERVERS):
            pass


# vLLM


class Vllm:
    """Answers /tokenize by words, and a chat with the log-probabilities of the token ids it is asked for."""

    def __init__(self, latency=0.0):
        self.latency, self.running, self.most_running = latency, 0, 0

    async def __call__(self, body):
        if "prompt" in body:
            return Reply(body={"tokens": {"yes": [11], "no": [12], "no way": [12, 13]}[body["prompt"]]})
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        await asyncio.sleep(self.latency)
        self.running -= 1
        assert body["return_tokens_as_token_ids"] and "top_logprobs" not in body
        return told({f"token_id:{token}": -float(token) for token in body["logprob_token_ids"]} | {"token_id:5": -0.1})


async def test_vllm_is_asked_for_the_two_labels_alone():
    async with serve_chat(Vllm()) as server:
        settings = option("qwen7b", "backend=vllm", f"base_url={server.url}")
        async with settings.open(NO_SERVERS) as prm:
            scores = await prm.score(task(), [], SIBLINGS)
    assert scores.values == pytest.approx([1 / (1 + math.exp(-1))] * 2)
    assert [body["logprob_token_ids"] for body in server.requests if "messages" in body] == [[11, 12]] * 2


async def test_a_label_of_several_tokens_on_the_server_is_told():
    async with serve_chat(Vllm()) as server:
        settings = option("qwen7b", "backend=vllm", f"base_url={server.url}", "labels=[yes,no way]")
        with pytest.raises(ConfigError, match="'no way' is 2 tokens"):
            async with settings.open(NO_SERVERS):
                pass


async def test_the_first_prompt_of_a_task_warms_the_cache_for_its_siblings():
    answers = Vllm(latency=0.02)
    async with serve_chat(answers) as server:
        async with option("qwen7b", "backend=vllm", f"base_url={server.url}").open(NO_SERVERS) as prm:
            await prm.score(task(), [], SIBLINGS)
            assert answers.most_running == 1
            await prm.score(task(), after("search", "603").path, SIBLINGS)
            assert answers.most_running == 2


async def test_the_runs_own_server_is_asked_for_the_weights_that_were_planned(tmp_path):
    tiny_models.save("qwen2", tmp_path)
    asked = []

    class Servers:
        async def serve(self, weights):
            asked.append(weights)
            return ServedModel(server.url, "adapter-1")

    settings = option("qwen7b", f"path={tmp_path}", "backend=vllm")
    async with serve_chat(Vllm()) as server, settings.open(Servers()) as prm:
        await prm.score(task(), [], SIBLINGS)
    assert asked == [settings.weights()] == [Weights(tmp_path, None, "bfloat16")]
    assert server.requests[-1]["model"] == "adapter-1"


async def test_another_server_than_vllm_is_told():
    async with serve_chat(lambda _: Reply(404)) as server:
        with pytest.raises(ConfigError, match="/tokenize.*prm.backend=endpoint"):
            async with option("qwen7b", "backend=vllm", f"base_url={server.url}").open(NO_SERVERS):
                pass


@pytest.mark.parametrize(
    "words",
    [
        "System role not supported", "Developer instruction is not enabled for models/gemma-3-27b-it",
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "Only user and assistant roles are supported!", "'system' is not an allowed role",
        "Conversation roles must alternate user/assistant/user/assistant/...",
    ],
)  # fmt: skip
async def test_a_model_without_system_role_is_sent_its_text_in_the_users(words, caplog):
    def answer(body):
        if body["messages"][0]["role"] == "system":
            return Reply(status=400, body={"error": {"message": words}})
        return told(log(yes=0.6, no=0.2))

    async with serve_chat(answer) as server, endpoint(server).open(NO_SERVERS) as prm:
        scores = await prm.score(task(), [], SIBLINGS)
        again = await prm.score(task(), [], SIBLINGS)
    assert scores.values == again.values == pytest.approx([0.75, 0.75])
    assert sum("refuses system messages" in record.message for record in caplog.records) == 1
    [message] = server.requests[-1]["messages"]
    assert message["role"] == "user"
    assert message["content"].startswith(server.requests[0]["messages"][0]["content"].rstrip())
    assert all(body["messages"][0]["role"] == "user" for body in server.requests[-len(SIBLINGS) :])


async def test_another_refusal_is_told_as_it_is():
    refused = Reply(status=400, body={"error": {"message": "the operating system is on fire"}})
    async with serve_chat(lambda body: refused) as server, endpoint(server).open(NO_SERVERS) as prm:
        with pytest.raises(CodeToolError, match="on fire"):
            await prm.score(task(), [], SIBLINGS)


async def test_an_empty_system_text_is_not_sent():
    async with serve_chat(lambda body: told(log(yes=0.6, no=0.2))) as server:
        async with endpoint(server, "prompt.system=''").open(NO_SERVERS) as prm:
            await prm.score(task(), [], SIBLINGS)
    assert [message["role"] for message in server.requests[0]["messages"]] == ["user"]
