"""Detect failures that a service reports as data (objects, lists, texts, HTML pages), and their HTTP status.

Detection is cautious: an object that holds anything besides a message, a status and fields that usually accompany an
error counts as data, whatever its message says. `{"id": 7, "status": "failed"}` (an order) is data, and so is an error
beside a list of results.
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
"""Field names, in lower case without punctuation, that hold a failure's message."""
_FAULTS = frozenset({
    "error", "errors", "err", "fault", "faultstring", "faultcode", "errormessage", "errormsg", "errmsg",
    "errordescription", "errordetail", "errordetails", "errorcode", "errcode", "errortype", "exception",
    "invalidheaders", "invalidqueryparameters", "invalidparameters", "validationerrors",
})  # fmt: skip
"""Field names that are present only if something failed."""
_NO_FAULT = frozenset({"false", "0", "0.0", "none", "null", "no", "ok", "success", "no error", "200"})
"""Values of such fields that mean no failure."""
_STATUSES = frozenset({
    "status", "statuscode", "code", "httpcode", "httpstatus", "httpstatuscode", "responsecode", "errorcode", "errcode",
    "cod",
})  # fmt: skip
_REFUSALS = frozenset({"success", "ok", "status", "issuccess", "succeeded", "successful", "response"})
"""Field names whose `false` reports a failure and whose `true` reports success."""
_BESIDES = frozenset({
    "success", "ok", "issuccess", "succeeded", "successful", "type", "timestamp", "path", "etype", "instance",
    "documentationurl", "link", "help", "meta", "requestid", "traceid", "endpoint", "title", "description", "info",
    "data", "result", "response",
})  # fmt: skip
"""Field names that may accompany a message and carry no information by themselves."""
_BESIDES_A_FAULT = frozenset({
    "id", "jsonrpc", "version", "apiversion", "method", "uri", "url", "date", "time", "datetime", "moreinfo", "docs",
    "documentation", "stack", "stacktrace", "trace", "traceback", "retryafter", "extensions", "severity", "category",
    "results", "items", "body", "total", "count",
})  # fmt: skip
"""Field names that may accompany an explicit fault or `success: false`; elsewhere (an order, a job) they are data."""
_WRAPPERS = frozenset({"response", "result", "data", "body", "status"})
_FAILED = re.compile(
    r"fail(ed|ure)?|error|ko|nok|unauthori[sz]ed|forbidden|not[ _]found|bad[ _]request|unsuccessful", re.IGNORECASE
)
_FAULT_CODE = re.compile(
    r"error|invalid|mismatch|not[_-]?found|denied|forbidden|unauthori|missing|exceed|fail|unavailable|expired", re.I
)
"""Parts of textual error codes such as `ENUM_MISMATCH`."""

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
    (503, r"service (temporarily )?unavailable|application error|upstream connect error|no healthy upstream"),
    (405, r"method not allowed"),
    (400, r"bad request|missing|required|invalid|not valid|(could|can) ?not be (validated|parsed|processed)"
          r"|please (check|provide|enter)|unexpected keyword|positional argument|misconfigured|not configured"
          r"|validation failed"),
    (500, r"(internal )?server error|exception|fatal error|something went wrong|^error\b"
          r"|error (getting|in|while|occurred)"),
)  # fmt: skip
"""HTTP status and the pattern of a failure's text that suggests it, the most specific first."""
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
    r"gateway time-?out|^upstream (request timeout|connect error)|^no healthy upstream|^this endpoint is disabled|"
    r"^404 page not found|^403 - forbidden|^oops\W+something|request failed with status code (?P<stated>[45]\d\d)$|"
    r"^an api key must be passed|^invalid (api[ _-]?key|token|credentials)\b|^authentication (is )?(required|failed)|"
    r"^you have exceeded (the|your)\b.{0,60}(quota|limit)|^(api )?(rate|quota|request) ?limit|^quota exceeded",
    re.IGNORECASE,
)
"""A plain text that only reports a failure."""
_PAGE = re.compile(
    r"<(?:title|h1)[^>]*>\s*(?:http )?(?:error|status)?\s*[:-]?\s*([45]\d\d)(?:\.\d)?\b\s*[-–:|(]?\s*"
    r"(?:</|error|forbidden|not found|bad |un\w|service|internal|gateway|too many|method|access|request|temporarily"
    r"|file |page |server)",
    re.IGNORECASE,
)
"""Title or heading of an HTML error page, with its status number."""
_PAGE_WITHOUT_NUMBER = re.compile(
    rf"<(?:title|h1)[^>]*>\s*({_REASONS})\W*(?:[45]\d\d\W*)?</|<b>(fatal error)</b>"
    r"|(Access denied) \| [^<]* used Cloudflare|^(?:<\?xml[^>]*>\s*)?<(?:\w+:)?(errors?|fault|exception)\b",
    re.IGNORECASE,
)
_FEED = re.compile(r"<(rss|feed|item|channel)\b", re.IGNORECASE)
MAX_MESSAGE_CHARACTERS = 400  # no message of a gateway is longer
_MAX_STATUS_MESSAGE_CHARACTERS = 4000  # of a message beside a status or an explicit failure


