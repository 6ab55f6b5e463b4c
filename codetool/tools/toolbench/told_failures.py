"""Failures that a service tells as data: which objects, lists, texts and pages are one, and their HTTP status.

The reading is cautious: an object that holds anything besides a message, a status and what may accompany an error is
data, whatever its message says. So is `{"id": 7, "status": "failed"}`, an order, and an error beside a list of results.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

from codetool.types import JSON

_MESSAGES = frozenset({
    "message", "messages", "msg", "error", "errors", "err", "detail", "details", "reason", "fault", "faultstring",
    "faultcode", "errormessage", "statusmessage", "statustext", "statustxt", "statusdescription", "errormsg", "errmsg",
    "errordescription", "errordetail", "errordetails", "errortype", "responsemessage", "resultmessage", "exception",
})  # fmt: skip
"""Names, without case and punctuation, under which servers say what went wrong."""
_FAULTS = frozenset({
    "error", "errors", "err", "fault", "faultstring", "faultcode", "errormessage", "errormsg", "errmsg",
    "errordescription", "errordetail", "errordetails", "errorcode", "errcode", "errortype", "exception",
    "invalidheaders", "invalidqueryparameters", "invalidparameters", "validationerrors",
})  # fmt: skip
"""Of them, and of other names, those that are there only if something did."""
_NO_FAULT = frozenset({"false", "0", "0.0", "none", "null", "no", "ok", "success", "no error", "200"})
"""What stands under such a name where nothing did."""
_STATUSES = frozenset({
    "status", "statuscode", "code", "httpcode", "httpstatus", "httpstatuscode", "responsecode", "errorcode", "errcode",
    "cod",
})  # fmt: skip
_REFUSALS = frozenset({"success", "ok", "status", "issuccess", "succeeded", "successful", "response"})
"""Names under which `false` says that something went wrong, and `true` that nothing did."""
_BESIDES = frozenset({
    "success", "ok", "issuccess", "succeeded", "successful", "type", "timestamp", "path", "etype", "instance",
    "documentationurl", "link", "help", "meta", "requestid", "traceid", "endpoint", "title", "description", "info",
    "data", "result", "response",
})  # fmt: skip
"""Names that may stand beside these and say nothing by themselves."""
_BESIDES_A_FAULT = frozenset({
    "id", "jsonrpc", "version", "apiversion", "method", "uri", "url", "date", "time", "datetime", "moreinfo", "docs",
    "documentation", "stack", "stacktrace", "trace", "traceback", "retryafter", "extensions", "severity", "category",
    "results", "items", "body", "total", "count",
})  # fmt: skip
"""Names that may do so where a fault or a refusal is named too: in an order or a job they are data."""
_WRAPPERS = frozenset({"response", "result", "data", "body", "status"})
_FAILED = re.compile(
    r"fail(ed|ure)?|error|ko|nok|unauthori[sz]ed|forbidden|not[ _]found|bad[ _]request|unsuccessful", re.IGNORECASE
)
_FAULT_CODE = re.compile(
    r"error|invalid|mismatch|not[_-]?found|denied|forbidden|unauthori|missing|exceed|fail|unavailable|expired", re.I
)
"""What a code in words says of a failure, `ENUM_MISMATCH`."""

_KINDS = (
    (429, r"too many requests|(rate|quota|request) ?limit|limit exceeded|quota (is )?exceeded"
          r"|exceeded (the|your) .{0,40}(quota|limit)"),
    (403, r"not subscribed|forbidden|access denied|blocked user|disabled for your subscription|permission"),
    (401, r"unauthori[sz]ed|unauthenticated|invalid api[ _-]?key|api[ _-]?key (must|should|is|verify|required)"
          r"|authenticat\w+ (is )?(required|failed)|invalid (token|credentials)|error get token"),
    (404, r"not found|(could|can)( ?not|n't) be found|does(n't| not) exists?|no (results?|data|such)\b"
          r"|unable to find|nosuch(object|key)"),
    (504, r"timed? ?-?out"),
    (502, r"bad gateway"),
    (503, r"service (temporarily )?unavailable|application error"),
    (405, r"method not allowed"),
    (400, r"bad request|missing|required|invalid|not valid|(could|can) ?not be (validated|parsed|processed)"
          r"|please (check|provide|enter)|unexpected keyword|positional argument|misconfigured|not configured"
          r"|validation failed"),
    (500, r"(internal )?server error|exception|fatal error|something went wrong|^error\b"
          r"|error (getting|in|while|occurred)"),
)  # fmt: skip
"""Statuses by what the text of a failure says, the most telling first."""
_STATUS_OF_TEXT = tuple((status, re.compile(pattern, re.IGNORECASE)) for status, pattern in _KINDS)
_REASONS = (
    r"(?:forbidden|unauthori[sz]ed|(?:page |resource |object )?not found|bad request|(?:internal )?server error|"
    r"service (?:temporarily )?unavailable|access denied|bad gateway|gateway time-?out|too many requests|"
    r"method not allowed|not acceptable|request time-?out|payment required|not implemented|application error|error)"
)
_CODE = r"(?:(?:http )?(?:error|status)?\s*:?\s*(?P<code>[45]\d\d)(?:\.\d)?\b\s*[-–:|]?\s*)"
_PLAIN = re.compile(
    r"^error\W{1,3}(?P<numbered>[45]\d\d)\W*$|you are not subscribed|api doesn'?t exists?|too many requests|"
    rf"^{_CODE}?{_REASONS}\s*([.:!-].*)?$|^{_REASONS}\s*[-–:(]?\s*(?P<last>[45]\d\d)\W*$|"
    r"^(?:http )(?:error|status)? ?(?P<alone>[45]\d\d)\W*$|^error: |"
    r"^\w+ not found$|^error\W*$|^something went wrong|deployment could not be found|^function executing\b|"
    r"gateway time-?out|^this endpoint is disabled|"
    r"^404 page not found|^403 - forbidden|^oops\W+something|request failed with status code (?P<stated>[45]\d\d)$|"
    r"^an api key must be passed|^invalid (api[ _-]?key|token|credentials)\b|^authentication (is )?(required|failed)|"
    r"^you have exceeded (the|your)\b.{0,60}(quota|limit)|^(api )?(rate|quota|request) ?limit|^quota exceeded",
    re.IGNORECASE,
)
"""A text, not data, that is a failure and nothing else."""
_PAGE = re.compile(
    r"<(?:title|h1)[^>]*>\s*(?:http )?(?:error|status)?\s*[:-]?\s*([45]\d\d)(?:\.\d)?\b\s*[-–:|(]?\s*"
    r"(?:</|error|forbidden|not found|bad |un\w|service|internal|gateway|too many|method|access|request|temporarily"
    r"|file |page |server)",
    re.IGNORECASE,
)
"""The head of a page that is a server's failure, with its number."""
_PAGE_WITHOUT_NUMBER = re.compile(
    rf"<(?:title|h1)[^>]*>\s*({_REASONS})\W*(?:[45]\d\d\W*)?</|<b>(fatal error)</b>"
    r"|(Access denied) \| [^<]* used Cloudflare|^(?:<\?xml[^>]*>\s*)?<(?:\w+:)?(errors?|fault|exception)\b",
    re.IGNORECASE,
)
_FEED = re.compile(r"<(rss|feed|item|channel)\b", re.IGNORECASE)
SHORT = 400  # characters; no message of a gateway is longer
_LONGEST = 4000  # characters of a message beside a status or a refusal


