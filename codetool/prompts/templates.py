"""The transcript of a path, as chat messages: for the policy that writes steps and for the PRM that judges them.

A path only ever extends its messages: what is sent after step k+1 starts with exactly what was sent after step k, and
siblings share all of it. Prefix caches, batched scoring and packed training rely on this. The words are templates that
live in `conf/policy_prompt/` and `conf/prm_prompt/`.

Limits: observations are cut at a number of characters, tool documents are not; a prompt may exceed a model's context.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Protocol

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator, ConfigDict, NonNegativeInt, PositiveInt, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.prompts.step_format import format_stop_marker
from codetool.prompts.step_parser import parse_step
from codetool.types import Execution, Node, Step, Task, format_stderr

Message = dict[str, str]
"""One chat message: `role` (system, user or assistant) and `content`."""


def merge_system_message(messages: Sequence[Mapping[str, str]]) -> list[Message]:
    """The messages with the text of a system message at the start of the user's that follows it."""
    chat: list[Message] = []
    pending = ""
    for message in messages:
        if message["role"] == "system":
            pending = join_paragraphs(pending, message["content"])
            continue
        if pending and message["role"] == "user":
            message, pending = {**message, "content": join_paragraphs(pending, message["content"])}, ""
        chat.append(dict(message))
    return [*chat, {"role": "user", "content": pending}] if pending else chat


def merge_same_roles(messages: Sequence[Mapping[str, str]]) -> list[Message]:
    """The messages with neighbours of one role as one message, for models whose roles must alternate."""
    chat: list[Message] = []
    for message in messages:
        if chat and chat[-1]["role"] == message["role"]:
            chat[-1]["content"] = join_paragraphs(chat[-1]["content"], message["content"])
        else:
            chat.append(dict(message))
    return chat


def join_paragraphs(first: str, second: str) -> str:
    """Two texts with an empty line between them; a blank one is left out."""
    return "\n\n".join(part for part in (first, second) if part.strip())


def _validate_policy_template(source: str, field: ValidationInfo) -> str:
    """The template. Raises ValueError if it is none, or uses a name or an attribute that it must not."""
    return validate_template(source, POLICY_TEMPLATE_VARIABLES.get(field.field_name or ""))


POLICY_TEMPLATE_VARIABLES = {
    "instruction": frozenset({"tools", "query", "observation", "response"}),
    "result": frozenset({"k", "status", "output", "error", "cut"}),
    "tried": frozenset({"k", "ways"}),
    "system": frozenset[str](),
    "request": frozenset({"query", "finished", "steps"}),
}
"""The names that the templates of a policy's prompts are given, by field; a plug-in's other fields may see others."""
Template = Annotated[str, AfterValidator(_validate_policy_template)]
"""A Jinja template as it stands in YAML."""


class PolicyTemplates(Protocol):
    """The words of a policy's prompt, and how much is shown of what fills them."""

    @property
    def instruction(self) -> str:
        """Jinja template of the first user message."""
        ...

    @property
    def result(self) -> str:
        """Jinja template of the user message after a step."""
        ...

    @property
    def tried(self) -> str:
        """Jinja template of what ends the last message where steps were tried before."""
        ...

    @property
    def observation(self) -> int:
        """Highest number of characters of a step's output."""
        ...

    @property
    def response(self) -> int:
        """Highest number of characters of a tool's response shape."""
        ...


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class StepPrompt:
    """How a task and a path become chat messages, and a text in the step format becomes a step."""

    instruction: Template
    """Jinja template of the first user message; sees `tools`, `query`, `observation` and `response`."""
    result: Template
    """Jinja template of the user message after a step; sees `k` (one-based), `status`, `output`, `error`, `cut`."""
    observation: PositiveInt
    """Highest number of characters of a step's output, and apart from it of its error, that are shown."""
    response: NonNegativeInt
    """Highest number of characters of a tool's response shape that are shown."""
    tried: Template = ""
    """Jinja template of what ends the last message where steps were tried before; sees `k`, the number of the step that
    is asked for, and `ways`: of each `text` and what `result` sees but `k`. An empty one shows nothing."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[Message]:
        """The messages that ask for step `len(path) + 1`. Raises ValueError as `conversation` does."""
        return build_messages(self, task, path, tried, format_finished_step)

    def stop(self, k: int) -> str:
        """The marker that closes step k (one-based)."""
        return format_stop_marker(k)

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The step that `raw` holds, as step k (one-based); one without code where it holds none. Never raises."""
        return parse_step(raw, k)


def format_finished_step(k: int, step: Step) -> str:
    """A step in the step format as its model wrote it, with the marker that closes it."""
    return f"{step.text}\n{format_stop_marker(k)}"