def detect_text_failure(text: str) -> tuple[int, str] | None:
    """Status and message of a text or an HTML page that only reports a failure; None for data."""
    stripped = text.strip()
    if stripped.startswith("<"):
        status = None if _FEED.search(text) else _find_page_status(stripped)
        if status is None:
            return None
        without_tags = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", text))
        return status, without_tags.strip()[:MAX_MESSAGE_CHARACTERS]
    match = _PLAIN.search(stripped) if len(stripped) <= MAX_MESSAGE_CHARACTERS else None
    if match is None:
        return None
    status_text = next((code for code in match.groupdict().values() if code), None)
    return int(status_text) if status_text else infer_status(stripped, 400), stripped


def detect_data_failure(data: JSON) -> int | None:
    """Status of JSON data that only report a failure; None for an answer."""
    if isinstance(data, list):
        return _detect_object_failure(data[0], strict=True) if len(data) == 1 and isinstance(data[0], Mapping) else None
    return _detect_object_failure(data) if isinstance(data, Mapping) else None


def infer_status(text: str, default: int) -> int:
    """The HTTP status that the text of a failure suggests, else `default`."""
    return next((status for status, pattern in _STATUS_OF_TEXT if pattern.search(text)), default)


def _find_page_status(page: str) -> int | None:
    if match := _PAGE.search(page):
        return int(match[1])
    if re.search(r"Cannot (GET|POST|PUT|PATCH|DELETE) /", page):
        return 404
    match = _PAGE_WITHOUT_NUMBER.search(page)
    if match is None:
        return None
    number = re.search(r"\b[45]\d\d\b", match[0])
    reason = next(filter(None, match.groups()))
    return int(number[0]) if number else infer_status(reason + page[:MAX_MESSAGE_CHARACTERS], 500)


def _detect_object_failure(data: Mapping[str, JSON], *, strict: bool = False) -> int | None:
    """The status of an object that reports a failure; with `strict` a message alone does not make it a failure."""
    fields = {_normalize_name(name): value for name, value in data.items() if value not in (None, [], {}, "")}
    fields = {name: value for name, value in fields.items() if not (name in _FAULTS and _is_no_fault(value))}
    if (
        len(data) == len(fields) == 1
        and next(iter(fields)) in _WRAPPERS
        and isinstance(inner := next(iter(fields.values())), Mapping)
    ):
        return _detect_object_failure(inner, strict=True)
    if not fields or _reports_success(fields) or _holds_data(fields):
        return None
    faults, refused, statuses = fields.keys() & _FAULTS, _reports_failure(fields), _list_failure_statuses(fields)
    numbered = {name for name in fields if re.fullmatch(r"[45]\d\d", name)}
    allowed = _MESSAGES | _STATUSES | _BESIDES | _FAULTS | numbered
    if faults or fields.get("success") is False or fields.get("ok") is False:
        allowed = allowed | _BESIDES_A_FAULT
        extra = (value for name, value in fields.items() if name not in allowed)
        if statuses and not any(isinstance(value, list | Mapping) for value in extra):
            return statuses[0]
    if fields.keys() - allowed:
        return None
    texts = [value for name, value in fields.items() if name in _MESSAGES and isinstance(value, str)]
    text = " ".join([*texts, *(json.dumps(fields[name], default=str) for name in faults)])
    listed = isinstance(fields.get("detail"), list)
    certain = refused or statuses or faults or _has_failure_code(fields)
    longest = _MAX_STATUS_MESSAGE_CHARACTERS if certain else MAX_MESSAGE_CHARACTERS
    if any(len(message) > longest for message in texts):
        return None
    if statuses := [*map(int, numbered), *statuses]:
        return statuses[0]
    only_message = not strict and texts and fields.keys() <= _MESSAGES | {"code", "type", "link"}
    reported = refused or faults or listed or (only_message and _is_failure_text(text))
    coded = bool(texts) and _has_failure_code(fields)
    return infer_status(text, 422 if listed else 400) if reported or coded else None


