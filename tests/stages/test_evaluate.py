"""The main job as a user runs it: a real process, a real sandbox, the real replica; only the model is scripted."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from chat_server import ChatServer, Reply
from command_line import ROOT, CommandLine, read_lines, read_metrics, strip_seconds
from promptly import promptly
from scripted_policy import scripted_server
from warm_process import WarmProcess

TASKS = 24
SPLIT = ("benchmark.split=dev", f"limit={TASKS}")
ENDPOINT = ("policy=openai", "policy.model=m", *SPLIT, "search.n=3")


def words(policy: ChatServer) -> tuple[str, ...]:
    return (*ENDPOINT, f"policy.base_url={policy.url}")


@dataclass(frozen=True)
class FinishedRun:
    """A finished command of all tasks, the server that it asked and the folder of its outputs; to be read only."""

    done: subprocess.CompletedProcess[str]
    policy: ChatServer
    outputs: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedRun]:
    run = CommandLine(tmp_path_factory.mktemp("finished") / "outputs")
    with scripted_server(latency=0.02) as policy:
        yield FinishedRun(run(*words(policy)), policy, run.outputs)


@pytest.fixture
def repeated(finished: FinishedRun, run: CommandLine) -> CommandLine:
    """Commands whose outputs hold a copy of that run."""
    shutil.copytree(finished.outputs, run.outputs)
    return run


def test_a_run_answers_every_task_and_says_what_came_of_it(finished: FinishedRun) -> None:
    done, run = finished.done, CommandLine(finished.outputs)
    assert done.returncode == 0, done.stderr
    folder = run.folder("tmdb_verified-beam-openai-none")
    results = read_lines(folder, "results")
    assert len({line["task_id"] for line in results}) == len(results) == TASKS
    solved = sum(line["success"] for line in results)
    assert 0 < solved < TASKS  # the script makes mistakes, search mends some
    assert read_metrics(folder)["metrics"]["success"]["value"] == pytest.approx(solved / TASKS)
    assert "success" in done.stdout and str(folder) in done.stdout
    assert "seccomp" in (folder / "log.txt").read_text()


def test_a_replay_without_a_model_is_equal_bit_for_bit(finished: FinishedRun, run: CommandLine) -> None:
    recorded = CommandLine(finished.outputs).folder("tmdb_verified-beam-openai")
    replay = run("policy=replay", f"policy.source=[{recorded}]", *SPLIT, "search.n=3")
    assert replay.returncode == 0, replay.stderr
    repeated = run.folder("tmdb_verified-beam-replay")
    for name in ("results", "trees"):
        assert strip_seconds(read_lines(repeated, name)) == strip_seconds(read_lines(recorded, name))


def test_a_replay_of_a_wider_search_names_task_and_step(run: CommandLine, policy: ChatServer) -> None:
    assert run(*words(policy), "limit=1").returncode == 0
    recorded = run.folder("tmdb_verified-beam-openai")
    replay = run("policy=replay", f"policy.source=[{recorded}]", "benchmark.split=dev", "search.n=4", "limit=1")
    assert replay.returncode == 1
    assert "step 1 of task dev-" in replay.stdout
    assert "Traceback" not in replay.stderr


def test_the_same_command_again_asks_for_nothing(finished: FinishedRun, repeated: CommandLine) -> None:
    asked = len(finished.policy.requests)
    again = repeated(*words(finished.policy))
    assert again.returncode == 0 and "done already: 24" in again.stderr
    assert len(finished.policy.requests) == asked > TASKS


def test_a_larger_limit_continues_the_same_journal(run: CommandLine, policy: ChatServer) -> None:
    assert run(*words(policy), "limit=5").returncode == 0
    assert run(*words(policy), "limit=9").returncode == 0
    assert len(read_lines(run.folder("tmdb_verified"), "results")) == 9


def test_fresh_starts_over_in_a_new_folder(run: CommandLine, policy: ChatServer) -> None:
    for _ in range(2):
        assert run(*words(policy), "limit=2", "fresh=true").returncode == 0
    names = sorted(folder.name for folder in (run.outputs / "evaluate").iterdir())
    assert names[1] == f"{names[0]}-2"


def test_a_dry_run_writes_nothing(run: CommandLine) -> None:
    done = run("dry_run=true")
    assert done.returncode == 0 and "tasks: 6, done already: 0" in done.stderr
    assert not run.outputs.exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_keeps_finished_tasks_and_leaves_no_process(
    run: CommandLine, policy: ChatServer, stop: signal.Signals
) -> None:
    process = run.start(*words(policy), "concurrency=2")
    sandbox = wait_for_sandbox(process)
    while not any(run.outputs.glob("evaluate/*/results.jsonl")) or not read_lines(run.folder("tmdb"), "results"):
        time.sleep(0.02)
    process.send_signal(stop)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in errors and "Traceback" not in errors
    gone, alive = psutil.wait_procs(sandbox, timeout=20)
    assert gone and not alive
    assert run(*words(policy)).returncode == 0
    assert len(read_lines(run.folder("tmdb"), "results")) == TASKS


def wait_for_sandbox(process: WarmProcess) -> list[psutil.Process]:
    """The processes below a run, once there are any."""
    while True:
        children = psutil.Process(process.pid).children(recursive=True)
        if children:
            return children
        time.sleep(0.01)


ONE_CALL_EACH = """
import sys
from pathlib import Path
from rich.console import Console
from codetool.config.run_config import validate
from codetool.stages.evaluate.evaluate import evaluate
from codetool.stages.run_folder import open_folder
from codetool.config.overrides import compose_all
from codetool.tmdb.replica import TMDBReplica
calls, answer = [], TMDBReplica.answer
async def counted(self, call):
    calls.append(call)
    return await answer(self, call)
