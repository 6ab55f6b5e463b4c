"""The served PRM as a client sees it: a process of its own with a tiny model, asked over HTTP by many at once."""

import asyncio
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from command_line import CommandLine
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from no_servers import NO_SERVERS
from tiny_models import save
from warm_process import WarmProcess

from codetool.config.overrides import CONF, compose_all
from codetool.prm.local_scorer import LocalScorer
from codetool.prm.pointwise import PointwisePRM
from codetool.types import Step, Task, Tool

Chat = list[dict[str, str]]
WORDS = "services search movie query page title question who directed it step find the film print yes no 603".split()
LONG = 1500
"""Words of a chat that the tiny model reads in several passes."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    save("qwen2", made)
    return made


def words(folder: Path) -> list[str]:
    """The PRM of the tiny model, exact."""
    return ["prm=qwen7b", f"prm.path={folder}", "prm.precision=float32", "prm.device=cpu", "prm.threads=1"]


@contextmanager
def served(run: CommandLine, folder: Path, *more: str) -> Iterator[tuple[WarmProcess, httpx.Client, Callable[[], str]]]:
    """The process, a client of it, and a function that waits for its end and tells what it said."""
    process = run.start("stage=serve_prm", "serve_prm.port=0", *words(folder), *more)

    def ended() -> str:
        return process.communicate(timeout=90)[1]

    try:
        line = process.first_line()
        assert " answers /generate, /score" in line, ended()
        with httpx.Client(base_url=line.split()[0], trust_env=False, timeout=90) as client:
            yield process, client, ended
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with served(CommandLine(tmp_path_factory.mktemp("outputs")), folder) as (_, client, _):
        yield client


def option(name: str, *overrides: str) -> Any:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=[f"+prm={name}", *overrides]).prm, _convert_="all")


def chats(seed: int, siblings: int) -> list[Chat]:
    """Siblings on a prefix that every eighth client has too."""
    shared, own = random.Random(seed % 8), random.Random(seed)
    before = " ".join(shared.choices(WORDS, k=120))
    ends = [" ".join(own.choices(WORDS, k=20)) for _ in range(siblings)]
    return [[{"role": "system", "content": "judge"}, {"role": "user", "content": f"{before} {end}"}] for end in ends]


async def one_by_one(folder: Path, wanted: list[Chat]) -> list[float]:
    """The scores of chats that are read alone, nothing kept between them."""
    prm = option("qwen7b", *(word for word in words(folder)[1:]), "prm.prefix_cache_tokens=0")
    async with prm.open(NO_SERVERS) as live:
        assert isinstance(live, PointwisePRM) and isinstance(live.scorer, LocalScorer)
        judged = [await live.scorer.score_chats([chat], "test", new=True) for chat in wanted]
    return [value for each in judged for value in each.values if value is not None]


async def test_64_clients_at_once_lose_nothing_and_get_what_each_chat_scores_alone(
    site: httpx.Client, folder: Path
) -> None:
    requests = {seed: chats(seed, siblings=1 if seed % 4 == 0 else 4) for seed in range(64)}

    async def client(seed: int) -> list[float]:
        """A client with connections of its own; every fourth speaks as the reference's do."""
        async with httpx.AsyncClient(base_url=site.base_url, trust_env=False, timeout=120) as http:
            if seed % 4 == 0:
                answer = await http.post("/generate", json={"index": seed, "messages": requests[seed][0]})
                return [answer.raise_for_status().json()["response"]]
            answer = await http.post("/score", json={"messages": requests[seed]})
            scores: list[float] = answer.raise_for_status().json()["scores"]
            return scores

    before = _metric(site, "codetool_prm_scores_total")
    answers = await asyncio.gather(*(client(seed) for seed in requests))
    expected = await one_by_one(folder, [chat for seed in requests for chat in requests[seed]])
    assert [value for answer in answers for value in answer] == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.1
    assert _metric(site, "codetool_prm_scores_total") - before == len(expected)
    assert _metric(site, "codetool_prm_pass_jobs_sum") > 1.5 * _metric(site, "codetool_prm_pass_jobs_count")


