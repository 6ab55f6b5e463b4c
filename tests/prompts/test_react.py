"""What models write in the form of ReAct, the step that comes of it, and the request that its code really makes."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from codetool.answers.final_answer import extract_path_answer
from codetool.prompts.react import ReActPrompt
from codetool.types import Execution, Node, Parameter, Step, Task, Tool

YAML = Path(__file__).parents[2] / "conf" / "policy_prompt" / "react.yaml"
SERVER = "https://films.example/3"
SEARCH = Tool("GET_search_person", "GET", SERVER, "/search/person", "Find people.", (Parameter("query", "query"),))
CREDITS = Tool(
    "GET_person_person_id_credits",
    "GET",
    SERVER,
    "/person/{person_id}/credits",
    parameters=(Parameter("person_id", "path", "integer", required=True), Parameter("language", "query")),
)
RATE = Tool(
    "POST_movie_id_rating",
    "POST",
    SERVER,
    "/movie/{id}/rating",
    parameters=(Parameter("value", "body", "number"), Parameter("session", "query")),
)
TASK = Task("t", "Who?", (SEARCH, CREDITS, RATE), preamble="headers = {'accept': 'application/json'}\n")
CALL = "Action: GET_search_person\nAction Input: "
FINISH = "Thought: I know.\nAction: Finish\nAction Input: "


@pytest.fixture(scope="module")
def prompt() -> ReActPrompt:
    fields = yaml.safe_load(YAML.read_text())
    assert fields.pop("_target_") == "codetool.prompts.react.ReActPrompt"
    return ReActPrompt(**fields | {"max_observation_chars": 60})


def requested(code: str | None, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, Any]:
    """Method, address and JSON body of the one request that the code makes."""
    sent: list[requests.PreparedRequest] = []

    def send(self: object, request: requests.PreparedRequest, **_: object) -> requests.Response:
        sent.append(request)
        answer = requests.Response()
        answer.status_code, answer._content = 200, b"{}"
        return answer

    assert code is not None
    monkeypatch.setattr(requests.Session, "send", send)
    exec(code, {"headers": {"accept": "application/json"}})
    [request] = sent
    assert request.headers["accept"] == "application/json"
    assert request.method and request.url
    return request.method, request.url, json.loads(request.body) if request.body else None


# name, what the model wrote, the value of `query` that is really asked for
SEARCHES = [
    ("in format", f'Thought: I look her up.\n{CALL}{{"query": "Ada Moon"}}', "Ada Moon"),
    ("no thought", f'{CALL}{{"query": "Ada Moon"}}', "Ada Moon"),
    ("blank lines", f'Thought: a\n\n\n{CALL}\n\n{{"query": "Ada Moon"}}\n\n', "Ada Moon"),
    ("JSON over lines", CALL + '{\n  "query": "Ada Moon"\n}', "Ada Moon"),
    ("fenced", CALL + '\n```json\n{"query": "Ada Moon"}\n```', "Ada Moon"),
    ("fence on the line", CALL + '```{"query": "Ada Moon"}```', "Ada Moon"),
    ("all fenced", f'```\nThought: a\n{CALL}{{"query": "Ada Moon"}}\n```', "Ada Moon"),
    ("single quotes", CALL + "{'query': 'Ada Moon'}", "Ada Moon"),
    ("apostrophe", CALL + """{'query': "Ada's Moon"}""", "Ada%27s"),
    ("apostrophe in JSON", CALL + """{"query": "Ada's Moon"}""", "Ada%27s"),
    ("brace in a string", CALL + '{"query": "Ada } Moon"} and so on', "Ada %7D Moon"),
    ("escaped quote", CALL + r'{"query": "Ada \"Moon\""}', "Ada %22Moon%22"),
    ("line break in a string", CALL + '{"query": "Ada\nMoon"}', "Ada%0AMoon"),
    ("trailing comma", CALL + '{"query": "Ada Moon",}', "Ada Moon"),
    ("last brace forgotten", CALL + '{"query": "Ada Moon"', "Ada Moon"),
    ("words after", CALL + '{"query": "Ada Moon"}\nThis will find her.', "Ada Moon"),
    ("own observation", CALL + '{"query": "Ada Moon"}\nObservation: {"id": 7}\nThought: b\nAction: x', "Ada Moon"),
    ("runs on", f'{CALL}{{"query": "Ada Moon"}}\n{CALL}{{"query": "Bob"}}', "Ada Moon"),
    ("one line", 'Action: GET_search_person Action Input: {"query": "Ada Moon"}', "Ada Moon"),
    ("one line in all", 'Thought: go. Action: GET_search_person Action Input: {"query": "Ada Moon"}', "Ada Moon"),
    ("call", 'Action: GET_search_person({"query": "Ada Moon"})', "Ada Moon"),
    ("input behind the name", 'Action: GET_search_person {"query": "Ada Moon"}', "Ada Moon"),
    ("input on the next line", 'Action: GET_search_person\n{"query": "Ada Moon"}', "Ada Moon"),
    ("bold", '**Thought:** a\n**Action:** `GET_search_person`\n**Action Input:** {"query": "Ada Moon"}', "Ada Moon"),
    ("numbered", 'Thought 1: a\nAction 1: GET_search_person\nAction Input 1: {"query": "Ada Moon"}', "Ada Moon"),
    ("lower case", 'thought: a\naction: get_search_person\naction input: {"query": "Ada Moon"}', "Ada Moon"),
    ("quoted name", 'Action: "GET_search_person"\nAction Input: {"query": "Ada Moon"}', "Ada Moon"),
    ("name with a full stop", 'Action: GET_search_person.\nAction Input: {"query": "Ada Moon"}', "Ada Moon"),
    ("thought in tags", f'<think>\nAction: Finish\n</think>\n{CALL}{{"query": "Ada Moon"}}', "Ada Moon"),
    ("special token", f'{CALL}{{"query": "Ada Moon"}}<|im_end|>\n<|im_start|>user', "Ada Moon"),
    ("Windows newlines", f'Thought: a\r\n{CALL}{{"query": "Ada Moon"}}\r\n'.replace("\n", "\r\n"), "Ada Moon"),
    ("talks of actions", f'Thought: My last Action found none.\n{CALL}{{"query": "Ada Moon"}}', "Ada Moon"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "asked"), [pytest.param(*case[1:], id=case[0]) for case in SEARCHES])
def test_an_action_is_one_request(prompt: ReActPrompt, raw: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = prompt.parse(raw, 1, TASK)
    assert not step.finished
    method, url, body = requested(step.code, monkeypatch)
    assert (method, body) == ("GET", None)
    assert url.replace("+", " ").startswith(f"{SERVER}/search/person?query={asked}")
    assert prompt.parse(step.text, 1, TASK) == step


# arguments of a tool, and the request they make
CALLS: list[tuple[Tool, dict[str, Any], tuple[str, str, Any]]] = [
    (CREDITS, {"person_id": 7}, ("GET", "/person/7/credits", None)),
    (CREDITS, {"person_id": "a b/c?é"}, ("GET", "/person/a%20b%2Fc%3F%C3%A9/credits", None)),
    (CREDITS, {"person_id": 7, "language": "de"}, ("GET", "/person/7/credits?language=de", None)),
    (CREDITS, {"person_id": 7, "page": 2}, ("GET", "/person/7/credits?page=2", None)),
    (SEARCH, {"query": ["a", "b"]}, ("GET", "/search/person?query=a&query=b", None)),
    (SEARCH, {"query": True}, ("GET", "/search/person?query=true", None)),
    (SEARCH, {"query": None}, ("GET", "/search/person", None)),
    (SEARCH, {}, ("GET", "/search/person", None)),
    (RATE, {"id": 5, "value": 8.5}, ("POST", "/movie/5/rating", {"value": 8.5})),
    (RATE, {"id": 5, "value": 8, "session": "x"}, ("POST", "/movie/5/rating?session=x", {"value": 8})),
    (RATE, {"id": 5, "note": {"deep": [None, True]}}, ("POST", "/movie/5/rating", {"note": {"deep": [None, True]}})),
]


@pytest.mark.parametrize(("tool", "arguments", "expected"), CALLS)
def test_arguments_go_where_the_tool_wants_them(
    prompt: ReActPrompt,
    tool: Tool,
    arguments: dict[str, Any],
    expected: tuple[str, str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = prompt.parse(f"Action: {tool.name}\nAction Input: {json.dumps(arguments)}", 1, TASK)
    method, url, body = requested(step.code, monkeypatch)
    assert (method, url.removeprefix(SERVER), body) == expected


@pytest.mark.parametrize("given", ["", "None", "{}", "null"])
def test_a_tool_may_be_called_without_arguments(prompt: ReActPrompt, given: str) -> None:
    step = prompt.parse(f"{CALL}{given}", 1, TASK)
    assert step.code and "requests.get('https://films.example/3/search/person', headers=headers)" in step.code


def test_headers_are_sent_only_where_they_are_defined(prompt: ReActPrompt) -> None:
    step = prompt.parse(f"{CALL}{{}}", 1, Task("t", "Who?", (SEARCH,)))
    assert step.code and "headers" not in step.code


MISTAKES = [
    ("unknown tool", 'Action: GET_people\nAction Input: {"query": "x"}', "no tool 'GET_people'.*GET_search.*Finish"),
    ("no name", "Action:\nAction Input: {}", "no tool ''"),
    ("prose for JSON", f"{CALL}the person Ada", "GET_search_person is no JSON object.*query"),
    ("list for JSON", f'{CALL}["Ada"]', "no JSON object"),
    ("broken JSON", f'{CALL}{{"query": Ada Moon}}', "no JSON object"),
    ("not a number", f'{CALL}{{"query": NaN}}', "no JSON object"),
    ("infinite", f'{CALL}{{"query": 1e999}}', "no JSON object"),
    ("cut off", f'{CALL}{{"query": "Ada Mo', "no JSON object"),
    ("missing path variable", "Action: GET_person_person_id_credits\nAction Input: {}", "needs person_id"),
    ("finish without an answer", FINISH + '{"return_type": "give_answer"}', "final_answer"),
    ("finish without input", "Action: Finish", "final_answer"),
    ("answer cut off", FINISH + '{"return_type": "give_answer", "final_answer": "It is', "final_answer"),
]  # fmt: skip


@pytest.mark.parametrize(("raw", "message"), [pytest.param(*case[1:], id=case[0]) for case in MISTAKES])
def test_a_mistake_is_code_that_says_what_is_wrong(prompt: ReActPrompt, raw: str, message: str) -> None:
    step = prompt.parse(raw, 1, TASK)
    assert step.code is not None and not step.finished
    with pytest.raises(ValueError, match=message):
        exec(step.code, {})


ANSWERS = [
    ("as asked", FINISH + '{"return_type": "give_answer", "final_answer": "Ada Moon"}', "Ada Moon"),
    ("other order", FINISH + '{"final_answer": "Ada Moon", "return_type": "give_answer"}', "Ada Moon"),
    ("no return type", FINISH + '{"final_answer": "Ada Moon"}', "Ada Moon"),
    ("fenced", FINISH + '```json\n{"return_type": "give_answer", "final_answer": "Ada Moon"}\n```', "Ada Moon"),
    ("single quotes", FINISH + "{'return_type': 'give_answer', 'final_answer': 'Ada Moon'}", "Ada Moon"),
    (
        "quotes inside",
        FINISH + '{"return_type": "give_answer", "final_answer": "It is "Solaris"."}',
        'It is "Solaris".',
    ),
    ("quotes, other order", FINISH + '{"final_answer": "a "b" c", "return_type": "give_answer"}', 'a "b" c'),
    ("line break", FINISH + '{"return_type": "give_answer", "final_answer": "a\nb"}', "a\nb"),
    ("list", FINISH + '{"return_type": "give_answer", "final_answer": ["Ada", "Bob"]}', '["Ada", "Bob"]'),
    ("number", FINISH + '{"return_type": "give_answer", "final_answer": 3}', "3"),
    ("plain text", FINISH + "It was Ada Moon.", "It was Ada Moon."),
    ("brackets", "Thought: so\nAction: Finish[Ada Moon]", "Ada Moon"),
    ("call", 'Action: finish({"return_type": "give_answer", "final_answer": "Ada Moon"})', "Ada Moon"),
    ("no action", "Thought: I know.\nFinal Answer: Ada Moon", "Ada Moon"),
]


@pytest.mark.parametrize(("raw", "answer"), [pytest.param(*case[1:], id=case[0]) for case in ANSWERS])
def test_finish_ends_the_path_with_its_answer(prompt: ReActPrompt, raw: str, answer: str) -> None:
    step = prompt.parse(raw, 3, TASK)
    assert (step.code, step.finished) == (None, True)
    assert extract_path_answer(Node("1", Node("0"), 1, step, Execution("no_code"))) == answer


@pytest.mark.parametrize(
    "raw",
    [
        FINISH + '{"return_type": "give_up_and_restart"}',
        FINISH + "give_up_and_restart",
        FINISH + '{"return_type": "give_up_and_restart", "final_answer": "I could not find it."}',
        FINISH + '{"return_type": give_up_and_restart}',
        "Thought: I do not know what to do.",
        "[A prompt of 5000 and 64 new tokens exceed the context of 4096 tokens.]",
        "Observation: 7",
        "",
    ],
)
def test_giving_up_and_saying_nothing_are_steps_without_code(prompt: ReActPrompt, raw: str) -> None:
    step = prompt.parse(raw, 1, TASK)
    assert (step.code, step.finished) == (None, False)
    assert step.text


def test_every_cut_of_an_answer_is_a_step(prompt: ReActPrompt) -> None:
    raw = SEARCHES[0][1] + "\nObservation: 7\n" + ANSWERS[5][1]
    for end in range(len(raw)):
        assert not prompt.parse(raw[:end], 1, TASK).finished


@pytest.mark.parametrize(
    "unit", ["\n", " ", "Action: ", "Action Input: {", "{", '"', "Thought: a\n", '"final_answer": "']
)
@pytest.mark.parametrize("before", ["", FINISH + "{", CALL + "{"])
def test_endless_repetition_costs_no_time(prompt: ReActPrompt, before: str, unit: str) -> None:
    began = time.process_time()
    prompt.parse(before + unit * (20_000 // len(unit)), 1, TASK)
    assert time.process_time() - began < 0.5


def test_the_model_reads_its_own_words_and_the_answers_of_tools(prompt: ReActPrompt) -> None:
    first = prompt.parse(SEARCHES[0][1], 1, TASK)
    found = Node("1", Node("0"), 1, first, Execution("ok", '{"id": 7}'))
    wrong = Node("1-1", found, 2, Step("Action: x", "raise", False), Execution("exception", "", "ValueError: no tool"))
    failed = Node("1-1-1", wrong, 3, first, Execution("tool_failed", '{"status": 404}', "404"))
    last = Node("1-1-1-1", failed, 4, Step("Ada Moon", None, True), Execution("no_code"))
    messages = prompt.messages(TASK, last.path)
    assert messages[1]["content"] == first.text == SEARCHES[0][1]
    assert [message["content"].strip() for message in messages[2:8:2]] == [
        'Observation: {"id": 7}', "Observation: ValueError: no tool", 'Observation: {"status": 404}'
    ]  # fmt: skip
    assert prompt.parse(messages[7]["content"], 4, TASK) == last.step
    assert all(prompt.stop(1) not in message["content"] for message in messages[1::2])


def test_what_was_tried_ends_the_last_message_and_no_later_one(prompt: ReActPrompt) -> None:
    first = prompt.parse(SEARCHES[0][1], 1, TASK)
    found = Node("1", Node("0"), 1, first, Execution("ok", '{"id": 7}'))
    tried = [
        Node("1-1", found, 2, prompt.parse(f'{CALL}{{"query": "Ada"}}', 2, TASK), Execution("ok", "y" * 70)),
        Node("1-2", found, 2, prompt.parse("Action: GET_x", 2, TASK), Execution("exception", "", "ValueError: no x")),
        Node("1-3", found, 2, prompt.parse(f'{FINISH}{{"return_type": "give_up"}}', 2, TASK), Execution("no_code")),
    ]
    plain, shown = prompt.messages(TASK, found.path), prompt.messages(TASK, found.path, tried)
    assert shown[:-1] == plain[:-1]
    before, _, told = shown[-1]["content"].partition("\n\n")
    assert before == plain[-1]["content"].rstrip()
    assert told.splitlines() == [
        "You have been at this point before, and what you did next led nowhere:",
        "Action: GET_search_person",
        'Action Input: {"query": "Ada"}',
        f"Observation: {'y' * 60}… (10 more characters)",
        "",
        "Action: GET_x",
        "Action Input:",
        "Observation: ValueError: no x",
        "",
        "Thought: I know.",
        "Action: Finish",
        'Action Input: {"return_type": "give_up"}',
        "Observation: (nothing)",
        "",
        "Do something else now: another tool, or other arguments.",
    ]
    assert prompt.messages(TASK, tried[0].path)[: len(plain)] == plain


def test_tools_are_shown_by_the_names_that_actions_use(prompt: ReActPrompt) -> None:
    [message] = prompt.messages(TASK, ())
    assert "GET_search_person: GET /search/person - Find people.\n  query (string, optional)\n" in message["content"]
    assert "Query: Who?" in message["content"] and "{{" not in message["content"]


def test_an_action_at_a_lines_start_goes_before_one_within_a_thought(prompt: ReActPrompt) -> None:
    step = prompt.parse(f'Thought: The next action: search.\n{CALL}{{"query": "Ada"}}', 1, TASK)
    assert step.code is not None and "/search/person" in step.code


def test_a_final_answer_beside_no_action_is_the_answer(prompt: ReActPrompt) -> None:
    step = prompt.parse("Thought: I know.\nAction: None\nFinal Answer: 42", 1, TASK)
    assert (step.text, step.code, step.finished) == ("42", None, True)


def test_an_empty_answer_is_none(prompt: ReActPrompt) -> None:
    step = prompt.parse(f'{FINISH}{{"return_type": "give_answer", "final_answer": " "}}', 1, TASK)
    assert not step.finished and step.code is not None and "final_answer" in step.code


def test_a_line_that_begins_like_an_observation_may_stand_in_an_answer(prompt: ReActPrompt) -> None:
    answer = "Two places:\nObservation Deck\n- Thought experiments"
    step = prompt.parse(f"{FINISH}{json.dumps({'return_type': 'give_answer', 'final_answer': answer})}", 1, TASK)
    assert step.text == answer and step.finished
