"""No key of the environment reaches a file, a stream or another process in any stage, whatever servers say."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiny_models
from canaries import Canaries, plant
from chat_server import Reply, chat, serve_in_process
from command_line import CommandLine
from film_service import film_service
from in_process import GROUPS
from training_jobs import WORDS, process_file

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.stages.collect.collect import collect
from codetool.stages.evaluate.run import run
from codetool.stages.judge.judge import judge
from codetool.stages.train.train import train
from codetool.types import Answer, Task, Tool

STEP = """##Step 1: Look.
Python Code:
```
import os
print(sorted(os.environ.items()))
print(open("/proc/self/environ").read() if os.path.exists("/proc/self/environ") else "")
{code}
```
[Step 1 Finished]
[All Finished]"""
TRACKERS = pytest.mark.parametrize("tracker", ["none", pytest.param("wandb", marks=pytest.mark.slow)])
STAGES = {"evaluate": run, "collect": collect, "judge": judge, "train": train}


@pytest.fixture
def canaries(monkeypatch: pytest.MonkeyPatch) -> Canaries:
    return plant(monkeypatch)


def run_stage(canaries: Canaries, outputs: Path, *words: str, **replaced: Any) -> Any:
    """Run the stage that the words name in this process."""
    words = (f"outputs={outputs}", *words)
    config = replace(validate(compose_all(words)[0]), **replaced)
    chosen = dict(word.split("=", 1) for word in words)
    groups = {**GROUPS, "tuning": "lora", "simulator": "none", **chosen}
    return STAGES[config.stage](config, {name: str(groups[name]) for name in groups}, canaries.make_console())


def serve(canaries: Canaries, variable: str, text: str) -> Any:
    """Serve a model whose every text repeats the key that it was sent."""
    return serve_in_process(canaries.wrap(variable, lambda body: chat(f"{text}\n{canaries.repeat(variable)}")))


def endpoint(group: str, url: str, variable: str, **more: str) -> list[str]:
    """Return the words of a model behind a server that is sent a key."""
    settings = {"model": "m", "base_url": url, "key_env": variable, "backoff": "0.01", **more}
    return [f"{group}={'openai'}", *(f"{group}.{name}={value}" for name, value in settings.items())]


SEARCH = ("prm=none", "benchmark.split=dev", "limit=1", "search=chain")


@TRACKERS
def test_no_canary_leaves_an_evaluation_that_is_judged_and_judged_again(
    canaries: Canaries, tmp_path: Path, capfd: pytest.CaptureFixture[str], tracker: str
) -> None:
    """The models of policy, answer and judge repeat their keys in errors and in their texts."""
    with (
        serve(canaries, "POLICY_ACCESS", STEP.format(code="")) as policy,
        serve(canaries, "ANSWER_ACCESS", "It was Ada Moon.") as answer,
        serve(canaries, "JUDGE_ACCESS", "Solved") as judge_server,
    ):
        judging = endpoint("judge", judge_server.url, "JUDGE_ACCESS", votes="1")
        words = [
            *SEARCH, f"logger={tracker}", *endpoint("policy", policy.url, "POLICY_ACCESS"),
            *endpoint("answer", answer.url, "ANSWER_ACCESS"), *judging, "policy.extra_body={user: me}",
        ]  # fmt: skip
        with canaries.watch_processes():
            outcome = run_stage(canaries, tmp_path, *words)
        again = [f"judge_stage.folder={outcome.folder}", "judge_stage.reference=null", f"logger={tracker}"]
        run_stage(canaries, tmp_path, "stage=judge", *judging, "judge.votes=2", *again)
        sent = {
            name: {headers.get("authorization") for headers in server.headers}
            for name, server in {"POLICY": policy, "ANSWER": answer, "JUDGE": judge_server}.items()
        }
    assert all(canaries.bearer(f"{name}_ACCESS") in used for name, used in sent.items()), "every key was used"
    shown = capfd.readouterr()
    files = canaries.assert_nowhere(tmp_path, out=shown.out, err=shown.err)
    written = {file.name for file in files}
    assert written >= {"config.yaml", "provenance.json", "log.txt", "results.jsonl", "votes.jsonl", "report.html"}
    assert canaries.processes and any("[secret]" in content.decode(errors="replace") for content in files.values())
    assert tracker == "none" or any(name.endswith(".wandb") for name in written)


@TRACKERS
def test_no_canary_leaves_a_collection_with_live_tools(
    canaries: Canaries, tmp_path: Path, capfd: pytest.CaptureFixture[str], tracker: str
) -> None:
    """The service repeats all that it is sent, in its body and its headers, and redirects to itself with the query."""
    with film_service() as service, serve_in_process(lambda body: chat(step)) as policy:
        code = f"""import requests
