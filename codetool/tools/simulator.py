"""Tool simulator (`simulator=…`): a language model that answers tool calls that no recording answers.

The prompt holds the operation's document, the arguments and recorded calls of the same operation. The generated answer
is checked against their shape, marked `simulated` and recorded with the simulator's checksum, so that the same call has
the same answer in this run and in later ones. An answer that does not match is requested again; after `attempts`
failures the call is a miss, and nothing is recorded.

After the simulators of StableToolBench (arXiv 2403.07714) and MirrorAPI (arXiv 2503.20527).
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from jinja2 import TemplateSyntaxError
from pydantic import ConfigDict, Field, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from codetool.errors import CodeToolError, MissingError, PromptRefusedError
from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.http.replicas import stick_to_replica
from codetool.http.replicated_chat import Chat, open_chat
from codetool.interfaces import Examples
from codetool.prompts.jinja import compile_template
from codetool.prompts.messages import Message
from codetool.prompts.model_text import extract_visible_text
from codetool.runs.bounded_input import read_text
from codetool.runs.operational import Checksummed, Operational
from codetool.tool_calls.toolbench_api import Api, parse_data
from codetool.tools.call_key import compute_call_key
from codetool.tools.error_answers import make_error_answer
from codetool.tools.request_limits import shorten
from codetool.tools.toolbench.reply_parser import Reply, parse_reply
from codetool.types import JSON, Parameter, ToolAnswer, ToolCall

log = logging.getLogger(__name__)

_FENCE = re.compile(r"^\s*```\w*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_ERROR_FIELD = re.compile(r'"error"\s*:\s*"')
_RESPONSE_FIELD = re.compile(r'"\s*,\s*"response"\s*:\s*"?')


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoSimulator:
    """The option without a simulator: unanswered calls are misses."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class ModelSimulatorConfig(EndpointConfig):
    """Settings of a simulator behind an OpenAI-compatible endpoint."""

    tools_mode: Annotated[Literal["simulated"], Operational]
    """What `tools.mode` is unless it is set: a simulator that is chosen is asked."""
    system: str
    """Text of the system message."""
    system_file: Annotated[Path | None, Checksummed]
    """File with the system message to use instead of `system`, for fine-tuned simulators; null: none."""
    user: str
    """Jinja template of the user message. Variables: `tool`, `api` (None for a tool outside ToolBench), `required` and
    `optional` (`name`, `type`, `description`, `default`), `arguments` and `examples` (`arguments`, `response`)."""
    examples: Annotated[int, Field(ge=0)]
    """Maximum number of recorded calls of the same operation in the prompt."""
    max_example_chars: PositiveInt
    """Maximum number of characters of all examples; the first one is truncated, later ones are left out."""
    checked: bool
    """Whether an answer must have the shape of the recorded answers."""
    temperature: Annotated[float, Field(ge=0)] | None
    """Sampling temperature; null: not sent."""
    max_tokens: PositiveInt
    """Maximum number of generated tokens."""
    attempts: PositiveInt
    """Maximum number of requests for one answer, until one is readable and matches."""

    @field_validator("user")
    @classmethod
    def _compiles(cls, source: str) -> str:
        try:
            compile_template(source)
        except TemplateSyntaxError as error:
            raise ValueError(f"not a Jinja template, line {error.lineno}: {error.message}") from error
        return source

    @property
    def group(self) -> str:
        """Name of the config group."""
        return "simulator"

    def checksum(self) -> str:
        """Hex sha256 of everything that determines the answers: model, messages and sampling. Raises MissingError."""
        prompt = [self._system(), self.user, self.examples, self.max_example_chars, self.checked]
        request = [self.model, *prompt, self.temperature, self.max_tokens, self.attempts, self.extra_body]
        return hashlib.sha256(json.dumps(request).encode()).hexdigest()

    @asynccontextmanager
    async def open(self, examples: Examples) -> AsyncIterator[ModelSimulator]:
        """Open the simulator's endpoint. Raises ConfigError, MissingError or UnreachableError if it does not answer."""
        server, system = self.make_endpoint(), self._system()
        async with open_chat(server) as client:
            simulation = ModelSimulator(self, system, client, examples)
            yield simulation
            if simulation.answers or simulation.failures:
                log.info("%s", simulation.summary())

    def _system(self) -> str:
        if self.system_file is None:
            return self.system
        try:
            return read_text(self.system_file)
        except (OSError, ValueError) as error:
            raise MissingError(f"simulator.system_file={self.system_file} cannot be read: {error}") from error


