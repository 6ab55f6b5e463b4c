"""The PRM server over a real socket, before a judge that answers when the test lets it."""

import asyncio
import resource
import socket
import time
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn

from codetool.errors import ConfigError, UnreachableError
from codetool.prm.label_scorer import LabelScores
from codetool.prm.server import PRMServer, RequestLimits

CHAT = [{"role": "system", "content": "judge"}, {"role": "user", "content": "a step"}]


class Gate:
    """A judge whose answers wait for `open`; a chat that says `long` is one too many for it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.open, self.error = asyncio.Event(), error
        self.begun, self.dropped = 0, 0

    async def score_chats(self, chats, name, *, new):
        self.begun += len(chats)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.dropped += len(chats)
            raise
        if self.error:
            raise self.error
        return LabelScores(tuple(None if chat[-1]["content"] == "long" else 0.25 for chat in chats), 7)


@asynccontextmanager
async def served(judge, *, chats=4, waiting=4, body=10_000, length=None, characters=None):
    """The server and a client of it."""
    server = PRMServer(judge, {"model": "gate"}, RequestLimits(chats, waiting, body, characters), length)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(server.app, log_config=None, lifespan="off"))
        task = asyncio.create_task(running.serve([listening]))
        while not running.started:
            await asyncio.sleep(0.005)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
            yield server, client
        running.should_exit = True
        await task


async def until(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def metrics(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


async def test_a_full_queue_sends_away_with_a_time_and_takes_the_next_when_there_is_room():
    judge = Gate()
    async with served(judge) as (_, client):
        first = asyncio.create_task(client.post("/score", json={"messages": [CHAT] * 3}))
        await until(lambda: judge.begun == 3)
        refused = await client.post("/score", json={"messages": [CHAT] * 2})
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
        assert "3 chats wait already, and 4 may" in refused.json()["detail"]
        fitting = asyncio.create_task(client.post("/generate", json={"index": 0, "messages": CHAT}))
        await until(lambda: judge.begun == 4)
        judge.open.set()
        assert (await first).json() == {"scores": [0.25] * 3, "tokens": 7, "tokens_asked": 7}
        assert (await fitting).json() == {"response": 0.25}
        assert (await client.post("/score", json={"messages": [CHAT] * 4})).status_code == 200


async def test_the_work_of_a_client_that_leaves_is_dropped_and_its_room_is_free_again():
    judge = Gate()
    async with served(judge) as (_, client):
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/score", json={"messages": [CHAT] * 4}, timeout=0.2)
        await until(lambda: judge.dropped == 4)
        judge.open.set()
        assert (await client.post("/score", json={"messages": [CHAT] * 4})).status_code == 200
        counted = metrics((await client.get("/metrics")).text)
    assert counted['codetool_prm_requests_total{path="/score",status="499"}'] == 1


async def test_at_the_end_those_who_wait_are_told_and_nobody_new_is_served():
    judge = Gate()
    async with served(judge) as (server, client):
        waiting = asyncio.create_task(client.post("/generate", json={"messages": CHAT}))
        await until(lambda: judge.begun == 1)
        server.shut_down()
        assert (await waiting).status_code == 503 and (await waiting).json()["detail"] == "the server is ending"
        assert judge.dropped == 1
        assert (await client.post("/generate", json={"messages": CHAT})).status_code == 503
        assert (await client.get("/health")).json()["status"] == "ending"


@pytest.mark.parametrize(
    ("length", "said"),
    [(None, "chat 1 is longer than the model's context"), (lambda chat: (9, 8), "context: 9 tokens, where 8 fit")],
)
async def test_a_chat_beyond_the_context_is_named(length, said):
    judge = Gate()
    judge.open.set()
    async with served(judge, length=length) as (_, client):
        chats = [CHAT, [{"role": "user", "content": "long"}]]
        answer = await client.post("/score", json={"messages": chats})
    assert answer.status_code == 413 and answer.json()["detail"].endswith(said)


@pytest.mark.parametrize(
    ("error", "length", "status"),
    [
        (ConfigError("the template refuses it"), lambda chat: (9, 8), 422),
        (ConfigError("the server behind gives no log-probabilities"), None, 502),
        (UnreachableError("vLLM is gone"), None, 503),
    ],
)
async def test_what_the_judge_says_is_passed_on(error, length, status):
    judge = Gate(error)
    judge.open.set()
    async with served(judge, length=length) as (_, client):
        answer = await client.post("/generate", json={"messages": CHAT})
    assert (answer.status_code, answer.json()["error"]) == (status, str(error))


async def test_a_defect_is_an_answer_in_a_sentence_and_the_next_request_is_served():
    judge = Gate(RuntimeError("no memory"))
    judge.open.set()
    async with served(judge) as (_, client):
        failed = await client.post("/generate", json={"messages": CHAT})
        assert failed.status_code == 500
        assert failed.json()["error"] == "the server failed: RuntimeError: no memory"
        judge.error = None
        assert (await client.post("/generate", json={"messages": CHAT})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "no JSON"),
        (b"messages=[]", 400, "no JSON"),
        (b'{"messages": [[{"role": "user", "content": "\\ud800"}]]}', 400, "no JSON"),
        (b"[]", 422, "the body=list: should be an object"),
        (b"{}", 422, "messages is missing"),
        (b'{"messages": []}', 422, "messages is empty"),
        (b'{"messages": [[]]}', 422, "messages.0 is empty"),
        (b'{"messages": "text"}', 422, "messages='text'"),
        (b'{"messages": [[{"role": "robot", "content": "a"}]]}', 422, "role='robot': should be 'system', 'user' or"),
        (b'{"messages": [[{"role": "user", "content": 5}]]}', 422, "messages.0.0.content=5: should be a valid string"),
        (b'{"messages": [[{"role": "user"}]]}', 422, "messages.0.0.content is missing"),
        (b" " * 10_001, 413, "more than 10000 bytes"),
    ],
)
async def test_a_bad_request_is_refused_with_the_reason(body, status, said):
    async with served(Gate()) as (_, client):
        answer = await client.post("/score", content=body)
    assert answer.status_code == status and said in answer.json()["detail"]


async def test_more_chats_than_a_request_may_have_are_refused_though_there_is_room():
    async with served(Gate(), chats=2, waiting=100) as (_, client):
        answer = await client.post("/score", json={"messages": [CHAT] * 3})
    assert answer.status_code == 413 and "3 chats are more than the 2" in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/score", 405), ("GET", "/", 404), ("POST", "/x", 404)])
async def test_what_is_not_served_is_answered_by_what_is(method, path, status):
    async with served(Gate()) as (_, client):
        answer = await client.request(method, path)
    assert answer.status_code == status and "POST /generate, POST /score" in answer.json()["detail"]


async def test_health_tells_what_is_served_and_what_is_accepted():
    async with served(Gate(), chats=3, waiting=5) as (_, client):
        said = (await client.get("/health")).json()
    assert said == {"status": "ok", "model": "gate", "max_chats": 3, "queue": 5}


async def test_metrics_count_requests_scores_tokens_and_who_waits():
    judge = Gate()
    async with served(judge) as (server, client):
        waiting = asyncio.create_task(client.post("/score", json={"messages": [CHAT] * 3}))
        await until(lambda: judge.begun == 3)
        assert metrics((await client.get("/metrics")).text)["codetool_prm_waiting_chats"] == 3
        judge.open.set()
        await waiting
        server.metrics.count_pass(2, 100)
        await client.get("/anything")
        answer = await client.get("/metrics")
        asked = {"accept": "application/openmetrics-text", "accept-encoding": "gzip"}
        open_metrics = await client.get("/metrics", headers=asked)
        refused = await client.post("/metrics")
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert open_metrics.headers["content-encoding"] == "gzip" and open_metrics.text.endswith("# EOF\n")
    assert refused.status_code == 405 and "POST /metrics is not served" in refused.text
    counted = metrics(answer.text)
    assert answer.headers["content-type"].startswith("text/plain")
    assert counted['codetool_prm_requests_total{path="/score",status="200"}'] == 1
    assert counted['codetool_prm_requests_total{path="other",status="404"}'] == 1
    assert counted['codetool_prm_request_seconds_count{path="/score"}'] == 1
    assert (counted["codetool_prm_scores_total"], counted["codetool_prm_tokens_read_total"]) == (3, 7)
    assert (counted["codetool_prm_request_chats_sum"], counted["codetool_prm_waiting_chats"]) == (3, 0)
    assert (counted["codetool_prm_pass_jobs_sum"], counted["codetool_prm_pass_tokens_sum"]) == (2, 100)


def chat_of(text: str, messages: int = 1) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}] * messages


@pytest.mark.parametrize(
    ("body", "status", "score", "said"),
    [
        ({"messages": chat_of("long")}, 413, 0.0, "longer than the model's context"),
        ({"messages": chat_of("x" * 1001)}, 413, 0.0, "1001 characters, where 1000 fit"),
        ({"messages": chat_of("x" * 99_999)}, 413, 0.0, "the body has more than 77536 bytes"),
        ({"messages": chat_of("x", 129)}, 413, None, "messages has more than 128 messages"),
        (b"{", 400, None, "the body is no JSON"),
        ({"index": 1}, 422, None, "messages is missing"),
        ({"messages": []}, 422, None, "messages is empty"),
        ({"messages": [{"role": "user"}]}, 422, None, "messages.0.content is missing"),
        ([], 422, None, "the body="),
    ],
)  # fmt: skip
async def test_every_error_of_generate_has_the_key_that_the_references_client_reads(body, status, score, said):
    judge = Gate()
    judge.open.set()
    sent = {"content": body} if isinstance(body, bytes) else {"json": body}
    async with served(judge, body=10**6, characters=1000) as (_, client):
        answer = await client.post("/generate", **sent)
        other = await client.get("/generate")
    assert (answer.status_code, answer.json()["response"]) == (status, score)
    assert said in answer.json()["error"] and answer.json()["error"] == answer.json()["detail"]
    assert (other.status_code, other.json()["response"]) == (405, None)


async def test_score_refuses_in_its_own_layout():
    judge = Gate()
    judge.open.set()
    async with served(judge, characters=1000) as (_, client):
        answer = await client.post("/score", json={"messages": [CHAT, chat_of("x" * 1001)]})
        assert judge.begun == 0
    assert answer.status_code == 413 and set(answer.json()) == {"detail"}
    assert answer.json()["detail"].startswith("chat 1 is longer than the model's context: 1001 characters")


@pytest.mark.parametrize("path", ["/generate", "/score"])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_chat_of_30_megabytes_costs_neither_memory_nor_time(path, streamed):
    async def pieces():
        for _ in range(30):
            yield b"x" * 1_000_000

    judge = Gate()
    headers = {} if streamed else {"content-length": "30000000"}
    async with served(judge, body=2_000_000) as (_, client):
        before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        answer = await client.post(path, content=pieces(), headers=headers)
        assert time.process_time() - started < 3
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert answer.status_code == 413 and "more than 2000000 bytes" in answer.json()["detail"]
    assert grown < 20_000 and judge.begun == 0  # kilobytes


async def test_few_characters_of_waiting_chats_are_kept(monkeypatch):
    monkeypatch.setattr("codetool.prm.server.MAX_WAITING_CHARACTERS", 100)
    judge, chat = Gate(), [{"role": "user", "content": "x" * 60}]
    async with served(judge) as (_, client):
        first = asyncio.create_task(client.post("/score", json={"messages": [chat, chat]}))  # alone it is accepted
        await until(lambda: judge.begun == 2)
        refused = await client.post("/score", json={"messages": [chat]})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "120 characters wait already, and 100 may" in refused.json()["detail"]
        judge.open.set()
        assert (await first).status_code == 200
        assert (await client.post("/score", json={"messages": [chat]})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"messages": [' + b"{}," * 500_000 + b"{}]}", 413, "more than 500,000 objects and lists"),
        (b'{"messages": [' + b"[{}]," * 100_000 + b"[{}]]}", 422, "messages.0.0.role is missing"),
        (b"[" * 100_000, 400, "the body is no JSON"),
        (b'{"messages": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001, 400, "the body is no JSON"),
        (b'{"messages": ' + b"9" * 100_000 + b"}", 400, "the body is no JSON"),
    ],
    ids=["values", "errors", "brackets", "objects", "digits"],
)
async def test_bodies_of_many_or_deep_values_are_refused_at_once(body, status, reason):
    async with served(Gate(), body=10_000_000) as (_, client):
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        answer = await client.post("/score", content=body)
        assert answer.status_code == status
        assert reason in answer.json()["detail"] and len(answer.text) < 1000
        assert time.monotonic() - start < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("codetool.http.request_body.READ_SECONDS", 0.1)

    async def drip():
        yield b'{"messages": '
        await asyncio.sleep(5)

    async with served(Gate()) as (_, client):
        answer = await client.post("/score", content=drip())
        assert answer.status_code == 408