def _is_no_fault(value: JSON) -> bool:
    return value in (False, 0) or (isinstance(value, str | int) and str(value).strip().lower() in _NO_FAULT)


def _reports_success(fields: Mapping[str, JSON]) -> bool:
    """Whether the object says that the call succeeded."""
    yes = any(str(fields.get(name)).lower() in ("true", "1") for name in _REFUSALS - {"status", "response"})
    return yes or fields.get("status") is True or _is_success_status(fields.get("status"))


def _reports_failure(fields: Mapping[str, JSON]) -> bool:
    """Whether the object says that the call failed: `success` is false, or `status` is `error`."""
    no = any(str(fields.get(name)).lower() == "false" for name in _REFUSALS) or fields.get("success") in (0, "0")
    failed = any(_FAILED.fullmatch(str(fields.get(name))) for name in ("status", "type"))
    has_message = any(fields.get(name) and isinstance(fields.get(name), str) for name in _MESSAGES)
    failed |= has_message and any(_FAILED.fullmatch(str(fields.get(name))) for name in ("result", "response"))
    return no or failed or (has_message and "invalid" in str(fields.get("status")).lower())


def _has_failure_code(fields: Mapping[str, JSON]) -> bool:
    code = fields.get("code")
    return isinstance(code, str) and re.fullmatch(r"[\w.-]+", code) is not None and bool(_FAULT_CODE.search(code))


def _holds_data(fields: Mapping[str, JSON]) -> bool:
    """Whether a field for data holds more than a repeated status."""
    values = [fields.get(name) for name in ("data", "result", "info", "response", "results", "items", "body")]
    return any(
        isinstance(value, list) or (isinstance(value, Mapping) and bool(value.keys() - {"status"})) for value in values
    )


def _is_success_status(status: JSON) -> bool:
    return isinstance(status, int | str) and str(status).lower() in ("success", "successful", "ok", "200", "201")


def _list_failure_statuses(fields: Mapping[str, JSON]) -> list[int]:
    """HTTP failure statuses that an object names itself or in its `meta`, `error`, `fault`, `status` or `data`."""
    inner = [fields.get(name) for name in ("meta", "error", "fault", "status", "data")]
    pairs = [*fields.items(), *(pair for value in inner if isinstance(value, Mapping) for pair in value.items())]
    texts = [
        str(value)
        for name, value in pairs
        if _normalize_name(name) in _STATUSES
        and not isinstance(value, bool)
        and not (name == "code" and _is_identifier_code(fields))
    ]
    return [int(text) for text in texts if re.fullmatch(r"[45]\d\d", text) and int(text) in _KNOWN_STATUSES]


def _is_identifier_code(fields: Mapping[str, JSON]) -> bool:
    """Whether `code` identifies a thing, such as an area: the title or description beside it names no failure."""
    if fields.keys() & (_MESSAGES | _STATUSES - {"code"}) or _reports_failure(fields):
        return False
    texts = [str(fields[name]) for name in ("title", "description", "info", "result", "data") if name in fields]
    return bool(texts) and not _is_failure_text(" ".join(texts))


def _is_failure_text(text: str) -> bool:
    return any(pattern.search(text) for _, pattern in _STATUS_OF_TEXT)


def _normalize_name(name: object) -> str:
    return re.sub(r"[\s_-]", "", str(name)).lower()


_KNOWN_STATUSES = frozenset({*map(int, HTTPStatus), *range(520, 531), 419, 420, 440, 450, 498, 499})
"""Standard HTTP statuses and those that gateways and cloud providers add."""
