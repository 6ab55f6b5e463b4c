"""The stand-in stack of experiments/performance: it leads every search through the same three steps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from growth import fit_exponent
from stand_in_stack import Stack, next_step, write_step
from starlette.testclient import TestClient

from codetool.prompts.step_parser import parse_step

ROOT = Path(__file__).parents[1]


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(Stack("http://127.0.0.1:8900", 0, 0, 0).app()) as made:
        yield made


def test_a_chat_gets_its_next_step_as_often_as_it_asks(client: TestClient) -> None:
    messages = [{"role": "user", "content": "Who?"}]
    for k in (1, 2, 3):
        answer = client.post("/v1/chat/completions", json={"model": "m", "messages": messages, "n": 2}).json()
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        steps = [parse_step(text, k) for text in texts]
        assert (texts[0] == texts[1]) == (k > 1) and answer["usage"]["completion_tokens"] == 160
        assert all(step.code and step.finished == (k == 3) for step in steps)
        messages += [{"role": "assistant", "content": f"{texts[0]}\n[Step {k} Finished]"}, messages[0]]
    assert next_step(messages) == 3
    counts = client.get("/stats").json()
    assert (counts["llm"], counts["llm_choices"], counts["max_inflight"]) == (3, 6, 1)


def test_the_program_runs_against_the_film_service(client: TestClient) -> None:
    film = client.get("/3/search/movie?query=x").json()["results"][0]
    assert client.get(f"/3/movie/{film['id']}/credits").json()["cast"][0]["name"] == "Ada Example"
    assert client.post("/generate", json={"messages": []}).json() == {"response": 0.7}
    assert client.get("/stats").json()["api"] == 2 and client.get("/stats").json()["prm"] == 1
    assert "http://here/3/search/movie" in write_step(1, 0, "http://here")


def test_a_longer_program_asks_more_often() -> None:
    steps = [parse_step(write_step(k, 0, "http://here", 5), k) for k in range(1, 6)]
    assert [step.finished for step in steps] == [False] * 4 + [True]
    assert ["credits" in (step.code or "") for step in steps] == [False, True, True, True, True]
    assert next_step([{"role": "assistant", "content": "[Step 4 Finished]"}], 5) == 5


def test_an_exponent_is_fitted_to_costs() -> None:
    assert fit_exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)
    assert fit_exponent([1, 10, 100], [5, 5, 5]) == pytest.approx(0)


def test_commands_of_the_readme_are_files_of_this_checkout_and_nothing_needs_a_folder_beside_it() -> None:
    pages = [
        ROOT / "README.md",
        *ROOT.glob("docs/*.md"),
        *ROOT.glob("experiments/**/*.md"),
        *ROOT.glob("codetool/**/*.md"),
    ]
    named = {name for page in pages for name in re.findall(r"python (experiments/\S+\.py)", page.read_text())}
    assert named and not [name for name in named if not (ROOT / name).is_file()]
    sources = [*ROOT.glob("experiments/**/*.py"), *ROOT.glob("codetool/**/*.py"), *pages]
    assert not [file for file in sources if re.search(r"""ROOT\.parent\b|\.\./shared|/shared/""", file.read_text())]
