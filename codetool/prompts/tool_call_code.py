"""Generate the Python code of one REST call from a tool and its arguments, as the code of a step."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import quote

from codetool.types import JSON, SAFE_METHODS, Tool

_VARIABLE = re.compile(r"\{([^{}]+)\}")
_HEADERS = re.compile(r"^headers\s*=", re.MULTILINE)


def generate_call_code(tool: Tool, arguments: Mapping[str, JSON], preamble: str) -> str:
    """Return Python code that makes the call and prints the answer, or raises if a path variable is missing.

    Arguments go where the tool's document puts them. Unknown ones go into the query of a safe method and into the body
    of any other method. `headers` are sent if the preamble defines them.
    """
    variables = _VARIABLE.findall(tool.path)
    if missing := [name for name in variables if arguments.get(name) is None]:
        return generate_error_code(f"{tool.name} needs {', '.join(missing)} in its Action Input.")
    path = _VARIABLE.sub(lambda match: quote(_to_text(arguments[match[1]]), safe="", errors="replace"), tool.path)
    locations = {parameter.name: parameter.location for parameter in tool.parameters}
    unknown = "query" if tool.method in SAFE_METHODS else "body"
    rest = {name: value for name, value in arguments.items() if name not in variables}
    sent = {
        name: _to_text(value) for name, value in rest.items() if locations.get(name) == "header" and value is not None
    }
    body = {name: value for name, value in rest.items() if locations.get(name, unknown) == "body"}
    query = {
        name: _encode_query_value(value)
        for name, value in rest.items()
        if name not in body and locations.get(name) != "header"
    }
    headers = "headers" if _HEADERS.search(preamble) else ""
    if sent:
        headers = f"{{**headers, **{sent!r}}}" if headers else repr(sent)
    given = [repr(f"{tool.server}{path}"), *([f"headers={headers}"] if headers else [])]
    given += [f"params={query!r}"] if query else []
    given += [f"json={body!r}"] if body else []
    return f"import requests\nresponse = requests.{tool.method.lower()}({', '.join(given)})\nprint(response.text)"


def generate_error_code(problem: str) -> str:
    """Return Python code that raises ValueError with the problem, which the model reads as its observation."""
    return f"problem = {problem!r}\nraise ValueError(problem)"


def _encode_query_value(value: JSON) -> JSON:
    """Return a query value for `requests`: a list repeats its name, booleans and objects are written as JSON."""
    if isinstance(value, list):
        return [_to_text(item) for item in value]
    return _to_text(value) if isinstance(value, bool | dict) else value


def _to_text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