TMDBReplica.answer = counted
config = validate(compose_all(sys.argv[2:])[0])
with open_folder(Path(sys.argv[1])) as folder:
    evaluate(config, folder, config.benchmark.tasks()[:config.limit], Console(stderr=True))
assert "torch" not in sys.modules and "transformers" not in sys.modules, "an endpoint needs neither"
print(len(calls))
"""


def test_every_call_that_a_program_makes_reaches_the_replica_once(tmp_path: Path, policy: ChatServer) -> None:
    search = ("search=exhaustive", "search.depth=3", "prm=none", "limit=16")
    command = [sys.executable, "-c", ONE_CALL_EACH, str(tmp_path), *words(policy), *search]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    nodes = [node for tree in read_lines(tmp_path, "trees") for node in tree["nodes"]]
    assert max(node["depth"] for node in nodes) == 3
    ran = [node for node in nodes if node["execution"]["status"] == "ok"]
    written = sum(node["code"].count("requests.get(") for node in ran)
    assert written > 40
    assert int(done.stdout) == sum(len(node["execution"]["calls"]) for node in nodes) >= written


def test_an_unreachable_endpoint_is_one_message(run: CommandLine) -> None:
    with promptly():
        done = run(*ENDPOINT, "policy.base_url=http://127.0.0.1:9/v1")
    assert done.returncode == 3
    assert "http://127.0.0.1:9/v1 cannot be reached" in done.stderr and "Traceback" not in done.stderr
    [folder] = run.outputs.glob("evaluate/*")  # nothing was recorded: the log is left, which says why
    assert not list(folder.glob("*.jsonl")) and "cannot be reached" in (folder / "log.txt").read_text()


def test_every_wrong_value_is_named_at_once(run: CommandLine) -> None:
    done = run("policy.temperature=hot", "search.width=0", "limit=0", "tools.mode=simulated")
    assert done.returncode == 2
    for text in ("policy.temperature='hot'", "search.width=0", "limit=0", "tools.mode=simulated wants a simulator"):
        assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("word", ["outputs=/proc/nowhere", "outputs=run.py", "outputs="])
def test_a_folder_that_cannot_be_made_is_one_message(run: CommandLine, policy: ChatServer, word: str) -> None:
    done = run(*words(policy), word)
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith("error: ") and "Traceback" not in done.stderr


def test_ctrl_c_at_start_up_is_quiet(run: CommandLine) -> None:
    for moment in (0.1, 0.2, 0.3, 0.6, 1.0):
        process = run.start_cold("dry_run=true")
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        if process.returncode == -signal.SIGINT or "init_import_site" in errors:
            continue  # Python itself was not up yet, and the signal ended it
        assert process.returncode == 130 and "Stopped." in errors, (moment, process.returncode, errors)
        assert "Traceback" not in errors


def test_the_composed_configuration_is_printed_without_running(run: CommandLine) -> None:
    done = run("--cfg", "job", "search=beam", "search.width=7")
    assert done.returncode == 0 and "width: 7" in done.stdout
    assert not run.outputs.exists()


def test_prm_budget_seed_and_prices_reach_the_search(run: CommandLine, policy: ChatServer) -> None:
    wiring = (*words(policy), "limit=4", "prm=random", "budget.executions=2", "policy.usd_per_million_in=1")
    for seed in (0, 1):
        assert run(*wiring, "policy.usd_per_million_out=2", f"seed={seed}").returncode == 0
    first, second = sorted((run.outputs / "evaluate").iterdir())
    latents = [
        {
            (tree["task_id"], node["id"]): node["latent"]
            for tree in read_lines(folder, "trees")
            for node in tree["nodes"]
        }
        for folder in (first, second)
    ]
    shared = latents[0].keys() & latents[1].keys()
    assert shared and all(0 <= latents[0][key] < 1 and latents[0][key] != latents[1][key] for key in shared)
    results = read_lines(first, "results")
    assert "executions" in {line["stopped_by"] for line in results}
    for line in results:
        cost = (line["ledger"]["tokens_in"] + 2 * line["ledger"]["tokens_out"]) / 1e6
        assert line["ledger"]["usd"] == pytest.approx(cost)


def test_a_run_whose_model_goes_away_counts_its_tasks_as_unsolved(run: CommandLine, policy: ChatServer) -> None:
    policy.handler = lambda body: Reply(status=400, body={"error": {"message": "out of order"}})
    done = run(*words(policy), "limit=3")
    assert done.returncode == 1
    folder = run.folder("tmdb_verified")
    content = read_metrics(folder)
    assert content["metrics"]["success"]["value"] == 0.0
    assert content["tasks"]["asked"] == 3 and len(content["tasks"]["failures"]) == 3
    assert "3 tasks failed internally" in done.stdout and "out of order" in done.stdout
    assert {line["error"]["kind"] for line in read_lines(folder, "results")} == {"internal"}