def _metric(client: httpx.Client, name: str) -> float:
    [value] = [line.split()[1] for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(value)


async def test_prm_remote_scores_and_counts_as_the_same_prm_in_process(site: httpx.Client, folder: Path) -> None:
    tool = Tool(name="GET_a", method="GET", server="http://films", path="/search/movie", summary="Search for movies")
    task = Task("remote", "Who directed it, as seen from afar?", (tool,))
    steps = [Step(f"##Step 1: way {k}", f"print({k})", finished=False) for k in range(4)]
    scores = []
    for prm in (option("remote", "prm.model=m", f"prm.base_url={site.base_url}"), option("qwen7b", *words(folder)[1:])):
        async with prm.open(NO_SERVERS) as live:
            scores.append(await live.score(task, [], steps))
    assert scores[0].values == pytest.approx(scores[1].values, abs=1e-5)
    assert 0 < scores[0].tokens <= scores[1].tokens


def test_siblings_on_a_known_prefix_cost_their_own_tokens_alone(site: httpx.Client) -> None:
    before = " ".join(reversed(WORDS * 10))
    chats = [[{"role": "user", "content": f"{before} {end}"}] for end in ("find", "title", "query", "page", "print")]
    alone = site.post("/score", json={"messages": chats[:1]}).json()["tokens"]
    assert site.post("/score", json={"messages": chats[1:]}).json()["tokens"] < alone / 4


def test_health_tells_model_adapter_labels_and_formula(site: httpx.Client, folder: Path) -> None:
    said = site.get("/health").json()
    expected = {"status": "ok", "trained": True, "labels": ["yes", "no"], "score": "softmax", "max_chats": 256}
    assert said | expected == said
    assert said["path"] == folder.name and len(said["checksum"]) == 64


def test_a_chat_beyond_the_context_is_refused_with_both_numbers(site: httpx.Client) -> None:
    chat = [{"role": "user", "content": "603 " * 9000}]
    answer = site.post("/generate", json={"index": 0, "messages": chat})
    assert answer.status_code == 413 and "tokens, where 8192 fit" in answer.json()["detail"]
    assert int(answer.json()["detail"].split(" tokens")[0].split()[-1]) > 9000


def _long(seed: int) -> Chat:
    return [{"role": "user", "content": " ".join(random.Random(seed).choices(WORDS, k=LONG))}]


def _asked(client: httpx.Client, count: int) -> tuple[threading.Thread, list[httpx.Response]]:
    """A request with so many long chats under way."""
    answers: list[httpx.Response] = []
    body = {"messages": [_long(seed) for seed in range(count)]}
    asking = threading.Thread(target=lambda: answers.append(client.post("/score", json=body)))
    asking.start()
    _until(lambda: _metric(client, "codetool_prm_pass_jobs_count") > 0)
    return asking, answers


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_stopped_server_answers_what_is_under_way_and_takes_nothing_new(run: CommandLine, folder: Path) -> None:
    with served(run, folder, "serve_prm.grace=30") as (process, client, ended):
        asking, answers = _asked(client, 4)
        process.send_signal(signal.SIGTERM)
        _until(lambda: _refuses(client.base_url.port))
        assert process.poll() is None and not answers
        asking.join(90)
        said = ended()
    assert answers[0].status_code == 200 and len(answers[0].json()["scores"]) == 4
    assert process.returncode == 0 and "Stopped." in said and "Traceback" not in said


def _refuses(port: int | None) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port or 0)) != 0


def test_what_the_grace_does_not_reach_for_is_told_so(run: CommandLine, folder: Path) -> None:
    with served(run, folder, "serve_prm.grace=0.1") as (process, client, ended):
        asking, answers = _asked(client, 64)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        asking.join(90)
        said = ended()
    assert (answers[0].status_code, answers[0].json()) == (503, {"detail": "the server is ending"})
    assert process.returncode == 0 and "Stopped." in said and "Traceback" not in said
    assert not any(child.is_running() for child in children)


def test_a_full_queue_sends_away_and_the_server_goes_on(run: CommandLine, folder: Path) -> None:
    with served(run, folder, "serve_prm.queue=4", "serve_prm.max_chats=4") as (_, client, _):
        asking, answers = _asked(client, 4)
        refused = client.post("/generate", json={"index": 0, "messages": _long(9)})
        assert refused.status_code == 503 and int(refused.headers["Retry-After"]) >= 1
        asking.join(90)
        assert answers[0].status_code == 200
        assert client.post("/generate", json={"index": 0, "messages": _long(1)}).status_code == 200


@pytest.mark.parametrize(
    ("prm", "said"),
    [
        (["prm=none"], "prm=none has no model to serve"),
        (["prm=random"], "prm=smollm2, prm=qwen7b"),
        (["prm=remote", "prm.model=m", "prm.base_url=http://127.0.0.1:1"], "prm=remote has no model to serve"),
        (["prm=pairwise"], "prm=pairwise compares candidates"),
        (["prm=qwen7b", "prm.path=no/such/folder"], "prm.path=no/such/folder is no folder"),
        (["prm=smollm2", "serve_prm.queue=1"], "serve_prm.queue=1 has no room for a request of serve_prm.max_chats="),
        (["prm=smollm2", "serve_prm.port=70000"], "serve_prm.port=70000"),
    ],
)
def test_what_cannot_be_served_is_one_message(run: CommandLine, prm: list[str], said: str) -> None:
    done = run("stage=serve_prm", *prm)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not done.stdout


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(run: CommandLine, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("stage=serve_prm", *words(folder), f"serve_prm.port={port}")
    assert done.returncode == 2 and f"serve_prm.port={port} is taken on 127.0.0.1" in done.stderr


def test_labels_the_model_does_not_have_are_one_message(run: CommandLine, folder: Path) -> None:
    done = run("stage=serve_prm", *words(folder), "serve_prm.port=0", "prm.labels=[promising,hopeless]")
    assert done.returncode == 2 and "error: prm.labels: 'promising'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_serves_nothing(run: CommandLine, folder: Path) -> None:
    done = run("stage=serve_prm", *words(folder), "serve_prm.port=0", "dry_run=true")
    assert done.returncode == 0 and str(folder) in done.stderr.replace("\n", "") and not done.stdout
    assert not run.outputs.exists()


def test_its_words_mean_nothing_to_other_stages() -> None:
    with pytest.raises(Exception, match="only stage=serve_prm reads it"):
        compose_all(["serve_prm.port=1"])


def test_the_answer_is_what_the_references_client_reads(site: httpx.Client) -> None:
    body = json.dumps({"index": 5, "messages": chats(7, 1)[0], "temperature": 0})
    answer = site.post("/generate", content=body).json()
    assert list(answer) == ["response"] and isinstance(answer["response"], float) and 0 <= answer["response"] <= 1
