"""Prompts of a tree, encoded for a report, are decoded to the same messages, in little space."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from codetool.evaluation.prompt_encoding import LinePool, PromptEncoder, decode_prompt
from codetool.types import Execution, Node, Step

Messages = list[dict[str, str]]

TEXT = st.text(alphabet=st.sampled_from('ab\n"é\U0001f600\ud83d\x1e\x1f\u2028'), max_size=60).map(lambda text: text * 3)
ROOT = Node("0")


def make_node(parent: Node, place: int, text: str, observation: str) -> Node:
    node_id = f"{parent.id}-{place}" if parent.depth else str(place)
    return Node(node_id, parent, parent.depth + 1, Step(text, None, False), Execution("ok", observation))


def chat(parts: Sequence[str]) -> Messages:
    return [{"role": "user" if place % 2 == 0 else "assistant", "content": part} for place, part in enumerate(parts)]


def ask(node: Node, instruction: str) -> Messages:
    """A prompt of the policy's form: what was asked, then each step of the path with what it printed."""
    before = [each for each in node.path[:-1] if each.step and each.execution]
    parts = [instruction]
    for each in before:
        assert each.step and each.execution
        parts += [f"{each.step.text}\n[Finished]", f"Output:\n{each.execution.observation.strip()[:50]}\nGo on."]
    return chat(parts)


def judge(node: Node, instruction: str) -> Messages:
    """A prompt of the PRM's form: one message that ends with the step."""
    assert node.step
    return chat(["Judge.", "".join(each["content"] for each in ask(node, instruction)) + node.step.text])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=4, max_size=4), st.lists(TEXT, min_size=2, max_size=2))
def test_every_prompt_comes_back(texts: list[tuple[str, str]], instructions: list[str]) -> None:
    pool = LinePool()
    for instruction in instructions:  # two tasks
        first, second = (make_node(ROOT, place, *texts[place - 1]) for place in (1, 2))
        third, fourth = (make_node(first, place, *texts[place + 1]) for place in (1, 2))
        nodes = {node.id: node for node in (first, second, third, fourth)}
        for form in (ask, judge):
            encoder = PromptEncoder(pool)
            prompts = {node_id: form(node, instruction) for node_id, node in nodes.items()}
            encoded = json.loads(json.dumps({key: encoder.encode(nodes[key], chat) for key, chat in prompts.items()}))
            assert {key: decode_prompt(encoded, key, nodes, pool.lines) for key in nodes} == prompts


def test_what_prompts_share_is_stored_once() -> None:
    pool, instruction = LinePool(), "\n".join(f"GET /tool/{number}" for number in range(200))
    sizes = []
    for task in range(20):
        encoder = PromptEncoder(pool)
        node, encoded = ROOT, {}
        for depth in range(5):
            node = make_node(node, 1, f"step {depth} of {task}: " + "x" * 500, f"printed {depth} " + "y" * 500)
            encoded[node.id] = encoder.encode(node, ask(node, f"{instruction}\nQuery {task}"))
        sizes.append(len(json.dumps(encoded)))
    assert len(pool.lines) == 220 and max(sizes) < 2500
    plain = sum(len(json.dumps(ask(each, instruction))) for each in node.path if each.step)
    assert plain > 15_000
