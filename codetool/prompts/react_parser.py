"""Parse a model's output in the ReAct format into one action: thought, name and arguments.

Models leave out the thought, put everything on one line, fence the JSON, use Python quotes, forget the last brace, and
write the observation themselves. The parser takes the first action and ignores everything after its input.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

from codetool.prompts.model_text import extract_visible_text
from codetool.prompts.python_syntax import parse_python_literal
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
    """One action. A final answer without an action is parsed as the action Finish with the answer as input."""

    thought: str
    name: str
    raw_input: str
    """The text of the action input, unparsed."""

    @property
    def arguments(self) -> dict[str, JSON] | None:
        """The input as a JSON object; empty if no input was written, None if it cannot be parsed as an object."""
        return _parse_object(self.raw_input)


def parse_action(raw: str) -> Action | None:
    """Return the first action of the text, or None if there is none. Never raises."""
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
    """Return the text before an action without the Thought marker and without code fences."""
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
    """Yield the values that the text may stand for: parsed as JSON or Python, as written or with brackets balanced."""
    whole = _balance_brackets(text)
    for each in (text, whole):
        try:
            yield json.JSONDecoder(strict=False).raw_decode(each)[0]
        except (ValueError, RecursionError):
            pass
    for each in (whole, _JSON_LITERAL.sub(lambda match: _PYTHON_LITERALS[match[1]], whole)):
        try:
            yield parse_python_literal(each)
        except ValueError:
            pass


def _balance_brackets(text: str) -> str:
    """Return the text up to the bracket that closes the first one; append missing closing brackets."""
    open_: list[str] = []
    quote = ""
    escaped = False
    for i, letter in enumerate(text):
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
                return text[: i + 1]
    return text.rstrip(" \t\n`") + "".join(reversed(open_))
