"""Transcripts for fine-tuning a policy: what it is asked and writes at inference, run for real, mistakes marked."""

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml
from bootstrap_transcripts import counted, main, transcripts

from codetool.benchmarks.task_generator.replica_session import ReplicaSession
from codetool.benchmarks.task_generator.step_mistakes import make_mistakes
from codetool.benchmarks.tmdb_verified import FOLDER, TMDBVerified, load_rows
from codetool.execution.inside.run_step import format_exception
from codetool.prompts.policy_prompt import StepPrompt
from codetool.prompts.step_format import format_stop_marker
from codetool.prompts.step_parser import parse_step
from codetool.types import Execution, Node

YAML = Path(__file__).parents[2] / "conf" / "policy_prompt" / "compact.yaml"
SERVER = "https://api.themoviedb.org/3"
ROWS = 20


def compact():
    fields = yaml.safe_load(YAML.read_text())
    assert fields.pop("_target_") == "codetool.prompts.policy_prompt.StepPrompt"
    return StepPrompt(**fields)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    lines = (FOLDER / "train.jsonl").read_text("utf-8").splitlines(keepends=True)[:ROWS]
    file = tmp_path_factory.mktemp("rows") / "some.jsonl"
    file.write_text("".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def found(rows):
    return transcripts(rows, 0.5, seed=0)


@pytest.fixture(scope="module")
def tasks(rows):
    return {task.id: task for task in TMDBVerified(split="train", train=rows, max_observation_chars=1500).tasks()}


def turns(transcript):
    return [message for message in transcript["messages"] if message["role"] == "assistant"]


def execution(session, code):
    """What the step does in this process; its error in the words of the sandbox's own module."""
    before = len(session.answers)
    error = None
    try:
        compiled = compile(code, "<step 1>", "exec")
        session.scope["_step"] = compiled
        session.run("exec(_step, globals())")
    except Exception as raised:
        error = format_exception(raised, "<step 1>", code)
    failed = not all(answer.ok for answer in session.answers[before:])
    status = "tool_failed" if failed else "exception" if error else "ok"
    return Execution(status, "" if error else session.printed, error)


def test_the_messages_are_what_the_policy_gets_when_the_steps_are_run(found, tasks):
    for transcript in found:
        session, node = ReplicaSession(), Node(id="0")
        for k, turn in enumerate(turns(transcript), start=1):
            step = parse_step(turn["content"], k)
            done = execution(session, step.code)
            node = Node(id="1", parent=node, depth=k, step=step, execution=done)
        bare = [{"role": each["role"], "content": each["content"]} for each in transcript["messages"]]
        assert bare == compact().messages(tasks[transcript["task_id"]], node.path)[:-1]
        assert [turn["weight"] for turn in turns(transcript)] == [int(each.execution.ran) for each in node.path]


def test_each_step_has_the_format_that_the_parser_keeps(found):
    for transcript in found:
        steps = [(k, turn["content"]) for k, turn in enumerate(turns(transcript), start=1)]
        for k, content in steps:
            step = parse_step(content, k)
            assert content == f"{step.text}\n{format_stop_marker(k)}"
            assert step.text.startswith(f"##Step {k}: ") and "\nPython Code:\n```python\n" in step.text
            assert step.finished == (k == len(steps))


def test_without_mistakes_it_is_the_reference_program(rows):
    for row, transcript in zip(load_rows(rows), transcripts(rows, 0, seed=0), strict=True):
        assert [parse_step(turn["content"], 1).code for turn in turns(transcript)] == row["program"]
        assert {turn["weight"] for turn in turns(transcript)} == {1}
        assert (transcript["task_id"], transcript["template"]) == (row["id"], row["template"])


def test_half_of_them_hold_one_mistake_and_the_next_step_puts_it_right(found, rows):
    programs = {row["id"]: row["program"] for row in load_rows(rows)}
    mistaken = [each for each in found if len(turns(each)) > len(programs[each["task_id"]])]
    assert len(mistaken) == ROWS / 2
    for transcript in mistaken:
        codes = [parse_step(turn["content"], 1).code for turn in turns(transcript)]
        [wrong] = [place for place, turn in enumerate(turns(transcript)) if turn["weight"] == 0]
        program = programs[transcript["task_id"]]
        assert codes[:wrong] + codes[wrong + 1 :] == program and 2 <= len(program) <= 4
        assert codes[wrong] != codes[wrong + 1]
        after = transcript["messages"][2 * wrong + 2]["content"]
        assert after.startswith(f"Step {wrong + 1} failed: ")
        assert turns(transcript)[wrong + 1]["content"].startswith(f"##Step {wrong + 2}: Step {wrong + 1} failed, ")


def test_another_seed_draws_others(found, rows):
    assert transcripts(rows, 0.5, seed=1) != found


def test_no_more_mistakes_than_programs_that_can_hold_one(rows):
    found = transcripts(rows, 1, seed=0)
    short = sum(len(row["program"]) == 1 for row in load_rows(rows))
    assert len(found) == ROWS and 0.8 * (ROWS - short) < counted(found)["mistakes"] <= ROWS - short


def test_the_slips_are_of_many_kinds():
    programs = [step for row in load_rows(FOLDER / "train.jsonl")[:100] for step in row["program"]]
    kinds = Counter(kind for step in programs for kind, code in make_mistakes(step) if code != step)
    assert set(kinds) == {"field", "medium", "form", "name", "endpoint", "parameter"}
    assert all(code != step for step in programs for _, code in make_mistakes(step))


def test_the_command_writes_them_and_counts_and_the_same_seed_draws_the_same(
    found, rows, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "transcripts.jsonl"
    words = ["--rows", str(rows), "--out", str(out), "--mistakes", "0.5"]
    monkeypatch.setattr("sys.argv", ["transcripts.py", *words])
    main()
    assert [json.loads(line) for line in out.read_text("utf-8").splitlines()] == found
    assert f'"transcripts": {ROWS}' in capsys.readouterr().out


def test_the_compact_prompt_is_short_and_says_everything_once(tasks):
    firsts = {name: compact().messages(task, [])[0]["content"] for name, task in tasks.items()}
    assert sum(map(len, firsts.values())) / len(firsts) < 950
    for name, first in firsts.items():
        assert first.count(SERVER) == 1 and first.endswith(f"\n\nQuery: {tasks[name].query}\nWrite ##Step 1.")
        lines = first.split("\n\n")[1].splitlines()[1:]
        for line, tool in zip(lines, tasks[name].tools, strict=True):
            asked = [each.name for each in tool.parameters if each.location != "path"]
            shown = f"({', '.join(asked)})" if asked else ""
            assert line == f"{tool.endpoint}{shown} {tool.summary}"


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (Execution("ok", "417"), "417"),
        (Execution("ok", ""), "(nothing was printed)"),
        (Execution("ok", "x" * 403), "x" * 400 + "… (3 more characters)"),
        (Execution("exception", "half", "KeyError: 'id'"), "Step 1 failed: KeyError: 'id'\nhalf"),
        (Execution("timeout"), "Step 1 failed: timeout"),
        (Execution("no_code", error="the step has no code"), "Step 1 has no code."),
    ],
)
def test_what_the_compact_prompt_says_after_a_step(done, said, tasks):
    step = parse_step("##Step 1: go\nPython Code:\n```python\nprint(1)\n```", 1)
    node = Node(id="1", parent=Node(id="0"), depth=1, step=step, execution=done)
    task = next(iter(tasks.values()))
    messages = compact().messages(task, [node])
    assert messages[0] == compact().messages(task, [])[0]
    assert messages[-1]["content"] == f"{said}\nWrite ##Step 2."