def failure_of_text(text: str) -> tuple[int, str] | None:
    """Status and message of a text or a page that is a failure and nothing else; None for data."""
    stripped = text.strip()
    if stripped.startswith("<"):
        status = None if _FEED.search(text) else _status_of_page(stripped)
        return None if status is None else (status, re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text)).strip()[:SHORT])
    found = _PLAIN.search(stripped) if len(stripped) <= SHORT else None
    if found is None:
        return None
    stated = next((code for code in found.groupdict().values() if code), None)
    return int(stated) if stated else status_of_text(stripped, 400), stripped


def failure_of_data(data: JSON) -> int | None:
    """Status of data that say nothing but that something went wrong; None for an answer."""
    if isinstance(data, list):
        return _failure(data[0], strong=True) if len(data) == 1 and isinstance(data[0], Mapping) else None
    return _failure(data) if isinstance(data, Mapping) else None


def status_of_text(text: str, otherwise: int) -> int:
    """The status that the text of a failure says, else another."""
    return next((status for status, pattern in _STATUS_OF_TEXT if pattern.search(text)), otherwise)


def _status_of_page(page: str) -> int | None:
    if found := _PAGE.search(page):
        return int(found[1])
    if re.search(r"Cannot (GET|POST|PUT|PATCH|DELETE) /", page):
        return 404
    found = _PAGE_WITHOUT_NUMBER.search(page)
    if found is None:
        return None
    number = re.search(r"\b[45]\d\d\b", found[0])
    return int(number[0]) if number else status_of_text(next(filter(None, found.groups())) + page[:SHORT], 500)


