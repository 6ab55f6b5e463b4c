"""The remote PRM against a real server on this machine."""

import asyncio
import socket
import time
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from composing import compose_config
from fastapi import FastAPI, Request, Response
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from no_servers import NO_SERVERS
from promptly import promptly
from pydantic import ValidationError

from codetool.errors import CodeToolError, ConfigError, UnreachableError
from codetool.prompts.trained_prompt import describe_prompt
from codetool.runs.identity import select_identity_settings
from codetool.types import Execution, Node, Step, Task, Tool

CONF = Path(__file__).parents[2] / "conf"
TOOL = Tool(name="GET_a", method="GET", server="http://films", path="/a", summary="Lists films")
TASK = Task(id="t", query="Who directed it?", tools=(TOOL,))
STEPS = [Step(f"##Step 1: way {place}", f"print({place})", False) for place in range(3)]
ROOT = Node(id="0")


def settings(url, *overrides):
    words = ["+prm=remote", "prm.model=m", f"prm.base_url={url}", "prm.backoff=0.01", "prm.timeout=5", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=words).prm)


def after(text, observation, error=None, parent=ROOT):
    execution = Execution("exception" if error else "ok", observation, error)
    step = Step(text, "", finished=False)
    return Node(id=f"{parent.id}-1", parent=parent, depth=parent.depth + 1, step=step, execution=execution)


@asynccontextmanager
async def serving(answer, path="/generate", health=None):
    """The address of a PRM server whose `answer(body, place)` makes each response; the bodies it got come with it."""
    app, bodies = FastAPI(), []

    @app.post(path)
    async def generate(request: Request):
        bodies.append(await request.json())
        return await answer(bodies[-1], len(bodies))

    @app.get("/health")
    async def tell():
        return health or Response(status_code=404)

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        running = asyncio.create_task(server.serve([listening]))
        while not server.started:
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", bodies
        server.should_exit = True
        await running


def ours(answer, most=8):
    """The same for a server that takes batches."""
    return serving(answer, "/score", {"model": "m", "trained": True, "checksum": None, "max_chats": most})


def way(chat):
    """The number in the step that a chat asks for."""
    return int(chat[-1]["content"].rsplit("way ", 1)[1])


def always(value):
    async def answer(body, place):
        return {"response": value}

    return answer


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_each_candidate_gets_the_number_of_its_own_request():
    async def answer(body, place):
        await asyncio.sleep(0.02 * (3 - body["index"]))  # the last is answered first
        return {"response": body["index"] / 10}

    async with serving(answer) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        scores = await prm.score(TASK, [], STEPS)
    assert scores.values == (0.0, 0.1, 0.2)
    assert len(bodies) == 3
    assert all([message["role"] for message in body["messages"]] == ["system", "user"] for body in bodies)
    assert all(body["messages"][1]["content"].endswith(f"way {body['index']}") for body in bodies)


async def test_the_server_sees_tools_task_and_earlier_steps_in_order():
    first = after("##Step 1: look", "three films")
    second = after("##Step 2: fetch", "partly", "KeyError: 'id' (line 2: x['id'])", first)
    async with serving(always(0.5)) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        await prm.score(TASK, second.path, STEPS[:1])
    user = bodies[0]["messages"][1]["content"]
    expected = ["GET /a() Lists", "Who directed it?", "look", "three films", "fetch", "partly", "KeyError", "way 0"]
    places = [user.index(part) for part in expected]
    assert places == sorted(places)


async def test_a_longer_path_extends_the_prompt_and_siblings_share_all_but_their_step():
    first = after(STEPS[0].text, "three films")
    async with serving(always(0.5)) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        await prm.score(TASK, [], STEPS[:1])
        await prm.score(TASK, first.path, STEPS[1:])
    texts = {body["index"]: body["messages"][1]["content"] for body in bodies[1:]}
    assert all(text.startswith(bodies[0]["messages"][1]["content"]) for text in texts.values())
    assert texts[0].removesuffix(STEPS[1].text) == texts[1].removesuffix(STEPS[2].text)
    assert len({body["messages"][0]["content"] for body in bodies}) == 1


async def test_observations_are_cut_and_the_error_survives():
    path = after("look", "§" * 5_000, "KeyError: 'id'").path
    async with serving(always(0.5)) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        await prm.score(TASK, path, STEPS[:1])
    user = bodies[0]["messages"][1]["content"]
    assert "KeyError: 'id'" in user
    assert user.count("§") == 2_000 - len("\nKeyError: 'id'")


@pytest.mark.parametrize("value", [1.5, -0.1, "0.5", None, True, [0.5]])
async def test_what_is_no_probability_is_an_error_that_shows_it(value):
    async with serving(always(value)) as (url, _), settings(url).open(NO_SERVERS) as prm:
        with pytest.raises(CodeToolError, match=r"response=.*probability in \[0, 1\]"):
            await prm.score(TASK, [], STEPS)


