"""The prompts that a report shows are the very texts that servers of policy and PRM received."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cdp_browser import NAMES, browser, program
from chat_server import ChatServer, Reply, chat, serve_in_process
from in_process import evaluate_run, prepare_run
from report_data import data
from scripted_policy import ScriptedPolicy, scripted_server

from codetool.evaluation.prompt_encoding import decode_prompt
from codetool.evaluation.result_records import parse_nodes
from codetool.stages.report import report

POLICY = ("policy=openai", "policy.model=m", "benchmark.split=dev", "limit=2", "search.n=3")
STEPWISE = ("search=beam", "policy_prompt@policy.prompt=stepwise", "prm_prompt@prm.prompt=stepwise")
TRIED = "'Another way than {{ ways | map(attribute=\"error\") | join }} please: Step {{ k }}'"
COMPACT = ("search=greedy", "policy_prompt@policy.prompt=compact", "prm_prompt@prm.prompt=compact")


PARTS = ".selected [data-reader=policy] pre"


@pytest.fixture
def judge() -> Iterator[ChatServer]:
    """A server of a PRM, whose scores follow the length of what it reads."""
    with serve_in_process(lambda body: Reply(body={"response": len(json.dumps(body)) % 97 / 97})) as server:
        yield server


def write_again(folder: Path, *words: str) -> tuple[dict[str, Any], str]:
    """The data of the report, written again, and what was said."""
    config, choices, console = prepare_run(folder.parent, "stage=report", f"report.folder={folder}", *words)
    console.width = 1000
    assert report(config, choices, console) == 0
    return data((folder / "report.html").read_text()), console.file.getvalue()  # type: ignore[attr-defined]


def decode(held: dict[str, Any], reader: str) -> dict[tuple[str, str], str]:
    """The messages of every step's prompt as text, by task and node."""
    prompts = {}
    for place, line in enumerate(held["lines"]):
        nodes = {node.id: node for node in parse_nodes(held[f"tree-{place}"])}
        encoded = held[f"prompts-{place}"][reader]
        for node_id in encoded:
            messages = decode_prompt(encoded, node_id, nodes, held["prompt-lines"])
            prompts[line["task_id"], node_id] = json.dumps(messages)
    return prompts


def received(server: ChatServer) -> set[str]:
    return {json.dumps(body["messages"]) for body in server.requests if "messages" in body}


@pytest.mark.parametrize("words", [STEPWISE, COMPACT], ids=["stepwise", "compact"])
def test_they_are_what_the_servers_received(tmp_path: Path, judge: ChatServer, words: Sequence[str]) -> None:
    prm = ("prm=remote", "prm.model=m", f"prm.base_url={judge.url.removesuffix('/v1')}")
    with scripted_server() as policy:
        outcome = evaluate_run(tmp_path, *POLICY, f"policy.base_url={policy.url}", *prm, *words)
        sent = received(policy)
    held, _ = write_again(outcome.folder)
    steps = [node for place in range(2) for node in held[f"tree-{place}"]["nodes"]]
    read, scored = decode(held, "policy"), decode(held, "prm")
    assert len(read) == len(scored) == len(steps) > 5
    assert set(read.values()) == sent and set(scored.values()) == received(judge)
    assert all(held[f"prompts-{place}"]["checked"] and not held[f"prompts-{place}"]["inexact"] for place in range(2))


class FailingPolicy(ScriptedPolicy):
    """A policy whose step fails unless its prompt shows two steps that failed."""

    async def __call__(self, body: dict[str, Any]) -> Reply:
        failures = json.dumps(body["messages"]).count("ValueError: nothing")
        code = f"raise ValueError('nothing of number {failures}')"
        if failures > 1:
            return await super().__call__(body)
        return chat(f"##Step 1: a way\nPython Code:\n```python\n{code}\n```")


@pytest.mark.slow
def test_steps_tried_before_are_in_the_prompts_that_showed_them(tmp_path: Path) -> None:
    words = ("search=dfs", "search.show_tried=true", "search.depth=1", "prm=none", "limit=2")
    words = (*words, "policy_prompt@policy.prompt=stepwise", f"policy.prompt.tried={TRIED}")
    with serve_in_process(FailingPolicy()) as policy:
        outcome = evaluate_run(tmp_path, *POLICY, f"policy.base_url={policy.url}", *words)
        sent = received(policy)
    held, _ = write_again(outcome.folder)
    read = decode(held, "policy")
    assert set(read.values()) <= sent
    shown = [count for place in range(2) for count in held[f"prompts-{place}"]["shown"].values()]
    assert {1, 2} <= set(shown) and "Another way than" in read[held["lines"][0]["task_id"], "3"]
    assert not any(held[f"prompts-{place}"]["inexact"] for place in range(2))
    assert all(
        name == "prm" or encoded
        for place in range(2)
        for name, encoded in held[f"prompts-{place}"].items()
        if name == "policy"
    )


