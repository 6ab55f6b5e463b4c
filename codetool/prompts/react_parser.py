"""What a model wrote in the form of ReAct → one action: its thought, its name and its arguments.

Models leave the thought out, put everything on one line, fence the JSON, quote it as Python does, forget its last
brace, and write the observation themselves. The first action counts, and nothing after its input.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from codetool.prompts.model_text import extract_visible_text
from codetool.types import JSON

_MARKDOWN = r"[ \t>*#`_-]*"
_ACTION = re.compile(r"(?<![\w\"'])Action(?:[ \t]*\d+)?[ \t*]*:", re.IGNORECASE)
_ACTION_LINE = re.compile(rf"^{_MARKDOWN}Action(?:[ \t]*\d+)?[ \t*]*:", re.IGNORECASE | re.MULTILINE)
_INPUT = re.compile(r"(?<![\w\"'])Action[ \t_-]*Input(?:[ \t]*\d+)?[ \t*]*:", re.IGNORECASE)
_NEXT_FIELD = re.compile(
    rf"^{_MARKDOWN}(?:Observation|Thought|Action)(?:[ \t]*\d+)?[ \t*]*:", re.IGNORECASE | re.MULTILINE
)
_THOUGHT = re.compile(rf"^{_MARKDOWN}Thought(?:[ \t]*\d+)?[ \t*]*:[ \t*]*", re.IGNORECASE | re.MULTILINE)
_ANSWER = re.compile(rf"^{_MARKDOWN}Final Answer[ \t*]*:(?P<answer>.*)", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_NAME_ENDS = re.compile(r"[\n({\[]|[ \t]+[\"'`]")
_JSON_LITERAL = re.compile(r"(?<![\w\"'])(true|false|null)(?![\w\"'])")
_PYTHON_LITERALS = {"true": "True", "false": "False", "null": "None"}
FINISH = "Finish"


@dataclass(frozen=True)
class Action:
    """One action. A final answer that was written without one is an action Finish with its text as input."""

    thought: str
    name: str
    raw_input: str
    """Its input as it was written."""

    @property
    def arguments(self) -> dict[str, JSON] | None:
        """The input as a JSON object, empty where nothing was written; None if it is not readable as one."""
        return _parse_object(self.raw_input)


def parse_action(raw: str) -> Action | None:
    """The first action of the text, None if there is none. Never raises."""
    text = extract_visible_text(raw)
    start = _ACTION_LINE.search(text) or _ACTION.search(text)
    answer = _ANSWER.search(text)
    if start is None or (answer and text[start.end() :].strip(" \t*`'\"").lower().startswith(("none", "n/a"))):
        return answer and Action(extract_thought(text[: answer.start()]), FINISH, answer["answer"].strip())
    body = text[start.end() :]
    following = _NEXT_FIELD.search(body)
    body = (body[: following.start()] if following else body).strip(" \t\n*`")
    marker = _INPUT.search(body)
    head, given = (body[: marker.start()], body[marker.end() :]) if marker else (body, "")
    end = _NAME_ENDS.search(head)
    name = (head[: end.start()] if end else head).strip(" \t\n`\"'*.,:;")
    return Action(
        extract_thought(text[: start.start()]), name, (given if marker or not end else head[end.start() :]).strip()
    )


def extract_thought(text: str) -> str:
    """The words before an action, without the marker and without an observation that the model made up."""
    lines = [line for line in _THOUGHT.sub("", text).splitlines() if not line.lstrip().startswith("```")]
    return "\n".join(lines).strip(" \t\n*")


def _parse_object(given: str) -> dict[str, JSON] | None:
    start = given.find("{")
    if start < 0:
        return {} if given.strip(" \t\n`'\"()[]").lower() in ("", "none", "null", "json") else None
    for value in _parse_variants(given[start:]):
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return {str(name): item for name, item in value.items()}
    return None


def _parse_variants(text: str) -> Iterator[object]:
    """What the text at its first brace may mean: as JSON, as Python, and with the braces that it lacks."""
    whole = _balance_brackets(text)
    for each in (text, whole):
        try:
            yield json.JSONDecoder(strict=False).raw_decode(each)[0]
        except (ValueError, RecursionError):
            pass
    for each in (whole, _JSON_LITERAL.sub(lambda match: _PYTHON_LITERALS[match[1]], whole)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an invalid escape is its author's business
                yield ast.literal_eval(each)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            pass


def _balance_brackets(text: str) -> str:
    """The text up to the bracket that closes its first one; with those that are missing if there is none."""
    open_: list[str] = []
    quote = ""
    escaped = False
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote and not escaped else quote
            escaped = letter == "\\" and not escaped
        elif letter in "\"'":
            quote = letter
        elif letter in "{[":
            open_.append("}" if letter == "{" else "]")
        elif open_ and letter == open_[-1]:
            open_.pop()
            if not open_:
                return text[: place + 1]
    return text.rstrip(" \t\n`") + "".join(reversed(open_))
