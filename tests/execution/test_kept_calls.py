"""What the host keeps of a task's tool calls is bounded, and suffices to run a step again."""

from __future__ import annotations

import gc
import os
import weakref
from dataclasses import replace

import pytest
from sandbox_support import TASK, settings

from codetool.execution.kept_calls import KeptCalls, digest_request, keep_answer, keep_write
from codetool.runs.body_store import StoredBody
from codetool.types import HttpRequest, ToolAnswer, ToolCall

URL = "https://api.example/movie"
REQUEST = HttpRequest("GET", URL)


def answer_with(body: str, **changes: object) -> ToolAnswer:
    return replace(ToolAnswer(ToolCall("GET", URL, {}), 200, body, "live"), **changes)


@pytest.mark.parametrize("body", ["", "short", "ä€𝄞\ud800" * 50_000, "x" * 32_001], ids=len)
def test_a_stored_body_comes_back_from_memory_or_file(body: str) -> None:
    kept = KeptCalls()
    stored = [kept.store(REQUEST, answer_with(text)) for text in ("first", body, "last")]
    assert [kept.load(each).body for each in stored] == ["first", body, "last"]
    assert isinstance(stored[1].body, StoredBody) == (len(body) > 31_995)


def test_the_file_of_the_bodies_is_closed_with_its_owner() -> None:
    kept = KeptCalls()
    kept.store(REQUEST, answer_with("x" * 200_000))
    descriptor = kept._bodies._descriptor
    assert descriptor is not None and os.fstat(descriptor).st_nlink == 0
    del kept
    gc.collect()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(descriptor)


@pytest.mark.parametrize(("chars", "is_kept"), [(8_000, True), (8_001, False)])
def test_arguments_are_kept_up_to_their_limit(chars: int, is_kept: bool) -> None:
    arguments = {"q": "a" * (chars - len('{"q": ""}'))}
    kept = KeptCalls().keep_call(ToolCall("GET", URL, arguments, request=REQUEST))
    assert kept.url == URL and kept.request is None
    assert (kept.arguments == arguments) == is_kept
    if not is_kept:
        assert kept.arguments == {"…": "1 arguments of 8001 characters are not kept: q"}


def test_a_thousand_ordinary_calls_are_kept_whole_and_endless_large_ones_are_not() -> None:
    ordinary, large = KeptCalls(), KeptCalls()
    for number in range(1000):
        call = ToolCall("GET", f"{URL}/{number}", {"query": "x" * 40})
        assert ordinary.keep_call(call) == call
    calls = [large.keep_call(ToolCall("GET", f"{URL}/{number}", {"q": "x" * 7_000})) for number in range(1000)]
    assert calls[0].arguments == {"q": "x" * 7_000}
    assert calls[-1] is calls[-2]
    assert calls[-1].url == "https://api.example/…" and "not kept" in calls[-1].arguments["…"]


def test_equal_requests_have_equal_digests() -> None:
    first = HttpRequest("GET", URL, "a", (("a", "b"),))
    assert digest_request(first) == digest_request(HttpRequest("GET", "".join(URL), "a", (("a", "b"),)))
    for other in (replace(first, body="b"), replace(first, headers=()), replace(first, url=URL + "x")):
        assert digest_request(first) != digest_request(other)


def test_bodies_of_answers_are_cut_and_those_of_writes_identified() -> None:
    assert keep_answer(answer_with("x" * 5_000)).body == "x" * 20
    assert keep_answer(answer_with("x" * 5_000, status=500)).body == "x" * 2_000
    assert keep_write(answer_with("x" * 4_000)).body == "x" * 4_000
    assert keep_write(answer_with("x" * 4_001)).body.startswith("sha256:")


class Answering:
    """A tool with a budget of calls and large answers."""

    def __init__(self, budget: int = 10_000) -> None:
        self.budget, self.asked = budget, list[HttpRequest]()

    async def __call__(self, request: HttpRequest) -> ToolAnswer:
        self.asked.append(request)
        call = ToolCall(request.method, request.url, {}, request=request)
        if len(self.asked) > self.budget:
            return ToolAnswer(call, 429, "{}", None, failure="budget")
        return ToolAnswer(call, 200, "y" * 150_000, "live")


class Body(str):
    """A body that can be referred to weakly, as a plain string cannot."""


async def test_the_body_of_a_large_answer_is_forgotten_once_the_step_has_it() -> None:
    bodies: list[weakref.ref[Body]] = []
    alive: list[bool] = []

    async def answer(request: HttpRequest) -> ToolAnswer:
        alive.append(any(body() for body in bodies))
        body = Body("x" * 300_000)
        bodies.append(weakref.ref(body))
        return ToolAnswer(ToolCall("GET", request.url, {}), 200, body, "live")

    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, answer)
        execution = await root.run(f"import requests\nfor i in range(3): print(len(requests.get('{URL}').text))")
    assert execution.printed == "300000\n" * 3 and alive == [False] * 3


async def test_an_evicted_interpreter_is_rebuilt_from_bodies_in_the_file() -> None:
    tool = Answering()
    async with settings(max_live_processes=1).open() as sandbox:
        first, second = await sandbox.start(TASK, tool), await sandbox.start(TASK, Answering())
        await first.run(f"import requests\nr = requests.get('{URL}')")
        await second.run("x = 1")
        execution = await first.run("print(len(r.text), r.text[:3])")
    assert (execution.observation, len(tool.asked)) == ("150000 yyy\n", 1)


@pytest.mark.parametrize(
    ("code", "field", "size"),
    [
        (f"requests.get('{URL}?' + 'a' * 220_000)", "url", 8_001),
        (f"requests.post('{URL}', data='a' * 1_000_000)", "body", 64_001),
        (f"requests.post('{URL}', data='\\x01' * 40_000)", "body", 64_001),
        (f"requests.post('{URL}', data='a' * 64_000)", "body", 64_000),
        (f"requests.post('{URL}', data='ä' * 32_000)", "body", 32_000),
    ],
    ids=["url", "body", "escapes", "body at the bound", "two bytes each"],
)
async def test_a_request_too_large_for_a_message_reaches_the_host_in_part(code: str, field: str, size: int) -> None:
    tool = Answering(budget=0)
    async with settings().open() as sandbox:
        execution = await (await sandbox.start(TASK, tool)).run(f"import requests\nprint({code}.status_code)")
    assert (execution.status, execution.observation) == ("tool_failed", "429\n")
    assert len(getattr(tool.asked[0], field)) == size


async def test_headers_too_large_for_a_message_reach_the_host_as_one_above_its_limit() -> None:
    tool = Answering(budget=0)
    async with settings().open() as sandbox:
        await (await sandbox.start(TASK, tool)).run(
            f"import requests\nrequests.get('{URL}', headers={{'a': 'b' * 300_000}})"
        )
    [(name, value)] = tool.asked[0].headers
    assert len(name) + len(value) == 16_001


@pytest.mark.parametrize(("calls", "status"), [(53, "tool_failed"), (54, "killed")])
async def test_a_step_that_goes_on_calling_after_the_budget_is_spent_is_stopped(calls: int, status: str) -> None:
    tool = Answering(budget=3)
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, tool)
        execution = await root.run(f"import requests\nfor _ in range({calls}): requests.get('{URL}')")
    assert (execution.status, len(execution.calls)) == (status, calls)
