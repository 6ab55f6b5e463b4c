"""The transcript: format, prefixes, what a model gets to see."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from codetool.errors import ConfigError
from codetool.prompts.executed_steps import truncate_output
from codetool.prompts.jinja import PromptTemplate, compile_template
from codetool.prompts.policy_prompt import StepPrompt
from codetool.prompts.step_format import strip_markers
from codetool.types import STDERR_MARK, Execution, Node, Parameter, Step, Task, Tool, format_observation

YAML = Path(__file__).parents[2] / "conf" / "policy_prompt" / "stepwise.yaml"

TOOLS = (
    Tool(
        name="GET_movie_movie_id_credits",
        method="GET",
        server="https://api.themoviedb.org/3",
        path="/movie/{movie_id}/credits",
        summary="Cast and crew\nof a movie.",
        parameters=(
            Parameter("movie_id", "path", "integer", required=True),
            Parameter("language", "query", description="Language of\n the texts.", default="en-US"),
            Parameter("sort", "query", choices=("up", "down")),
        ),
        response={"id": "integer", "cast": [{"name": "string"}]},
    ),
    Tool(name="GET_x", method="GET", server="https://x.example", path="/x"),
)
TASK = Task(id="t", query="Who plays in {{ Solaris }}?", tools=TOOLS)


def stepwise(observation: int = 50) -> StepPrompt:
    fields = yaml.safe_load(YAML.read_text())
    assert fields.pop("_target_") == "codetool.prompts.policy_prompt.StepPrompt"
    return StepPrompt(**fields | {"max_observation_chars": observation})


def after(parent: Node, execution: Execution, finished: bool = False) -> Node:
    k = parent.depth + 1
    text = f"##Step {k}: go\nPython Code:\n```python\nprint({k})\n```" + "\n[All Finished]" * finished
    return Node(id="1", parent=parent, depth=k, step=Step(text, f"print({k})", finished), execution=execution)


def chain(*executions: Execution) -> Node:
    node = Node(id="0")
    for execution in executions:
        node = after(node, execution)
    return node


def rendered(messages: list[dict[str, str]]) -> str:
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)


EXECUTIONS = [
    Execution("ok", "417"),
    Execution("ok", "x" * 80),
    Execution("ok", ""),
    Execution("exception", "half", error="KeyError: 'id' (line 2: x['id'])"),
    Execution("timeout", error="stopped after 10 s"),
    Execution("no_code"),
]


def test_a_longer_path_extends_the_messages_of_a_shorter_one() -> None:
    prompt = stepwise()
    path = chain(*EXECUTIONS).path
    for shorter in range(len(path)):
        for longer in range(shorter + 1, len(path) + 1):
            before, now = prompt.messages(TASK, path[:shorter]), prompt.messages(TASK, path[:longer])
            assert now[: len(before)] == before
            assert rendered(now).startswith(rendered(before))


def test_roles_alternate_and_every_step_is_closed_by_its_marker() -> None:
    messages = stepwise().messages(TASK, chain(*EXECUTIONS).path)
    assert [m["role"] for m in messages] == ["user", "assistant"] * len(EXECUTIONS) + ["user"]
    for k, message in enumerate(messages[1::2], start=1):
        assert message["content"].endswith(f"\n[Step {k} Finished]")
    for k, message in enumerate(messages[::2], start=1):
        assert message["content"].rstrip().endswith(f"Write ##Step {k}.")


def test_all_finished_stands_before_the_closing_marker() -> None:
    last = after(Node(id="0"), Execution("ok", "7"), finished=True)
    assert stepwise().messages(TASK, [last])[1]["content"].endswith("[All Finished]\n[Step 1 Finished]")


def test_tools_are_shown_whole_and_on_few_lines() -> None:
    text = stepwise().messages(TASK, ())[0]["content"]
    assert "GET https://api.themoviedb.org/3/movie/{movie_id}/credits - Cast and crew of a movie.\n" in text
    assert "  movie_id (path, integer, required)\n" in text
    assert '  language (query, string, optional, default "en-US"): Language of the texts.\n' in text
    assert "  sort (query, string, optional) One of: up, down\n" in text
    assert '  returns {"id":"integer","cast":[{"name":"string"}]}\n' in text
    assert "GET https://x.example/x\n\nQuery: Who plays in {{ Solaris }}?\n" in text


def test_optional_parameters_are_shown_where_none_is_required() -> None:
    tool = Tool(name="a", method="GET", server="https://x.example", path="/", parameters=(Parameter("page", "query"),))
    assert "page (query, string, optional)" in stepwise().messages(Task("t", "q", (tool,)), ())[0]["content"]


def test_the_method_markers_are_explained() -> None:
    text = stepwise().messages(TASK, ())[0]["content"]
    for marker in ("##Step 1:", "Python Code:", "```python", "[Step 1 Finished]", "[All Finished]", "`headers`"):
        assert marker in text


def test_instruction_without_tools_is_short() -> None:
    assert len(stepwise().messages(Task("t", "q", ()), ())[0]["content"]) < 2200


@pytest.mark.parametrize("length", [49, 50, 51, 5000])
def test_observation_is_cut(length: int) -> None:
    text = stepwise(50).messages(TASK, chain(Execution("ok", "ä" * length)).path)[-1]["content"]
    assert text.count("ä") == min(length, 50)
    assert ("more characters" in text) == (length > 50)


def test_error_is_shown_whatever_was_printed_before() -> None:
    failed = Execution("exception", "y" * 5000, error="ValueError: boom (line 1: f())")
    text = stepwise(50).messages(TASK, chain(failed).path)[-1]["content"]
    assert "ValueError: boom (line 1: f())" in text
    assert text.count("y") >= 50


def test_a_long_error_is_cut_like_an_output() -> None:
    failed = Execution("exception", error="ValueError: " + "y" * 5000)
    assert stepwise(50).messages(TASK, chain(failed).path)[-1]["content"].count("y") == 50 - len("ValueError: ")


def test_templates_do_not_render_what_tools_and_models_wrote() -> None:
    text = stepwise().messages(TASK, chain(Execution("ok", "{{ 7 * 6 }} {% raw %}")).path)[-1]["content"]
    assert "{{ 7 * 6 }} {% raw %}" in text


def test_undefined_name_in_a_template_is_an_error() -> None:
    with pytest.raises(ValidationError, match="uses qurey; it may use observation, query, response, tools"):
        StepPrompt(instruction="{{ qurey }}", result="", max_observation_chars=1, max_response_chars=1)


def test_broken_template_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="line 2"):
        StepPrompt(instruction="a\n{% if %}", result="", max_observation_chars=1, max_response_chars=1)


def test_a_node_that_was_not_executed_is_refused() -> None:
    with pytest.raises(ValueError, match="node 0"):
        stepwise().messages(TASK, [Node(id="0")])


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("##Step 3: It is 7.\n[All Finished]\n[Step 3 Finished]", "It is 7."),
        ("It is 7.", "It is 7."),
        ("##Step 1:\n7\n[All Finished]", "7"),
        ("", ""),
    ],
)
def test_words_are_the_text_outside_the_markers(text: str, answer: str) -> None:
    assert strip_markers(text) == answer


@pytest.mark.parametrize("field", ["instruction", "result"])
@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ cycler.__init__.__globals__.os.popen('id') }}", "__"), ("{{ ''['__class__'] }}", "__class__"),
        ("{{ query | attr('__class__') }}", "__class__"), ("{{ lipsum.__globals__ }}", "__globals__"),
        ("{% set x = self._TemplateReference__context %}", "_TemplateReference__context"),
        ("{{ [k] | map(attribute='__class__') | list }}", "__class__"),
        ("{{ nobody }}", "nobody"), ("{% if %}", "line 1"),
    ],
)  # fmt: skip
def test_a_template_that_reaches_further_is_refused_by_its_option(field: str, template: str, said: str) -> None:
    words_ = yaml.safe_load(YAML.read_text()) | {"max_observation_chars": 50, field: template}
    del words_["_target_"]
    with pytest.raises(ValidationError) as refused:
        StepPrompt(**words_)
    [error] = refused.value.errors()
    assert error["loc"] == (field,)
    assert said in error["msg"]


@pytest.mark.parametrize(
    "template",
    [
        "{% set name = '__cla' ~ 'ss__' %}{{ query[name] }}", "{{ query | attr('__cla' ~ 'ss__') }}",
        "{{ query.nobody }}",
        "{{ tools.nobody.more }}", "{% for i in range(10 ** 9) %}{% endfor %}", "{{ tools.append(1) }}",
        "{{ '{0.__class__}'.format(query) }}",
    ],
)  # fmt: skip
def test_what_only_rendering_shows_is_one_line(template: str) -> None:
    values = {"query": "q", "tools": []}
    with pytest.raises(ConfigError) as refused:
        assert "class" not in compile_template(template).render(**values)
        raise ConfigError("nothing was shown")
    assert "\n" not in str(refused.value)


WRITTEN = Execution("ok", format_observation("417", "WARNING:root:old"), stderr="WARNING:root:old")


@pytest.mark.parametrize("limit", [8, 40, 60, 200])
@pytest.mark.parametrize("printed", ["417", "x" * 300, ""])
def test_what_a_step_wrote_to_stderr_is_shown_within_the_limit(printed: str, limit: int) -> None:
    ran = Execution(
        "ok", format_observation(printed, "a\n" * 90 + "WARNING:root:old"), stderr="a\n" * 90 + "WARNING:root:old"
    )
    shown, cut = truncate_output(ran, limit)
    assert len(shown) <= limit
    assert shown.endswith("old")
    assert cut == 0 or cut <= len(printed)


def test_an_output_without_stderr_is_cut_at_its_end() -> None:
    assert truncate_output(Execution("ok", "x" * 80), 50) == ("x" * 50, 30)
    assert truncate_output(Execution("ok", " 417\n"), 50) == ("417", 0)


def test_stderr_is_part_of_the_next_prompt() -> None:
    told = stepwise(200).messages(TASK, chain(WRITTEN).path)[-1]["content"]
    assert f"Output of step 1:\n417\n{STDERR_MARK}\nWARNING:root:old\n" in told


def test_the_first_message_is_rendered_once_for_a_task_and_again_for_other_tools(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rendered = []
    real = PromptTemplate.render

    def render(template: PromptTemplate, **values: object) -> str:
        rendered.append(values)
        return real(template, **values)

    monkeypatch.setattr(PromptTemplate, "render", render)
    task = replace(TASK, id="first", tools=(*TOOLS,), query="Which tools are asked for once?")
    first, again = (stepwise().messages(each, ()) for each in (task, replace(task, id="second")))
    assert first == again and len(rendered) == 1
    fewer = stepwise().messages(replace(task, tools=TOOLS[:1]), ())
    assert fewer != first and len(rendered) == 2
    assert stepwise().messages(replace(task, query="Another?"), ()) != first and len(rendered) == 3