class ModelSimulator:
    """A ToolSource whose answers a language model generates."""

    def __init__(self, settings: ModelSimulatorConfig, system: str, client: Chat, examples: Examples) -> None:
        """Takes the system message, an open client, and the function that lists recorded calls."""
        self._settings, self._system, self._client, self._examples = settings, system, client, examples
        self.answers = self.failures = self.tokens_in = self.tokens_out = 0
        self._unanswerable: set[bytes] = set()
        """Digests of the keys of the calls for which no acceptable answer was generated."""

    def checksum(self) -> str:
        """Hex sha256 of everything that determines the answers."""
        return self._settings.checksum()

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The generated answer; None for an undocumented call, or if no generated answer is acceptable.

        If the endpoint gives no answer at all, the answer has the failure `unreachable` and is transient.
        """
        digest = hashlib.sha256(compute_call_key(call).encode("utf-8", "replace")).digest()
        if call.tool is None or digest in self._unanswerable:
            return None
        examples = self._examples(call, self._settings.examples)
        messages = self._messages(call, examples)
        first_seed = int(digest.hex()[:7], 16)
        for attempt in range(self._settings.attempts):
            try:
                with stick_to_replica(str(call.endpoint)):  # its calls share the tool's documentation and examples
                    reply = await self._ask(messages, first_seed + attempt)
            except CodeToolError as error:
                return make_error_answer(call, "unreachable", f"the simulator: {error}", transient=True)
            if reply is not None and self._is_acceptable(reply, examples, call):
                self.answers += 1
                return ToolAnswer(call, reply.status, reply.body, "simulated")
        self.failures += 1
        self._unanswerable.add(digest)
        arguments = shorten(str(dict(call.arguments)))
        log.warning("the simulator gave no answer that fits %s %s", call.endpoint, arguments)
        return None

    def summary(self) -> str:
        """The counts so far as text, with the cost if it is known."""
        usd = self._settings.usd(self.tokens_in, self.tokens_out)
        cost = "" if usd is None else f", {usd:.2f} USD"
        tokens = self.tokens_in + self.tokens_out
        return f"simulator: {self.answers} answers, {self.failures} calls without one, {tokens} tokens{cost}"

    async def _ask(self, messages: Sequence[Message], seed: int) -> Reply | None:
        settings = self._settings
        try:
            completion = await self._client.complete(
                list(messages), n=1, temperature=settings.temperature, top_p=1.0, max_tokens=settings.max_tokens,
                seed=seed,
            )  # fmt: skip
        except PromptRefusedError as error:
            log.warning("%s", error)
            return None
        self.tokens_in += completion.tokens_in
        self.tokens_out += sum(completion.tokens_out)
        return extract_reply(completion.texts[0])

    def _messages(self, call: ToolCall, examples: Sequence[tuple[Mapping[str, JSON], JSON]]) -> list[Message]:
        assert call.tool is not None
        user = compile_template(self._settings.user).render(
            tool=call.tool,
            api=Api.from_url(call.tool.server + call.tool.path),
            required=[_describe_parameter(parameter) for parameter in call.tool.parameters if parameter.required],
            optional=[_describe_parameter(parameter) for parameter in call.tool.parameters if not parameter.required],
            arguments=dict(call.arguments),
            examples=_format_examples(examples, self._settings.max_example_chars),
        )
        user = user.encode("utf-8", "replace").decode()  # a recorded answer may hold a lone surrogate
        return [{"role": "system", "content": self._system}, {"role": "user", "content": user}]

    def _is_acceptable(self, reply: Reply, examples: Sequence[tuple[Mapping[str, JSON], JSON]], call: ToolCall) -> bool:
        if reply.status >= 400 or not self._settings.checked:
            return True
        shape = call.tool.response if call.tool else None
        return matches_schema(reply.data, [data for _, data in examples], shape)


def extract_reply(text: str) -> Reply | None:
    """The reply that a model wrote as a JSON object of `error` and `response`, None if there is none.

    Reasoning and code fences are removed. If the JSON has unescaped quotes, as fine-tuned simulators write, the two
    fields are extracted by a regular expression.
    """
    text = extract_visible_text(text).strip()
    if fenced := _FENCE.match(text):
        text = fenced[1].strip()
    content = parse_data(text[text.find("{") :]) if "{" in text else text
    if isinstance(content, Mapping):
        return parse_reply(content.get("error"), content["response"]) if "response" in content else None
    if (error := _ERROR_FIELD.search(text)) and (response := _RESPONSE_FIELD.search(text, error.end())):
        rest = text[response.end() :].rstrip().removesuffix("}").rstrip().removesuffix('"')
        return parse_reply(text[error.end() : response.start()], rest)
    return None


def matches_schema(data: JSON, examples: Sequence[JSON], shape: JSON) -> bool:
    """Whether generated data are non-empty and have the shape of the operation's answers.

    With recorded examples: the same kind of JSON value as one of them, and for an object every field that all examples
    share. Without examples: the same kind as the document's response schema, if there is one.
    """
    if data in (None, "", [], {}):
        return False
    if not examples:
        return shape is None or isinstance(shape, str) or _json_kind(shape) == _json_kind(data)
    if _json_kind(data) not in map(_json_kind, examples):
        return False
    if not isinstance(data, Mapping):
        return True
    objects = [set(example) for example in examples if isinstance(example, Mapping)]
    return set.intersection(*objects) <= data.keys()


def _describe_parameter(parameter: Parameter) -> dict[str, JSON]:
    return {name: getattr(parameter, name) for name in ("name", "type", "description", "default")}


def _json_kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return "object"
    return "list" if isinstance(value, list) else "scalar"


def _format_examples(examples: Sequence[tuple[Mapping[str, JSON], JSON]], limit: int) -> list[dict[str, str]]:
    """The examples as JSON texts, with at most `limit` characters in total."""
    formatted: list[dict[str, str]] = []
    remaining = limit
    for arguments, data in examples:
        call, response = json.dumps(dict(arguments), ensure_ascii=False), json.dumps(data, ensure_ascii=False)
        if formatted and len(call) + len(response) > remaining:
            break
        formatted.append({"arguments": call, "response": response[: max(0, remaining - len(call))]})
        remaining -= len(call) + len(response)
    return formatted
