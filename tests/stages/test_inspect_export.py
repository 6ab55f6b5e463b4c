"""`export=inspect`: the log of a run, read back by Inspect's own library."""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytest
from chat_server import Reply
from command_line import read_lines
from in_process import collect_run, evaluate_run, scripted
from scripted_policy import ScriptedPolicy, scripted_server

from codetool.errors import ConfigError

pytestmark = [
    pytest.mark.slow,  # the library takes seconds to import
    pytest.mark.skipif(importlib.util.find_spec("inspect_ai") is None, reason="needs inspect_ai"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two tasks, each searched twice, whose log is written by a second command."""
    outputs = tmp_path_factory.mktemp("inspect")
    with scripted_server() as policy:
        words = (*scripted(policy), "search=greedy", "search.n=3", "limit=2", "repeats=2")
        evaluate_run(outputs, *words)
        asked = len(policy.requests)
        folder = evaluate_run(outputs, *words, "export=inspect").folder
        assert len(policy.requests) == asked
    return folder


def read_log(folder: Path, **options: Any) -> Any:
    from inspect_ai.log import read_eval_log

    [file] = (folder / "inspect").iterdir()
    return read_eval_log(str(file), **options)


@pytest.fixture(scope="module")
def log(folder: Path) -> Any:
    return read_log(folder)


def test_a_task_is_a_sample_and_a_repeat_is_an_epoch(folder: Path, log: Any) -> None:
    lines = read_lines(folder, "results")
    assert log.status == "success" and log.eval.task == "tmdb_verified" and log.eval.config.epochs == 2
    assert {(sample.id, sample.epoch) for sample in log.samples} == {
        (line["task_id"].partition("#")[0], line.get("repeat", 1)) for line in lines
    }
    assert log.eval.dataset.samples == 2 and log.results.completed_samples == 4
    assert read_log(folder, header_only=True).samples is None


def test_scores_answers_and_usage_are_those_of_the_results(folder: Path, log: Any) -> None:
    lines = {(line["task_id"].partition("#")[0], line.get("repeat", 1)): line for line in read_lines(folder, "results")}
    for sample in log.samples:
        line = lines[sample.id, sample.epoch]
        assert sample.scores["success"].value == ("C" if line["success"] else "I")
        assert sample.scores["success"].answer == line["answer"] == sample.output.completion
        assert sample.scores["scep"].value == line["metrics"]["scep"]
        assert sample.model_usage["m"].input_tokens == line["ledger"]["tokens_in"]
        assert sample.target and sample.input == line["query"] and sample.error is None
    total = sum(line["ledger"]["tokens_out"] for line in lines.values())
    assert log.stats.model_usage["m"].output_tokens == total
    values = {score.name: score.metrics["mean"].value for score in log.results.scores}
    assert values["success"] == sum(line["success"] for line in lines.values()) / 4 and "pass@2" in values


def test_a_step_is_a_call_of_python_with_its_result_and_http_calls(folder: Path, log: Any) -> None:
    trees = {tree["task_id"]: {node["id"]: node for node in tree["nodes"]} for tree in read_lines(folder, "trees")}
    lines = {line["task_id"]: line for line in read_lines(folder, "results")}
    for sample in log.samples:
        name = sample.id if sample.epoch == 1 else f"{sample.id}#{sample.epoch}"
        steps = [trees[name][node] for node in lines[name]["path"]]
        asked = [message for message in sample.messages if message.role == "assistant"]
        results = [message for message in sample.messages if message.role == "tool"]
        assert [message.text for message in asked] == [step["text"] for step in steps]
        with_code = [step for step in steps if step["code"] is not None]
        assert [message.tool_calls[0].arguments["code"] for message in asked if message.tool_calls] == [
            step["code"] for step in with_code
        ]
        assert [message.text for message in results] == [step["execution"]["observation"] for step in with_code]
        urls = [[call["url"] for call in message.metadata["calls"]] for message in results]
        assert urls == [[call["url"] for call in step["execution"]["calls"]] for step in with_code]
    assert any(
        message.metadata["calls"] for sample in log.samples for message in sample.messages if message.role == "tool"
    )


def test_the_index_of_the_viewer_is_read(folder: Path) -> None:
    from inspect_ai.log import read_eval_log_sample, read_eval_log_sample_summaries

    [file] = (folder / "inspect").iterdir()
    summaries = read_eval_log_sample_summaries(str(file))
    assert len(summaries) == 4 and all(summary.completed and summary.message_count > 1 for summary in summaries)
    assert read_eval_log_sample(str(file), id=summaries[0].id, epoch=2).epoch == 2


class FailingPolicy(ScriptedPolicy):
    """Answers the queries of `failing` tasks with an error of the server, and calls `stop` at the third query."""

    def __init__(self, failing: Container[int] = (), stop: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.failing, self.stop = failing, stop
        self.queries: list[str] = []

    async def __call__(self, body: dict[str, Any]) -> Reply:
        query = body["messages"][0]["content"]
        if query not in self.queries:
            self.queries.append(query)
            if len(self.queries) == 3:
                self.stop()
        if self.queries.index(query) in self.failing:
            return Reply(status=400, body={"error": {"message": "out of order"}})
        return await super().__call__(body)


IN_TURN = ("search=greedy", "search.n=2", "concurrency=1", "export=inspect")


def test_a_failed_task_is_a_sample_with_an_error(tmp_path: Path) -> None:
    with scripted_server(policy=FailingPolicy(failing={1})) as policy:
        folder = evaluate_run(tmp_path, *scripted(policy), *IN_TURN, "limit=3").folder
    log = read_log(folder)
    failed = [sample for sample in log.samples if sample.error is not None]
    assert log.status == "success" and log.eval.config.fail_on_error is False
    assert (log.results.completed_samples, log.results.total_samples, len(log.samples)) == (2, 3, 3)
    assert len(failed) == 1 and "out of order" in failed[0].error.message and failed[0].scores["success"].value == "I"


def test_a_run_without_any_answer_is_an_error(tmp_path: Path) -> None:
    with scripted_server(policy=FailingPolicy(failing={0, 1})) as policy:
        folder = evaluate_run(tmp_path, *scripted(policy), *IN_TURN, "limit=2").folder
    log = read_log(folder)
    assert log.status == "error" and log.results.completed_samples == 0 and len(log.samples) == 2


def test_an_interrupted_run_is_a_cancelled_log_of_its_finished_tasks(tmp_path: Path) -> None:
    policy = FailingPolicy(stop=lambda: signal.raise_signal(signal.SIGINT))
    with scripted_server(policy=policy) as server:
        words = (*scripted(server), *IN_TURN, "limit=4")
        with pytest.raises(KeyboardInterrupt):
            evaluate_run(tmp_path, *words)
        [folder] = (tmp_path / "evaluate").iterdir()
        log = read_log(folder)
        assert log.status == "cancelled" and log.results.scores == []
        assert {sample.id for sample in log.samples} == {line["task_id"] for line in read_lines(folder, "results")}
        assert len(log.samples) == log.results.completed_samples == 2 and log.results.total_samples == 4
        policy.stop = lambda: None
        evaluate_run(tmp_path, *words)
    log = read_log(folder)
    assert log.status == "success" and len(log.samples) == 4 and log.results.scores


def test_a_collection_has_no_such_log(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inspect goes with stage=evaluate; stage=collect writes reference"):
        collect_run(tmp_path, "export=inspect")