for path in ("echo?api_key=mine", "keep_query?a=1", "always/503", "redirect?to={service.server}/echo", "movie/1"):
    try:
        found = requests.get("{service.server}/" + path, headers={{"Authorization": "Bearer none", "X-Mine": "1"}})
        print(found.text, found.url, dict(found.headers), dict(found.request.headers), found.request.url)
    except Exception as error:
        print(repr(error), vars(error))"""
        step = STEP.format(code=code)
        policy.handler = canaries.wrap("POLICY_ACCESS", policy.handler)
        tools = (Tool(name="GET_echo", method="GET", server=service.server, path="/echo", summary="Echo"),)
        words = [
            "stage=collect", f"logger={tracker}", *SEARCH, *endpoint("policy", policy.url, "POLICY_ACCESS"),
            "tools.mode=live", "tools.replica=null", "tools.retries=1", "tools.backoff=0.01",
            f"+tools.secrets.films={{host: '{service.host}', env: SERVICE_ACCESS}}",
            f"+tools.secrets.query={{host: '{service.host}', env: RAPIDAPI_KEY, query: api_key, header: null}}",
        ]  # fmt: skip
        run_stage(canaries, tmp_path, *words, benchmark=OneTask(tools))
    assert [
        each for each in service.requests if each["headers"].get("authorization") == canaries.bearer("SERVICE_ACCESS")
    ]
    assert [each for each in service.requests if "api_key=cAnary" in each["query"]]
    shown = capfd.readouterr()
    files = canaries.assert_nowhere(tmp_path, out=shown.out, err=shown.err)
    assert {file.name for file in files} >= {"process.jsonl", "recorded.jsonl", "trees.jsonl", "log.txt"}
    assert canaries.processes


class OneTask:
    """A benchmark with one task."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self.task = Task("t", "How many?", tools, answer=Answer("number", 3))

    def tasks(self) -> list[Task]:
        return [self.task]

    def checksum(self) -> str:
        return "one"

    def check(self, task: Task, answer: str | None) -> bool:
        return bool(answer)


@TRACKERS
def test_no_canary_leaves_a_run_with_a_simulator_and_a_remote_prm(
    canaries: Canaries, tmp_path: Path, capfd: pytest.CaptureFixture[str], tracker: str
) -> None:
    """The simulator's answers repeat its key; the PRM's server, which gets none, repeats one of this machine's."""

    def simulate(body: dict[str, Any]) -> Reply:
        return chat(json.dumps({"error": "", "response": {"id": 1, "note": canaries.repeat("SIMULATOR_ACCESS")}}))

    def score(body: dict[str, Any]) -> Reply:
        said = {"text": canaries.repeat("OPENAI_API_KEY")}
        return Reply(body=said | ({"response": 0.5} if len(prm.requests) <= 3 else {}))

    code = """import requests
for number in range(2):
    url = "https://api.themoviedb.org/3/search/person"
    print(requests.get(url, params={"query": "Ada Moon", "page": number + 1}).text)"""
    with (
        serve_in_process(canaries.wrap("POLICY_ACCESS", lambda body: chat(STEP.format(code=code)))) as policy,
        serve_in_process(canaries.wrap("SIMULATOR_ACCESS", simulate)) as simulator,
        serve_in_process(canaries.wrap("OPENAI_API_KEY", score)) as prm,
    ):
        words = [
            "benchmark.split=dev", "limit=2", "concurrency=1", "search=greedy", "search.n=2", "search.depth=1",
            f"logger={tracker}", "prm.retries=2",
            *endpoint("policy", policy.url, "POLICY_ACCESS"), "tools.replica=null", "simulator.checked=false",
            *endpoint("simulator", simulator.url, "SIMULATOR_ACCESS"), "prm=remote", "prm.model=p",
            f"prm.base_url={prm.url.removesuffix('/v1')}", "prm.backoff=0.01",
        ]  # fmt: skip
        outcome = run_stage(canaries, tmp_path, *words)
        assert simulator.requests and prm.requests
        assert canaries.bearer("SIMULATOR_ACCESS") in {headers.get("authorization") for headers in simulator.headers}
        assert "cAnary" not in str(prm.headers) + str(prm.requests) + str(policy.requests)
    shown = capfd.readouterr()
    files = canaries.assert_nowhere(tmp_path, out=shown.out, err=shown.err)
    assert outcome.failed == 1 and b"[secret]" in next(files[file] for file in files if file.name == "results.jsonl")
    assert any(file.name == "recorded.jsonl" for file in files)


@TRACKERS
@pytest.mark.slow
def test_no_canary_leaves_a_training(
    canaries: Canaries, tmp_path: Path, capfd: pytest.CaptureFixture[str], tracker: str
) -> None:
    tiny_models.save("llama", tmp_path / "model")
    data = process_file(tmp_path / "process.jsonl")
    words = [word for word in WORDS if not word.startswith("logger")]
    own = ("stage=train", "prm=qwen7b", f"prm.model={tmp_path / 'model'}", f"train.files=[{data}]")
    with canaries.watch_processes():
        assert run_stage(canaries, tmp_path / "outputs", *own, *words, f"logger={tracker}").failed == 0
    assert tracker == "none" or canaries.processes
    shown = capfd.readouterr()
    files = canaries.assert_nowhere(tmp_path, out=shown.out, err=shown.err)
    assert {file.name for file in files} >= {"adapter_config.json", "README.md", "losses.jsonl", "provenance.json"}


