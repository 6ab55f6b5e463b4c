"""What every prompt of a policy keeps to. Prompts are found by glob; a new one is held to this too."""

from pathlib import Path

import pytest
from composing import compose_config
from paths import SEARCH

from codetool.interfaces import Prompt
from codetool.types import Execution, Node, Step, Task

PROMPTS = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "policy_prompt").glob("*.yaml"))
TASK = Task(id="t", query="When did {{ Solaris }} come out?", tools=(SEARCH,))


@pytest.fixture(params=PROMPTS)
def prompt(request: pytest.FixtureRequest) -> Prompt:
    config, _ = compose_config("policy=openai", "policy.model=m", f"policy_prompt@policy.prompt={request.param}")
    made = config.policy.prompt  # type: ignore[attr-defined]
    assert isinstance(made, Prompt)
    return made


def path() -> tuple[Node, ...]:
    node = Node("0")
    for k, execution in enumerate(
        [
            Execution("ok", "417"),
            Execution("ok", "x" * 9000),
            Execution("ok", ""),
            Execution("exception", "half", error="KeyError: 'id'"),
            Execution("tool_failed", '{"status": 404}'),
            Execution("timeout", error="stopped after 10 s"),
            Execution("no_code"),
        ],
        start=1,
    ):
        node = Node(
            f"{node.id}-1", node, k, Step(f"text {k}", None if execution.status == "no_code" else "", False), execution
        )
    return node.path


def test_a_longer_path_extends_the_messages_of_a_shorter_one(prompt: Prompt) -> None:
    whole = prompt.messages(TASK, path())
    assert [message["role"] for message in whole] == ["user", "assistant"] * len(path()) + ["user"]
    for length in range(len(path())):
        assert whole[: 2 * length + 1] == prompt.messages(TASK, path()[:length])


def test_what_was_written_and_seen_is_read_again(prompt: Prompt) -> None:
    messages = prompt.messages(TASK, path())
    assert "{{ Solaris }}" in messages[0]["content"] and SEARCH.path in messages[0]["content"]
    for k, message in enumerate(messages[1::2], start=1):
        assert message["content"].startswith(f"text {k}")
    for seen, message in zip(("417", "xxx", "", "KeyError|half", "404", "stopped", ""), messages[2::2], strict=True):
        assert any(each in message["content"] for each in seen.split("|"))
    assert messages[4]["content"].count("x") < 2000


@pytest.mark.parametrize(
    "raw", ["", " \n", "[The prompt exceeds the context.]", "I do not know.", "\ud800", "{" * 5000]
)
def test_a_text_without_a_step_is_a_step_without_code(prompt: Prompt, raw: str) -> None:
    step = prompt.parse(raw, 3, TASK)
    assert (step.code, step.finished) == (None, False)


def test_a_step_ends_before_its_stop_string(prompt: Prompt) -> None:
    for k in (1, 2, 12):
        assert len(prompt.stop(k)) >= 8  # a shorter one would end what is not over