def test_siblings_that_a_policy_was_shown_are_in_its_prompts(tmp_path: Path) -> None:
    words = ("search=greedy", "policy.diversity=shown", "search.depth=2", "prm=none", "limit=2")
    with serve_in_process(FailingPolicy()) as policy:
        outcome = evaluate_run(tmp_path, *POLICY, f"policy.base_url={policy.url}", *words)
        sent = received(policy)
    held, _ = write_again(outcome.folder)
    assert set(decode(held, "policy").values()) <= sent
    assert {1, 2} <= {count for place in range(2) for count in held[f"prompts-{place}"]["shown"].values()}
    assert not any(held[f"prompts-{place}"]["inexact"] for place in range(2))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run; to be read only."""
    with scripted_server() as policy:
        words = (*POLICY, f"policy.base_url={policy.url}", "prm=random", "limit=2")
        return evaluate_run(tmp_path_factory.mktemp("finished"), *words).folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / finished.name))


def test_a_run_ends_with_a_report_without_them_and_the_stage_may_leave_them_out(folder: Path) -> None:
    assert not [name for name in data((folder / "report.html").read_text()) if name.startswith("prompt")]
    held, _ = write_again(folder, "report.prompts=false")
    assert not [name for name in held if name.startswith("prompt")]
    held, _ = write_again(folder)
    assert held["prompts-0"]["policy"] and not held["prompts-0"]["prm"]  # prm=random reads nothing


def change_config(folder: Path, **prompt: Any) -> None:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["policy"]["prompt"] |= prompt
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_changed_prompt_is_not_taken_for_the_one_that_was_sent(folder: Path) -> None:
    change_config(folder, instruction="Something else: {{ query }}")
    held, _ = write_again(folder)
    assert held["prompts-0"]["inexact"] == list(held["prompts-0"]["policy"])
    (folder / "candidates.jsonl").unlink()
    held, _ = write_again(folder)
    assert not held["prompts-0"]["checked"] and not held["prompts-0"]["inexact"]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"_target_": "antigravity.Prompt"}, "config.yaml names antigravity.Prompt, which is no part of CodeTool"),
        ({"_target_": "codetool.prompts.prm_prompt.PRMPrompt"}, "config.yaml names no prompt that there is"),
        ({"instruction": "{{ unknown }}"}, "it may use"),
        ({"max_observation_chars": -1}, "the prompt cannot be had with the settings in config.yaml"),
    ],
)
def test_prompts_that_cannot_be_rebuilt_are_left_out_with_the_reason(
    folder: Path, prompt: dict[str, Any], message: str
) -> None:
    change_config(folder, **prompt)
    held, said = write_again(folder)
    assert "prompt-lines" not in held and message in said and message in " ".join(held["run"]["notes"])


def test_a_template_that_does_not_fit_a_task_costs_that_task_its_prompts(folder: Path) -> None:
    change_config(folder, instruction="{{ tools[0].nothing }}")
    held, _ = write_again(folder)
    assert "cannot be rendered" in held["prompts-0"]["problem"]


@pytest.mark.browser
@pytest.mark.skipif(program() is None and "CI" not in os.environ, reason=f"needs one of {', '.join(NAMES)}")
def test_the_page_shows_them_on_demand(folder: Path) -> None:
    held, _ = write_again(folder)
    expected = decode(held, "policy")
    with browser() as window:
        window.open((folder / "report.html").as_uri())
        window.wait("document.documentElement.dataset.ready")
        for place, line in enumerate(held["lines"]):
            window.js(f"location.hash = 'task-{line['task_id']}'")
            window.wait(
                f"byId('h-task').textContent.includes({line['task_id']!r}) && document.querySelector('.prompt')"
            )
            assert window.js("document.querySelectorAll('.prompt pre').length") == 0
            window.js("document.querySelectorAll('.selected .prompt').forEach((one) => { one.open = true; }); 0")
            window.wait("document.querySelector('.selected [data-reader=policy] pre')")
            window.js("document.querySelectorAll('.selected .prompt button').forEach((one) => one.click()); 0")
            shown = window.js(f"[...document.querySelectorAll({PARTS!r})].map((part) => part.textContent)")
            node = window.js("document.querySelector('[aria-selected=true]').dataset.node")
            messages = json.loads(expected[line["task_id"], node])
            assert shown == [message["content"] for message in messages], place
            window.wait(
                "document.querySelector('.selected [data-reader=prm]').innerText.includes('No prompt is known')"
            )
        assert not window.complaints