async def test_another_kind_of_server_is_named_without_further_attempts():
    async def answer(body, place):
        return Response("no such model", status_code=404)

    async with serving(answer) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        with pytest.raises(CodeToolError, match="404 'no such model'.*prm.base_url"):
            await prm.score(TASK, [], STEPS[:1])
    assert len(bodies) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_passing_trouble_is_waited_out(status):
    async def answer(body, place):
        return Response(status_code=status) if place < 3 else {"response": 0.25}

    async with serving(answer) as (url, _), settings(url).open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS[:1])).values == (0.25,)


async def test_a_lasting_trouble_ends_after_the_attempts_allowed():
    async def answer(body, place):
        return Response(status_code=503)

    async with serving(answer) as (url, bodies), settings(url, "prm.retries=2").open(NO_SERVERS) as prm:
        with pytest.raises(UnreachableError, match="HTTP 503, 3 times"):
            await prm.score(TASK, [], STEPS[:1])
    assert len(bodies) == 3


async def test_a_silent_server_is_given_up_after_the_time_out():
    async def answer(body, place):
        await asyncio.sleep(0.5)

    async with serving(answer) as (url, _), settings(url, "prm.retries=0", "prm.timeout=0.1").open(NO_SERVERS) as prm:
        with pytest.raises(UnreachableError, match="ReadTimeout"):
            await prm.score(TASK, [], STEPS[:1])


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_nobody_there_is_said_without_waiting(host):
    with promptly(), pytest.raises(UnreachableError, match=host):
        async with settings(f"http://{host}:{free_port()}").open(NO_SERVERS):
            pass


async def test_three_hundred_requests_are_in_flight_at_once():
    present, all_there = 0, asyncio.Event()

    async def answer(body, place):
        nonlocal present
        present += 1
        if present == 300:
            all_there.set()
        await all_there.wait()
        return {"response": 0.5}

    async with serving(answer) as (url, _), settings(url, "prm.timeout=30").open(NO_SERVERS) as prm:
        await asyncio.wait_for(asyncio.gather(*(prm.score(TASK, [], STEPS) for _ in range(100))), 20)


def test_an_address_with_a_password_is_refused_and_not_repeated():
    with pytest.raises(Exception, match="base_url must not hold a user or a password") as failure:
        settings("http://me:hidden@h/v1")
    assert "hidden" not in failure.value.__cause__.errors()[0]["msg"]


def test_two_models_behind_the_same_protocol_are_two_results():
    words = ("prm=remote", "prm.base_url=http://h")
    one, two, elsewhere = (
        select_identity_settings(*compose_config(*words, *more))
        for more in (["prm.model=a"], ["prm.model=b"], ["prm.model=a", "prm.base_url=http://i"])
    )
    assert elsewhere == one != two


def test_an_address_without_scheme_is_refused():
    with pytest.raises(Exception, match="base_url") as failure:
        settings("localhost:8000")
    assert isinstance(failure.value.__cause__, ValidationError)


async def batch(body, place):
    return {"scores": [way(chat) / 10 for chat in body["messages"]], "tokens": 100}


async def test_a_server_that_takes_batches_gets_all_siblings_at_once_and_its_tokens_count():
    async with ours(batch) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        scores = await prm.score(TASK, [], STEPS)
    assert (scores.values, scores.tokens, len(bodies)) == ((0.0, 0.1, 0.2), 100, 1)


async def test_more_siblings_than_a_request_may_have_are_several_requests():
    async with ours(batch, most=2) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        scores = await prm.score(TASK, [], STEPS)
    assert (scores.values, scores.tokens) == ((0.0, 0.1, 0.2), 200)
    assert sorted(len(body["messages"]) for body in bodies) == [1, 2]


async def test_the_one_prompt_that_is_too_long_scores_zero_and_its_siblings_do_not(caplog):
    async def answer(body, place):
        long = any(way(chat) == 1 for chat in body["messages"])
        return Response("9000 tokens, where 8192 fit", status_code=413) if long else {"scores": [0.5], "tokens": 1}

    async with ours(answer) as (url, _), settings(url).open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS[:2])).values == (0.5, 0.0)
    assert "t, step 1: " in caplog.text and "9000 tokens, where 8192 fit" in caplog.text


async def test_a_full_server_is_asked_again_when_it_says():
    times = []

    async def answer(body, place):
        times.append(time.monotonic())
        return Response(status_code=503, headers={"Retry-After": "1"}) if place == 1 else await batch(body, place)

    async with ours(answer) as (url, _), settings(url).open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS)).values == (0.0, 0.1, 0.2)
    assert times[1] - times[0] >= 1


