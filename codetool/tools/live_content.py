"""Detect live answers whose body is not the declared JSON: HTML pages, truncated or empty bodies, error objects."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from codetool.types import ToolCall

_JSON_TYPE = re.compile(r"\s*(application|text)/([\w.+-]+\+)?json\b", re.IGNORECASE)
MAX_PARSED_CHARS = 1_000_000
"""Length above which the first and last character decide, since parsing takes up to 20 times a text's memory."""
_ERROR_FIELDS = ("error", "errors", "fault", "message", "status_message", "detail")
MAX_ERROR_CHARS = 10_000
"""Maximum length of an answer that may be an error object."""
_PASSING_FAULT = re.compile(
    r"temporar|overload|unavailable|too many requests|rate.?limit|timed? ?-?out|try again|bad gateway|backend|"
    r"internal (server )?error|upstream",
    re.IGNORECASE,
)
"""What a service says that has failed itself and may answer later."""
_PAGE = re.compile(r"\s*<(!doctype html|html|head|body|\?xml)", re.IGNORECASE)


def find_content_fault(call: ToolCall, status: int, content_type: str, text: str) -> str | None:
    """A description of what is wrong with the body of a successful answer, None if nothing is.

    Only answers are checked that are JSON by their content type or by the tool's document. HTML pages, truncated and
    empty bodies come from proxies, login pages and overloaded servers, and say nothing about the call.
    """
    if not 200 <= status < 300 or status in (204, 205) or call.method == "HEAD":
        return None
    says_json = _JSON_TYPE.match(content_type) is not None
    declared = call.tool is not None and call.tool.response is not None
    if not says_json and (not declared or "Accept" in call.arguments):  # the program asked for something else
        return None
    text = text.removeprefix("\ufeff").strip()
    if not text:
        return "nothing where JSON is declared"
    if is_json(text):
        return _find_reported_fault(call, text)
    if _PAGE.match(text) or "text/html" in content_type.lower():
        return "a page of HTML where JSON is declared"
    declares_structure = call.tool is not None and isinstance(call.tool.response, Mapping | list)
    malformed = says_json or text[0] in "{[" or declares_structure
    return "JSON that is broken off or malformed" if malformed else None


def _find_reported_fault(call: ToolCall, text: str) -> str | None:
    """A passing failure of the service that an object reports without any field of the declared response."""
    declared = call.tool.response if call.tool else None
    if not text.startswith("{") or not isinstance(declared, Mapping) or len(text) > MAX_ERROR_CHARS:
        return None
    content = json.loads(text)
    if content.keys() & declared.keys():
        return None
    message = next((json.dumps(content[name]) for name in _ERROR_FIELDS if content.get(name)), "")
    return f"an error where an answer is declared: {message[:200]}" if _PASSING_FAULT.search(message) else None


def is_json(text: str) -> bool:
    """Whether a text is JSON."""
    if len(text) > MAX_PARSED_CHARS:
        return (text[0], text[-1]) in (("{", "}"), ("[", "]"), ('"', '"'))
    try:
        json.loads(text)
    except RecursionError:
        return True  # nested too deeply to parse, but not malformed so far
    except ValueError:
        return False
    return True