def build_messages(
    words: PolicyTemplates, task: Task, path: Sequence[Node], tried: Sequence[Node], said: Callable[[int, Step], str]
) -> list[Message]:
    """The messages that ask for step `len(path) + 1`: user and assistant in turn, the first and the last a user's.

    `said` is what the assistant's message of step k (one-based) holds. Only the last message tells of the steps that
    were `tried` there. Raises ValueError for a node that has no step or was not executed.
    """
    first = compile_template(words.instruction).render(
        tools=task.tools, query=task.query, observation=words.observation, response=words.response
    )
    messages = [{"role": "user", "content": first}]
    for k, node in enumerate(path, start=1):
        step, execution = require_executed(node)
        messages += [
            {"role": "assistant", "content": said(k, step)},
            {
                "role": "user",
                "content": compile_template(words.result).render(k=k, **_result_variables(words, execution)),
            },
        ]
    k = len(path) + 1
    ways = [
        {"text": said(k, step), **_result_variables(words, execution)}
        for step, execution in map(require_executed, tried)
    ]
    if ways and (told := compile_template(words.tried).render(k=k, ways=ways).strip()):
        messages[-1]["content"] = f"{messages[-1]['content'].rstrip()}\n\n{told}"
    return messages


def require_executed(node: Node) -> tuple[Step, Execution]:
    if node.step is None or node.execution is None:
        raise ValueError(f"node {node.id} has no executed step; a path starts below the root and is executed")
    return node.step, node.execution


def _result_variables(words: PolicyTemplates, execution: Execution) -> dict[str, str | int]:
    """What a template sees of a step's execution."""
    output, cut = truncate_output(execution, words.observation)
    return {
        "status": execution.status,
        "output": output,
        "error": (execution.error or "")[: words.observation],
        "cut": cut,
    }