@pytest.mark.parametrize("named", ["soon", "-1", "1e9", "³", "Fri, 20 Nov 2026 12:00:00 GMT"])
async def test_a_time_that_is_no_number_of_seconds_changes_nothing(named):
    async def answer(body, place):
        headers = {"Retry-After": named}
        return Response(status_code=503, headers=headers) if place == 1 else await batch(body, place)

    async with ours(answer) as (url, _), settings(url).open(NO_SERVERS) as prm:
        assert (await asyncio.wait_for(prm.score(TASK, [], STEPS), 2)).values == (0.0, 0.1, 0.2)


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        ({"scores": [0.5], "tokens": 1}, r"scores=\[0.5\] tokens=1; a list of 3 numbers"),
        ({"scores": [0.5, 0.5, 2], "tokens": 1}, r"response=2; a probability in \[0, 1\]"),
        ({"tokens": 1}, '{"scores": .* is needed'),
        ({"scores": [0.5] * 3}, '{"tokens": number} is needed'),
        ({"scores": [0.5] * 3, "tokens": "many"}, "tokens='many'"),
    ],
)
async def test_a_batch_that_is_answered_wrongly_is_an_error_that_shows_it(answered, said):
    async def answer(body, place):
        return answered

    async with ours(answer) as (url, _), settings(url).open(NO_SERVERS) as prm:
        with pytest.raises(CodeToolError, match=said):
            await prm.score(TASK, [], STEPS)


@pytest.mark.parametrize("health", [{"status": "ok"}, ["max_chats"], {"max_chats": 0}, {"max_chats": "8"}])
async def test_a_health_that_promises_no_batches_means_one_request_a_candidate(health):
    async with serving(always(0.5), health=health) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS)).tokens == 0
    assert len(bodies) == 3


async def test_a_server_whose_model_has_another_prompt_is_refused_and_both_are_named():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compact = instantiate(compose(overrides=["+prm=smollm2"]).prm, _convert_="all").prompt
    health = {"model": "m", "trained": True, "checksum": None, "max_chats": 8, "prompt": describe_prompt(compact)}
    async with serving(always(0.5), "/score", health) as (url, bodies):
        with pytest.raises(ConfigError, match="trained with the prompt compact, but prm.prompt is stepwise"):
            async with settings(url).open(NO_SERVERS):
                pass
        async with settings(url, "prm_prompt@prm.prompt=compact").open(NO_SERVERS):
            pass
    assert bodies == []


@pytest.mark.parametrize("sees", [True, False])
async def test_a_server_whose_model_reads_what_steps_did_is_told_it(sees):
    health = {"model": "m", "trained": True, "checksum": None, "max_chats": 8, "sees_observation": sees}
    executions = [Execution("ok", f"printed {place}") for place in range(3)]

    async def answer(body, place):
        return {"scores": [0.5] * 3, "tokens": 1}

    async with serving(answer, "/score", health) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        assert prm.sees_observation == sees
        await prm.score(TASK, [], STEPS, executions if sees else ())
    shown = [chat[-1]["content"] for chat in bodies[0]["messages"]]
    assert [f"printed {place}" in content for place, content in enumerate(shown)] == [sees] * 3


@pytest.mark.parametrize("prompt", [None, "compact", {"kind": 3}, []])
async def test_a_server_that_does_not_describe_its_prompt_is_asked_as_before(prompt):
    health = {"model": "m", "trained": True, "checksum": None, "max_chats": 8, "prompt": prompt}
    async with serving(always(0.5), "/score", health) as (url, _), settings(url).open(NO_SERVERS):
        pass


@pytest.mark.parametrize(
    "garbage",
    ["<html>busy", '{"scores": [0.5', "{}", '{"scores": [2, 2, 2], "tokens": 1}', "null",
     '{"scores": [NaN, 0.1, 0.2], "tokens": 1}', '{"scores": [0.1], "tokens": 1}'],
)  # fmt: skip
async def test_a_success_without_a_score_is_asked_for_again(garbage):
    async def answer(body, place):
        return Response(garbage) if place % 2 else await batch(body, place)

    async with ours(answer) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS)).values == (0.0, 0.1, 0.2)
    assert len(bodies) == 2


async def test_garbage_from_a_server_of_the_references_kind_is_asked_for_again():
    async def answer(body, place):
        return {"response": "0.5"} if place == 1 else {"response": 0.5}

    async with serving(answer) as (url, bodies), settings(url).open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS[:1])).values == (0.5,)
    assert len(bodies) == 2


async def test_a_query_of_the_address_stays_at_its_end():
    async with ours(batch) as (url, _), settings(f"'{url}/?tenant=a'").open(NO_SERVERS) as prm:
        assert (await prm.score(TASK, [], STEPS)).values == (0.0, 0.1, 0.2)


async def test_replicas_of_different_models_are_refused():
    async with serving(always(0.5), health={"model": "m", "checksum": "1", "max_chats": 8}) as (first, _):
        async with serving(always(0.5), health={"model": "m", "checksum": "2", "max_chats": 8}) as (second, _):
            with pytest.raises(ConfigError, match="prm.base_url names servers of different models: checksum is"):
                async with settings(f"[{first},{second}]").open(NO_SERVERS):
                    pass
