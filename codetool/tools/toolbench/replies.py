"""What a ToolBench server's reply means: the data in it, or that the tool has failed.

A reply is `{"error": text, "response": anything}`. Servers behind it report their failures as data: a page `403
Forbidden`, an object that says nothing but "You are not subscribed to this API". Those are failures here. The reading
is cautious: an object that holds anything besides a message and a status is data, whatever the message says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from codetool.toolbench import read_text
from codetool.types import JSON

NO_ANSWER = "Failed to generate fake response"
"""What StableToolBench's simulator has left in the cache where it failed: it says nothing of the call."""

_MESSAGES = frozenset({
    "message", "messages", "msg", "error", "errors", "err", "detail", "details", "reason", "title", "info", "fault",
    "faultstring", "faultcode", "errormessage", "description", "result", "data",
})  # fmt: skip
"""Names, without case and underscores, under which servers say what went wrong."""
_STATES = frozenset({
    "status", "statuscode", "code", "success", "ok", "type", "timestamp", "path", "httpcode", "etype", "instance",
    "documentationurl", "link", "help", "meta", "requestid", "traceid", "endpoint",
})  # fmt: skip
"""Names that go with a message and are no data."""
_FAULTS = frozenset({"error", "errors", "err", "fault", "faultstring", "faultcode", "errormessage"})
"""Names that are there only if something went wrong."""
_NO_SUCCESS = re.compile(r"fail(ed|ure)?|error|invalid|unauthori[sz]ed|forbidden|not[ _]found|bad[ _]request", re.I)

_KINDS = (
    (429, r"too many requests|(rate|quota|request) ?limit|limit exceeded|exceeded the .{0,30}(quota|limit)"),
    (403, r"not subscribed|forbidden|access denied|blocked user|disabled for your subscription|permission"),
    (401, r"unauthori[sz]ed|unauthenticated|invalid api[ _-]?key|api[ _-]?key (must|should|is|verify|required)"
          r"|authenticat\w+ (is )?(required|failed)|invalid (token|credentials)|error get token"),
    (404, r"not found|does(n't| not) exists?|no (results?|data|such)\b|unable to find|nosuchobject"),
    (504, r"timed? ?-?out"),
    (503, r"service (temporarily )?unavailable"),
    (400, r"bad request|missing|required|invalid|not valid|(could|can) ?not be (validated|parsed|processed)"
          r"|please (check|provide|enter)|unexpected keyword|positional argument|misconfigured|not configured"),
    (500, r"internal (server )?error|exception|something went wrong|^error\b|error (getting|in|while|occurred)"),
)  # fmt: skip
"""Statuses by what the text of a failure says, the most telling first."""
_STATUS_OF_TEXT = tuple((status, re.compile(pattern, re.IGNORECASE)) for status, pattern in _KINDS)
_PLAIN = re.compile(
    r"you are not subscribed|api doesn'?t exists?|too many requests|^(\d{3} )?(forbidden|unauthori[sz]ed|not found|"
    r"bad request|internal server error|service (temporarily )?unavailable|access denied)\s*([.:!-].*)?$|"
    r"^\w+ not found$|^function executing\b|gateway time-?out|^this endpoint is disabled|"
    r"^404 page not found|^403 - forbidden|^oops\b|request failed with status code [45]\d\d$|"
    r"^an api key must be passed",
    re.IGNORECASE,
)
"""A text, not data, that is a failure and nothing else."""
_PAGE = re.compile(r"<title>\s*(?:error\s*)?([45]\d\d)\b", re.IGNORECASE)
_SHORT = 400  # characters; no message of a gateway is longer


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tool answered, as REST would have it."""

    status: int
    """HTTP status: 200, or one of 400 and above for a failure."""
    data: JSON
    """The answer, read from its text if it was one; of a failure what there is of a message."""

    @property
    def body(self) -> str:
        """The body of the HTTP answer: JSON, of a failure `{"error": …}`."""
        content = self.data if self.status < 400 else {"error": self.data}
        return json.dumps(content, ensure_ascii=False)


def read(error: JSON, response: JSON) -> Reply | None:
    """What a reply's two fields come to; None where nobody has answered, which a server may have kept as an answer."""
    if error:
        text = error if isinstance(error, str) else json.dumps(error, ensure_ascii=False)
        if text.startswith(NO_ANSWER) and response in ("", None):
            return None
        return Reply(_status(text, 400), text.strip())
    data = read_text(response) if isinstance(response, str) else response
    if isinstance(data, str):
        return _of_text(data)
    if isinstance(data, Mapping) and (status := _failure(data)):
        return Reply(status, dict(data))
    return Reply(200, data)


def _of_text(text: str) -> Reply:
    if found := _PAGE.search(text):
        return Reply(int(found[1]), re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()[:_SHORT])
    stripped = text.strip()
    if len(stripped) <= _SHORT and _PLAIN.search(stripped):
        return Reply(_status(stripped, 400), stripped)
    return Reply(200, text)


def _failure(data: Mapping[str, JSON]) -> int | None:
    """The status of an object that says nothing but that something went wrong; None for data."""
    said = {_spelled(name): value for name, value in data.items() if value not in (None, [], {}, "")}
    numbered = [name for name in said if re.fullmatch(r"[45]\d\d", name)]
    if not said or said.keys() - _MESSAGES - _STATES - {*numbered}:
        return None
    texts = [value for name, value in said.items() if name in _MESSAGES and isinstance(value, str)]
    nested = any(
        isinstance(value, Mapping | list) and not _stated(value)
        for name, value in said.items()
        if name in ("data", "result", "info")
    )
    if nested or any(len(text) > _SHORT for text in texts):
        return None
    stated = [*map(int, numbered), *(status for value in said.values() for status in _stated(value))]
    text = " ".join([*texts, *(json.dumps(said[name], default=str) for name in said.keys() & _FAULTS)])
    refused = said.get("success") is False or said.get("ok") is False or said.get("status") is False
    refused |= any(isinstance(said.get(name), str) and _NO_SUCCESS.search(said[name]) is not None for name in _STATES)
    if stated:
        return stated[0]
    if refused or said.keys() & _FAULTS or (said.keys() <= _MESSAGES | {"code", "type"} and _known(text)):
        return _status(text, 422 if isinstance(said.get("detail"), list) else 400)
    return 422 if isinstance(said.get("detail"), list) else None


def _stated(value: JSON) -> list[int]:
    """An HTTP status of failure that a value is, or has as its `status`."""
    if isinstance(value, Mapping):
        return [status for name in ("status", "code", "statusCode") for status in _stated(value.get(name))]
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return [int(text)] if re.fullmatch(r"[45]\d\d", text) else []


def _known(text: str) -> bool:
    return any(pattern.search(text) for _, pattern in _STATUS_OF_TEXT)


def _status(text: str, otherwise: int) -> int:
    return next((status for status, pattern in _STATUS_OF_TEXT if pattern.search(text)), otherwise)


def _spelled(name: object) -> str:
    return re.sub(r"[\s_-]", "", str(name)).lower()
