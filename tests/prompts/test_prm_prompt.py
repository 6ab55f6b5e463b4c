"""What a PRM reads: it only ever grows, and holds nothing that was not known before the step ran."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from codetool.prompts.prm_prompt import PRMPrompt
from codetool.types import Execution, Node, Parameter, Step, Task, Tool

WORDS = yaml.safe_load((Path(__file__).parents[2] / "conf" / "prm_prompt" / "stepwise.yaml").read_text())
PROMPT = PRMPrompt(**{name: value for name, value in WORDS.items() if name != "_target_"})
TOOL = Tool(
    "GET_a", "GET", "http://films", "/a", "Lists films", (Parameter("query", "query"), Parameter("page", "query"))
)
TASK = Task("t", "Who directed it?", (TOOL,))


def step(text):
    return Step(text, "pass", finished=False)


def path(*executions, status="ok"):
    node, nodes = Node(id="0"), []
    for k, observation in enumerate(executions, start=1):
        ran = Execution(status, observation, "KeyError: 'id'" if status == "exception" else None)
        node = Node(id=f"{node.id}-1", parent=node, depth=k, step=step(f"##Step {k}: way"), execution=ran)
        nodes.append(node)
    return nodes


def user(*arguments):
    return PROMPT.messages(TASK, *arguments)[1]["content"]


def test_a_longer_path_extends_the_text():
    nodes = path("three films", "one film", "nothing")
    texts = [user(nodes[:k], nodes[k].step) for k in range(3)]
    assert texts[1].startswith(texts[0]) and texts[2].startswith(texts[1])
    assert len(set(texts)) == 3


def test_siblings_share_all_but_their_own_step():
    one, other = (user(path("three films"), step(text)) for text in ("look here", "look there"))
    assert one.removesuffix("look here") == other.removesuffix("look there")


def test_the_order_is_tools_question_steps_with_observations_and_the_step_to_judge():
    text = user(path("three films", "one film"), step("the last"))
    parts = ["GET /a(query, page) Lists films", "Who directed it?", "##Step 1", "three films", "##Step 2", "one film"]
    places = [text.index(part) for part in [*parts, "the last"]]
    assert places == sorted(places)
    assert text.endswith("the last")


def test_a_step_is_judged_without_what_it_printed_unless_that_is_given():
    nodes = path("three films", "the secret")
    before, after = user(nodes[:1], nodes[1].step), user(nodes[:1], nodes[1].step, nodes[1].execution)
    assert "the secret" not in before and after.startswith(before) and "the secret" in after
    assert user(nodes, step("next")).startswith(after)


def test_an_observation_is_cut_and_its_error_survives():
    text = user(path("§" * 5000, status="exception"), step("next"))
    assert text.count("§") == PROMPT.max_observation_chars - len("\nKeyError: 'id'")
    assert "KeyError: 'id'" in text and "exception" in text


def test_an_observation_without_an_error_has_all_the_room():
    assert user(path("§" * 5000), step("next")).count("§") == PROMPT.max_observation_chars


def test_the_question_and_the_system_message_are_the_only_messages():
    assert [message["role"] for message in PROMPT.messages(TASK, [], step("a"))] == ["system", "user"]


def test_a_path_that_was_not_executed_is_refused():
    with pytest.raises(ValueError, match="no executed step"):
        user([Node(id="1", step=step("a"))], step("b"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": "{{ question }}"}, "uses question; it may use query, tools"),
        ({"step": "{% for %}"}, "not a Jinja template, line 1"),
        ({"system": "{{ query }}"}, "no names"),
        ({"max_observation_chars": 0}, "greater than 0"),
    ],
)
def test_a_template_that_cannot_be_rendered_is_refused_at_once(change, said):
    with pytest.raises(ValidationError, match=said):
        PRMPrompt(**({name: value for name, value in WORDS.items() if name != "_target_"} | change))