def truncate_output(execution: Execution, limit: int) -> tuple[str, int]:
    """An observation in at most so many characters, and how many are missing.

    What the step wrote to `sys.stderr` stands at its end and is kept, up to half of the characters: it says most.
    """
    output = execution.observation.strip()
    if len(output) <= limit or not execution.stderr:
        return output[:limit], max(0, len(output) - limit)
    written = execution.stderr.rstrip()
    kept = format_stderr(written[max(0, len(written) - limit // 2) :])[-limit:]
    printed = execution.printed.strip()
    shown = printed[: max(0, limit - len(kept) - 1)]
    return f"{shown}\n{kept}" if shown else kept, len(printed) - len(shown)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PRMPrompt:
    """How a task, a path and a proposed step become what a PRM reads; the only place that renders it.

    A system and a user message, as the reference's server takes them. The user message is the templates one after the
    other, task, step, result, step, …, and ends with the step to judge: so the text of a longer path begins with the
    text of the shorter one whatever the templates say, and siblings differ in their own step alone.
    """

    system: str
    """Jinja template of the system message; sees nothing of the task."""
    task: str
    """Jinja template of the user message's start; sees `tools` and `query`."""
    step: str
    """Jinja template of one step; sees `k` (one-based) and `text`."""
    result: str
    """Jinja template of what a step did; sees `k`, `status` and `observation`."""
    observation: PositiveInt
    """Highest number of characters of an observation that are shown; the error that ended it is cut last."""

    @field_validator("system", "task", "step", "result")
    @classmethod
    def _validate_templates(cls, source: str, field: ValidationInfo) -> str:
        return validate_template(source, PRM_TEMPLATE_VARIABLES[field.field_name or ""])

    def messages(
        self, task: Task, path: Sequence[Node], step: Step, execution: Execution | None = None
    ) -> list[Message]:
        """The two messages that ask what `step` is worth after `path`.

        `execution` is what the step itself did, for a PRM that is shown it. Raises ValueError for a node of the path
        that has no step or was not executed.
        """
        messages = self.with_candidate(self.prefix_messages(task, path), len(path) + 1, step.text)
        if execution is not None:
            messages[-1]["content"] += self._render_result(len(path) + 1, execution)
        return messages

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """The two messages without the step to judge: what all steps after `path` have in common."""
        parts = [compile_template(self.task).render(tools=task.tools, query=task.query)]
        for k, node in enumerate(path, start=1):
            step, execution = require_executed(node)
            parts += [self._render_step(k, step.text), self._render_result(k, execution)]
        system = compile_template(self.system).render()
        first = [{"role": "system", "content": system}] if system.strip() else []
        return [*first, {"role": "user", "content": "".join(parts)}]

    def with_candidate(self, before: Sequence[Mapping[str, str]], k: int, text: str) -> list[Message]:
        """The messages that ask for a step's worth: those `before` it, with its text as step k (one-based) added."""
        messages = [dict(message) for message in before]
        messages[-1]["content"] += self._render_step(k, text)
        return messages

    def _render_step(self, k: int, text: str) -> str:
        return compile_template(self.step).render(k=k, text=text)

    def _render_result(self, k: int, execution: Execution) -> str:
        error = (execution.error or "")[: self.observation]
        room = max(0, self.observation - (len(error) + 1 if error else 0))
        printed = truncate_output(execution, room)[0] if execution.stderr else execution.observation[:room]
        seen = "\n".join(part for part in (printed, error) if part)
        return compile_template(self.result).render(k=k, status=execution.status, observation=seen)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PairwisePRMPrompt:
    """How a task, a path and two proposals for its next step become what a PRM reads that chooses between them.

    All but the proposals is rendered by a `PRMPrompt`, whose rule for longer paths therefore holds; they come last.
    """

    steps: PRMPrompt
    """How the task and the path are shown, and the system message."""
    pair: str
    """Jinja template of the two proposals, after all else; sees `k` (one-based, of both), `first` and `second`."""

    @field_validator("pair")
    @classmethod
    def _validate_template(cls, source: str) -> str:
        return validate_template(source, frozenset({"k", "first", "second"}))

    def messages(self, task: Task, path: Sequence[Node], first: Step, second: Step) -> list[Message]:
        """The two messages that ask which of two steps after `path` has more potential. Raises as `before` does."""
        return self.with_candidates(self.prefix_messages(task, path), len(path) + 1, first.text, second.text)

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[Message]:
        """The two messages without the proposals. Raises ValueError for a node of the path that was not executed."""
        return self.steps.prefix_messages(task, path)

    def with_candidates(self, before: Sequence[Mapping[str, str]], k: int, first: str, second: str) -> list[Message]:
        """The messages that ask for the choice: those `before` it, with two texts for step k (one-based) added."""
        messages = [dict(message) for message in before]
        messages[-1]["content"] += compile_template(self.pair).render(k=k, first=first, second=second)
        return messages


def validate_template(source: str, allowed: frozenset[str] | None) -> str:
    """The template. Raises ValueError if it is none, or uses a private attribute or a name that it is not given.

    Without `allowed` names any name may be used.
    """
    try:
        tree = create_environment().parse(source)
        unknown = meta.find_undeclared_variables(tree) - (allowed or frozenset())
    except TemplateSyntaxError as error:
        raise ValueError(f"not a Jinja template, line {error.lineno}: {error.message}") from error
    if private := _find_private_attribute(tree):
        raise ValueError(f"uses the private attribute {private}; a template may use public ones of what it is given")
    if unknown and allowed is not None:
        names = ", ".join(sorted(allowed)) or "no names"
        raise ValueError(f"uses {', '.join(sorted(unknown))}; it may use {names}")
    return source


def _find_private_attribute(tree: nodes.Template) -> str | None:
    """The first attribute with a leading underscore that a template names, whichever way it does."""
    found = [each.attr for each in tree.find_all(nodes.Getattr)]
    found += [str(each.arg.value) for each in tree.find_all(nodes.Getitem) if isinstance(each.arg, nodes.Const)]
    filters = (each for each in tree.find_all(nodes.Filter) if each.name in ("attr", "map") and each.node is not None)
    constants = (value for each in filters for value in [*each.args, *(pair.value for pair in each.kwargs)])
    found += [str(value.value) for value in constants if isinstance(value, nodes.Const)]
    return next((name for name in found if name.startswith("_")), None)


PRM_TEMPLATE_VARIABLES = {
    "system": frozenset[str](),
    "task": frozenset({"tools", "query"}),
    "step": frozenset({"k", "text"}),
    "result": frozenset({"k", "status", "observation"}),
}
"""The names that each template of a `PRMPrompt` is given."""


class PromptTemplate:
    """A compiled template."""

    def __init__(self, source: str) -> None:
        """Compile it. Raises jinja2.TemplateSyntaxError if it is no template."""
        self._source = source
        self._template = create_environment().from_string(source)

    def render(self, **values: object) -> str:
        """The text. Raises ConfigError, in one line, for an undefined name or a private attribute."""
        try:
            return self._template.render(**values)
        except (TemplateError, OverflowError) as error:
            begins = " ".join(self._source.split())[:60]
            raise ConfigError(f"the prompt template that begins {begins!r} cannot be rendered: {error}") from error


@lru_cache(maxsize=64)
def compile_template(source: str) -> PromptTemplate:
    """The compiled template. Compiled once a process."""
    return PromptTemplate(source)


def create_environment() -> ImmutableSandboxedEnvironment:
    """How templates are read: `compact` and `line` filter, a block leaves no blank line, undefined names are errors.

    A template comes with an experiment of somebody else, so it reaches what it is given and nothing more.
    """
    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
    made.filters.update(compact=_format_compact_json, line=_shorten_to_line)
    return made


def _format_compact_json(value: Any, limit: int) -> str:
    """JSON without blanks, cut at `limit` characters."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if len(text) <= limit else text[:limit] + "…"


def _shorten_to_line(text: str, limit: int = 100) -> str:
    """The text on one line, cut at a word before `limit` characters."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0] + "…"
