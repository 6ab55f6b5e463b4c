"""What a ToolBench server's reply means: the data in it, or that the tool has failed.

A reply is `{"error": text, "response": anything}`. Servers behind it report their failures as data: a page `403
Forbidden`, an object that says nothing but "You are not subscribed to this API". Those are failures here. The reading
is cautious: an object that holds anything besides a message and a status is data, whatever the message says.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from codetool.toolbench import read_text
from codetool.types import JSON

NO_ANSWER = "Failed to generate fake response"
"""What StableToolBench's simulator has left in the cache where it failed: it says nothing of the call."""

_MESSAGES = frozenset({
    "message", "messages", "msg", "error", "errors", "err", "detail", "details", "reason", "fault", "faultstring",
    "faultcode", "errormessage",
})  # fmt: skip
"""Names, without case and punctuation, under which servers say what went wrong."""
_FAULTS = frozenset({"error", "errors", "err", "fault", "faultstring", "faultcode", "errormessage"})
"""Of them those that are there only if something did."""
_STATUSES = frozenset({"status", "statuscode", "code", "httpcode"})
_BESIDES = frozenset({
    "success", "ok", "type", "timestamp", "path", "etype", "instance", "documentationurl", "link", "help", "meta",
    "requestid", "traceid", "endpoint", "title", "description", "info", "data", "result",
})  # fmt: skip
"""Names that may stand beside these and say nothing by themselves."""
_FAILED = re.compile(r"fail(ed|ure)?|error|unauthori[sz]ed|forbidden|not[ _]found|bad[ _]request", re.IGNORECASE)

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
    r"^\w+ not found$|^error\W*$|^something went wrong|deployment could not be found|^function executing\b|"
    r"gateway time-?out|^this endpoint is disabled|"
    r"^404 page not found|^403 - forbidden|^oops\W+something|request failed with status code [45]\d\d$|"
    r"^an api key must be passed",
    re.IGNORECASE,
)
"""A text, not data, that is a failure and nothing else."""
_PAGE = re.compile(
    r"<(?:title|h1)[^>]*>\s*(?:error\s*:?\s*)?([45]\d\d)\b\s*[-:|]?\s*(?:</|error|forbidden|not found|bad |un\w|"
    r"service|internal|gateway|too many|method|access|request|temporarily)",
    re.IGNORECASE,
)
"""The head of a page that is a server's failure."""
_FEED = re.compile(r"<(rss|feed|item|channel)\b", re.IGNORECASE)
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
        """The body of the HTTP answer: JSON, of a failure `{"error": …}`.

        What no JSON and no wire can hold is replaced: a number that is none by null, half a surrogate pair by `?`.
        """
        content = self.data if self.status < 400 else {"error": self.data}
        try:
            text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        except ValueError:
            text = json.dumps(_finite(content), ensure_ascii=False)
        return text.encode("utf-8", "replace").decode()


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
    stripped = text.strip()
    if stripped.startswith("<") and not _FEED.search(text):
        status = int(found[1]) if (found := _PAGE.search(text)) else 404 if "Cannot GET" in text else 0
        if status:
            return Reply(status, re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()[:_SHORT])
    if len(stripped) <= _SHORT and _PLAIN.search(stripped):
        return Reply(_status(stripped, 400), stripped)
    return Reply(200, text)


def _failure(data: Mapping[str, JSON]) -> int | None:
    """The status of an object that says nothing but that something went wrong; None for data."""
    said = {_spelled(name): value for name, value in data.items() if value not in (None, [], {}, "")}
    said = {name: value for name, value in said.items() if not (name in _FAULTS and value in (False, 0))}
    numbered = [name for name in said if re.fullmatch(r"[45]\d\d", name)]
    if not said or said.keys() - _MESSAGES - _STATUSES - _BESIDES - {*numbered} or _holds_data(said):
        return None
    if any(said.get(name) is True for name in ("success", "ok", "status")) or _succeeded(said.get("status")):
        return None
    texts = [value for name, value in said.items() if name in _MESSAGES and isinstance(value, str)]
    if any(len(text) > _SHORT for text in texts):
        return None
    faults = said.keys() & _FAULTS
    text = " ".join([*texts, *(json.dumps(said[name], default=str) for name in faults)])
    listed = isinstance(said.get("detail"), list)
    if stated := [*map(int, numbered), *_stated(said)]:
        return stated[0]
    refused = any(said.get(name) is False for name in ("success", "ok", "status"))
    refused |= any(_FAILED.fullmatch(str(said.get(name))) is not None for name in ("status", "type"))
    refused |= bool(texts) and "invalid" in str(said.get("status")).lower()
    told = bool(texts) and said.keys() <= _MESSAGES | {"code", "type", "link"} and _known(text)
    return _status(text, 422 if listed else 400) if refused or faults or told or listed else None


def _holds_data(said: Mapping[str, JSON]) -> bool:
    """Whether something stands under a name for data that is more than a status said again."""
    held = [said.get(name) for name in ("data", "result", "info")]
    return any(isinstance(each, list) or (isinstance(each, Mapping) and each.keys() - {"status"}) for each in held)


def _succeeded(status: JSON) -> bool:
    return isinstance(status, int | str) and str(status).lower() in ("success", "successful", "ok", "200", "201")


def _stated(said: Mapping[str, JSON]) -> list[int]:
    """HTTP statuses of failure that an object names, or what it calls `meta`, `error`, `fault` or `data`."""
    inner = [said.get(name) for name in ("meta", "error", "fault", "data")]
    named = [*said.items(), *(pair for each in inner if isinstance(each, Mapping) for pair in each.items())]
    texts = [str(value) for name, value in named if _spelled(name) in _STATUSES and not isinstance(value, bool)]
    return [int(text) for text in texts if re.fullmatch(r"[45]\d\d", text)]


def _known(text: str) -> bool:
    return any(pattern.search(text) for _, pattern in _STATUS_OF_TEXT)


def _status(text: str, otherwise: int) -> int:
    return next((status for status, pattern in _STATUS_OF_TEXT if pattern.search(text)), otherwise)


def _finite(value: JSON) -> JSON:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _spelled(name: object) -> str:
    return re.sub(r"[\s_-]", "", str(name)).lower()