def _failure(data: Mapping[str, JSON], *, strong: bool = False) -> int | None:
    """The status of an object that is a failure; with `strong` a message alone does not make it one."""
    said = {_spelled(name): value for name, value in data.items() if value not in (None, [], {}, "")}
    said = {name: value for name, value in said.items() if not (name in _FAULTS and _is_no_fault(value))}
    if (
        len(data) == len(said) == 1
        and next(iter(said)) in _WRAPPERS
        and isinstance(inner := next(iter(said.values())), Mapping)
    ):
        return _failure(inner, strong=True)
    if not said or _agreed(said) or _holds_data(said):
        return None
    faults, refused, stated = said.keys() & _FAULTS, _refused(said), _stated(said)
    numbered = {name for name in said if re.fullmatch(r"[45]\d\d", name)}
    known = _MESSAGES | _STATUSES | _BESIDES | _FAULTS | numbered
    if faults or said.get("success") is False or said.get("ok") is False:
        known = known | _BESIDES_A_FAULT
        if stated and not any(isinstance(value, list | Mapping) for name, value in said.items() if name not in known):
            return stated[0]
    if said.keys() - known:
        return None
    texts = [value for name, value in said.items() if name in _MESSAGES and isinstance(value, str)]
    text = " ".join([*texts, *(json.dumps(said[name], default=str) for name in faults)])
    listed = isinstance(said.get("detail"), list)
    if any(len(each) > (_LONGEST if refused or stated or faults or _code_says_so(said) else SHORT) for each in texts):
        return None
    if stated := [*map(int, numbered), *stated]:
        return stated[0]
    told = not strong and texts and said.keys() <= _MESSAGES | {"code", "type", "link"} and _is_known(text)
    coded = bool(texts) and _code_says_so(said)
    return status_of_text(text, 422 if listed else 400) if refused or faults or told or listed or coded else None


def _is_no_fault(value: JSON) -> bool:
    return value in (False, 0) or (isinstance(value, str | int) and str(value).strip().lower() in _NO_FAULT)


def _agreed(said: Mapping[str, JSON]) -> bool:
    """Whether the object says that all went well."""
    yes = any(str(said.get(name)).lower() in ("true", "1") for name in _REFUSALS - {"status", "response"})
    return yes or said.get("status") is True or _succeeded(said.get("status"))


def _refused(said: Mapping[str, JSON]) -> bool:
    """Whether the object says that something went wrong: `success` is false, or `status` is `error`."""
    no = any(str(said.get(name)).lower() == "false" for name in _REFUSALS) or said.get("success") in (0, "0")
    failed = any(_FAILED.fullmatch(str(said.get(name))) for name in ("status", "type"))
    words = any(said.get(name) and isinstance(said.get(name), str) for name in _MESSAGES)
    failed |= words and any(_FAILED.fullmatch(str(said.get(name))) for name in ("result", "response"))
    return no or failed or (words and "invalid" in str(said.get("status")).lower())


def _code_says_so(said: Mapping[str, JSON]) -> bool:
    code = said.get("code")
    return isinstance(code, str) and re.fullmatch(r"[\w.-]+", code) is not None and bool(_FAULT_CODE.search(code))


def _holds_data(said: Mapping[str, JSON]) -> bool:
    """Whether something stands under a name for data that is more than a status said again."""
    held = [said.get(name) for name in ("data", "result", "info", "response", "results", "items", "body")]
    return any(isinstance(each, list) or (isinstance(each, Mapping) and each.keys() - {"status"}) for each in held)


def _succeeded(status: JSON) -> bool:
    return isinstance(status, int | str) and str(status).lower() in ("success", "successful", "ok", "200", "201")


def _stated(said: Mapping[str, JSON]) -> list[int]:
    """HTTP statuses of failure that an object names, or what it calls `meta`, `error`, `fault`, `status` or `data`."""
    inner = [said.get(name) for name in ("meta", "error", "fault", "status", "data")]
    named = [*said.items(), *(pair for each in inner if isinstance(each, Mapping) for pair in each.items())]
    texts = [
        str(value)
        for name, value in named
        if _spelled(name) in _STATUSES and not isinstance(value, bool) and not (name == "code" and _is_a_key(said))
    ]
    return [int(text) for text in texts if re.fullmatch(r"[45]\d\d", text) and int(text) in _KNOWN_STATUSES]


def _is_a_key(said: Mapping[str, JSON]) -> bool:
    """Whether a `code` is that of a thing, as of an area: a title or a description beside it speaks of no failure."""
    if said.keys() & (_MESSAGES | _STATUSES - {"code"}) or _refused(said):
        return False
    texts = [str(said[name]) for name in ("title", "description", "info", "result", "data") if name in said]
    return bool(texts) and not _is_known(" ".join(texts))


def _is_known(text: str) -> bool:
    return any(pattern.search(text) for _, pattern in _STATUS_OF_TEXT)


def _spelled(name: object) -> str:
    return re.sub(r"[\s_-]", "", str(name)).lower()


_KNOWN_STATUSES = frozenset({*map(int, HTTPStatus), *range(520, 531), 419, 420, 440, 450, 498, 499})
"""Statuses of HTTP and those that gateways and clouds add to them."""