def test_no_canary_leaves_a_server_of_tools(canaries: Canaries, run: CommandLine, tmp_path: Path) -> None:
    """Keys come in queries, headers and paths; the right one, a wrong one, and one that belongs elsewhere."""
    process = run.start(
        "stage=serve_tools", "serve_tools.port=0", "serve_tools.require_key=true", environment=dict(os.environ)
    )
    try:
        with httpx.Client(base_url=process.first_line().split()[0], trust_env=False) as client:
            statuses = [client.get("/3/movie/597", **each).status_code for each in _list_requests(canaries)]
            client.get(f"/3/movie/{canaries.secrets['HF_TOKEN']}")
            client.post("/3/movie/597", content=canaries.repeat("TMDB_API_KEY"))
            canaries.look_at_processes()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert statuses == [200, 200, 401, 401] and process.returncode == 0
    assert err.count(" GET ") == 5 and "/3/movie/[secret] 404" in err
    # Its keys come from its own environment; no other process may show one on its command line.
    canaries.processes = {name: text for name, text in canaries.processes.items() if name.endswith("cmdline")}
    canaries.assert_nowhere(tmp_path, out=out, err=err)


def test_no_canary_leaves_a_server_of_a_prm(canaries: Canaries, run: CommandLine, tmp_path: Path) -> None:
    """Its model repeats its key in errors and answers, and clients send keys in queries, headers, paths and chats."""
    said = canaries.repeat("POLICY_ACCESS")
    replies = [Reply(400, {"error": {"message": f"refused: {said}"}}), Reply(body={"choices": [], "note": said})]
    replies += [Reply(500, {"error": {"message": said}}), Reply(403, said.encode())]
    with serve_in_process(canaries.wrap("POLICY_ACCESS", lambda body: next(left, _make_score(said)), 0)) as model:
        words = endpoint("prm", model.url, "POLICY_ACCESS", backend="endpoint", retries="0")[1:]
        process = run.start("stage=serve_prm", "prm=qwen7b", "serve_prm.port=0", *words, environment=dict(os.environ))
        try:
            with httpx.Client(base_url=process.first_line().split()[0], trust_env=False) as client:
                chat = {"index": 0, "messages": [{"role": "user", "content": said}]}
                left = iter(replies)
                refused = [client.post("/generate", json=chat) for _ in replies]
                answers = [client.post("/generate", json=chat, **each) for each in _list_requests(canaries)]
                sent = canaries.repeat("TMDB_API_KEY")
                wrong = [{"index": sent, "messages": sent}, {sent: 1}, sent, {"messages": [[{"role": sent}]]}]
                refused += [client.post(path, json=body) for path in ("/generate", "/score") for body in wrong]
                refused.append(client.post("/score", content=sent))
                refused.append(client.get(f"/{canaries.secrets['HF_TOKEN']}?api_key={canaries.secrets['HF_TOKEN']}"))
                told = "".join(client.get(path).text for path in ("/health", "/metrics"))
            canaries.look_at_processes()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert {answer.status_code for answer in answers} == {200} and process.returncode == 0
    assert all(reply.status_code >= 400 for reply in refused) and "codetool_prm_requests_total" in told
    assert canaries.bearer("POLICY_ACCESS") in {headers.get("authorization") for headers in model.headers}
    replied = "\n".join(f"{reply.headers} {reply.text}" for reply in refused)
    canaries.processes = {name: text for name, text in canaries.processes.items() if name.endswith("cmdline")}
    canaries.assert_nowhere(tmp_path, out=out, err=err, told=told, replied=replied)


def _make_score(said: str) -> Reply:
    """Return what a judge answers, with its key beside the score."""
    top = [{"token": "Yes", "logprob": -0.1, "note": said}, {"token": "No", "logprob": -2.0}]
    content = [{"token": "Yes", "logprob": -0.1, "top_logprobs": top}]
    choice = {"index": 0, "message": {"role": "assistant", "content": said}, "logprobs": {"content": content}}
    return Reply(body={"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}, "note": said})


def _list_requests(canaries: Canaries) -> list[Mapping[str, Any]]:
    right, other = canaries.secrets["TMDB_API_KEY"], canaries.secrets["HF_TOKEN"]
    return [
        {"params": {"api_key": right}},
        {"headers": {"Authorization": f"Bearer {right}", "Cookie": right, "Referer": f"http://a/?api_key={right}"}},
        {"params": {"api_key": other, "session_id": right}},
        {"headers": {"Authorization": f"Basic {right}", "X-Api-Key": other}},
    ]
