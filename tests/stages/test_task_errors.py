"""One run whose policy makes one mistake of each kind: what its result lines, metrics and summary say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from chat_server import ChatServer, Reply, chat
from command_line import CommandLine, read_lines, read_metrics

from codetool.benchmarks.tmdb_verified import TMDBVerified
from codetool.types import Task

SERVER = "https://api.themoviedb.org/3"
CALLS = (
    'import requests\nfor call in {calls}:\n    requests.get("{server}" + call[4:], headers=headers)\nprint("Nobody")'
)


def step(code: str | None, *, finished: bool = True) -> Callable[[Task], Reply]:
    """A policy that writes the same step again and again."""
    block = f"Python Code:\n```python\n{code}\n```\n" if code else ""
    return lambda task: chat(f"##Step 1: go on\n{block}{'[All Finished]' if finished else ''}\n")


def calling(change: Callable[[str], str]) -> Callable[[Task], Reply]:
    """A policy that makes every call of the reference, changed, and answers nothing of use."""
    return lambda task: step(CALLS.format(calls=[change(call) for call in task.gold_calls], server=SERVER))(task)


MISTAKES: Mapping[str, Callable[[Task], Reply]] = {
    "no_code": step(None, finished=False),
    "syntax": step("print("),
    "exception:KeyError": step("{}['crew']"),
    "tool_error": step(f'import requests\nrequests.get("{SERVER}/movie/0", headers=headers)'),
    "unfinished": step("print(1)", finished=False),
    "wrong_tool": step("print('Nobody')"),
    "wrong_argument": calling(lambda call: call.partition("query=")[0] + "query=zzzz" if "query=" in call else call),
    "wrong_answer": calling(lambda call: call),
    "internal": lambda task: Reply(status=400, body={"error": {"message": "out of order"}}),
}


def test_each_mistake_is_named_in_its_result_line_and_counted(run: CommandLine, policy: ChatServer) -> None:
    tasks = TMDBVerified(split="tour", train=None, max_observation_chars=1500).tasks()
    tasks = [*tasks, *TMDBVerified(split="dev", train=None, max_observation_chars=1500).tasks()]
    asked = [task for task in tasks if any("query=" in call for call in task.gold_calls)]
    mistakes = list(MISTAKES.values())

    def answer(body: dict[str, Any]) -> Reply:
        said = body["messages"][0]["content"]
        task = max((task for task in tasks if task.query in said), key=lambda task: len(task.query))
        chosen.setdefault(task.id, len(chosen) % len(mistakes))
        return mistakes[chosen[task.id]](task)

    chosen: dict[str, int] = {}
    assert asked
    policy.handler = answer
    words = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "search=chain", "concurrency=1")
    done = run(*words, "benchmark.split=dev", f"limit={2 * len(MISTAKES)}")
    assert done.returncode == 1, done.stderr  # tasks of ours
    folder = run.folder("tmdb_verified-chain")
    known = {task.id: task for task in tasks}
    counts: dict[str, int] = {}
    for line in read_lines(folder, "results"):
        expected = list(MISTAKES)[chosen[line["task_id"]]]
        if expected == "wrong_argument" and known[line["task_id"]] not in asked:
            expected = "wrong_answer"  # nothing to get wrong
        assert line["error"]["kind"] == expected, line
        assert 0 < len(line["error"]["message"]) <= 300 and "\n" not in line["error"]["message"]
        counts[expected] = counts.get(expected, 0) + 1
    assert set(counts) == set(MISTAKES), "no task of these has a search to get wrong"
    assert read_metrics(folder)["errors"] == counts and list(read_metrics(folder)["errors"]) == sorted(
        counts, key=lambda kind: (-counts[kind], kind)
    )
    assert "not solved, by reason: " in done.stdout and f"tool_error {counts['tool_error']}" in done.stdout


def test_only_failures_of_ours_are_tried_again(run: CommandLine, policy: ChatServer) -> None:
    words = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "search=chain", "limit=2")
    policy.handler = lambda body: MISTAKES["wrong_tool"](Task("", "", ()))
    assert run(*words).returncode == 0
    asked = len(policy.requests)
    again = run(*words)
    assert again.returncode == 0 and "done already: 2" in again.stderr
    assert len(policy.requests) == asked


def test_a_budget_that_ends_a_path_is_named(run: CommandLine, policy: ChatServer) -> None:
    words = ("policy=openai", "policy.model=m", f"policy.base_url={policy.url}", "search=chain", "limit=1")
    policy.handler = lambda body: MISTAKES["unfinished"](Task("", "", ()))
    assert run(*words, "budget.executions=2").returncode == 0
    [line] = read_lines(run.folder("tmdb_verified-chain"), "results")
    assert line["error"] == {
        "kind": "budget",
        "message": "the budget of executions was spent after 2 steps, before an answer",
    }
    assert json.loads((run.folder("tmdb_verified-chain") / "metrics.json").read_text())["errors"] == {"budget": 1}
