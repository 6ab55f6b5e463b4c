"""From a request to a call, and from a call to the one key that equal calls share.

Limits of the key: a list and the same values joined by commas differ, and so do spellings of a number or a truth value
for arguments that a document declares as text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from urllib.parse import quote, unquote, urlencode, urlsplit

from codetool.credentials.secret_names import normalize_name
from codetool.tools.allow_list import extract_host
from codetool.tools.headers import extract_header_arguments, select_headers
from codetool.tools.request_arguments import drop_secret_pairs, group_by_name, merge_arguments, parse_body, parse_query
from codetool.tools.secrets import is_secret
from codetool.tools.url_router import Match, get_router
from codetool.types import JSON, HttpRequest, Parameter, Tool, ToolCall

_SURROGATE = re.compile("[\ud800-\udfff]")
_SAFE = "!$&'()*+,;=:@"  # characters of a path segment besides the unreserved ones (RFC 3986, 3.3)
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,12})?")  # as many digits as Decimal keeps exactly


def route_request(
    request: HttpRequest,
    tools: tuple[Tool, ...],
    secret_names: frozenset[str] = frozenset(),
    *,
    keep_declared: bool = False,
    secret_headers: frozenset[str] = frozenset(),
) -> ToolCall:
    """The call that a request makes: the operation it matches, its arguments, and no secret in any of them.

    Scheme, letter case of the host and a trailing slash do not matter to the match. `secret_names` adds argument names,
    spelled as in `SECRET_ARGUMENTS`, that are secrets for this request, and `secret_headers` names of headers; with
    `keep_declared` no argument that the operation's document declares is one otherwise. What is no http URL becomes a
    call without tool, arguments and request.
    """
    method, text = request.method.upper(), _replace_surrogates(request.url)
    host = extract_host(text)
    if host is None:
        return ToolCall(method, _strip_url_secrets(text), {})
    parts = urlsplit(text)
    segments = [unquote(segment) for segment in parts.path.removeprefix("/").removesuffix("/").split("/")]
    match = get_router(tools).find(method, host, segments)
    declared = match.tool.parameters if match and keep_declared else ()
    exempt = frozenset(normalize_name(parameter.name) for parameter in declared)
    url = _format_url(match, secret_names) if match else f"{parts.scheme}://{host}{_format_path(segments)}"
    slash = "/" if match is None and parts.path.endswith("/") else ""
    query = drop_secret_pairs(parse_query(parts.query), secret_names, exempt)
    body = parse_body(_replace_surrogates(request.body or ""))
    if body:
        body = body.drop_secrets(secret_names, exempt)
    headers = select_headers(request.headers, match.tool if match else None, secret_headers)
    path = (
        {name: value for name, value in match.variables if not _is_secret_variable(match, name, secret_names)}
        if match
        else {}
    )
    return ToolCall(
        method,
        url,
        merge_arguments(
            path,
            group_by_name(query),
            body.arguments if body else {},
            extract_header_arguments(headers, match.tool if match else None),
        ),
        match.tool if match else None,
        HttpRequest(method, f"{url}{slash}?{urlencode(query)}".removesuffix("?"), body.text if body else None, headers),
    )


def compute_call_key(call: ToolCall) -> str:
    """`METHOD URL {arguments}`, one text for all spellings of the same call, the same in every run.

    The URL is the operation's template where one matched. Arguments are sorted; None is dropped, and so is an optional
    argument equal to the default that its document states; numbers, truth values and texts are compared by their text
    (`1`, `1.0` and `"1"` are one), NFC-normalised and trimmed. Lists keep their order.
    """
    known = {parameter.name: parameter for parameter in call.tool.parameters} if call.tool else {}
    url = call.tool.server + call.tool.path if call.tool else call.url
    arguments = {}
    for name, value in call.arguments.items():
        parameter = known.get(name)
        plain = _normalize_argument(value, parameter)
        if plain is not None and not _is_default(plain, parameter):
            arguments[_strip(name)] = plain
    text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{call.method} {url.rstrip('/')} {text}"


def _normalize_argument(value: JSON, parameter: Parameter | None) -> JSON:
    kind = parameter.type.lower() if parameter else ""
    plain = _normalize(value, kind)
    return [plain] if kind == "array" and plain is not None and not isinstance(plain, list) else plain


def _is_default(plain: JSON, parameter: Parameter | None) -> bool:
    """Whether leaving the argument out means the same. For a required one it does not: its default is an example."""
    if parameter is None or parameter.required or parameter.default is None:
        return False
    return bool(plain == _normalize_argument(parameter.default, parameter))


def _normalize(value: JSON, kind: str) -> JSON:
    """The value with every scalar as text; None stays, and is dropped from dictionaries."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, str):
        return _normalize_text(_strip(value), kind)
    if isinstance(value, Mapping):
        return {_strip(str(name)): _normalize(item, "") for name, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_normalize(item, "") for item in value]
    return None if value is None else str(value)


def _normalize_text(text: str, kind: str) -> str:
    """One spelling of a number or truth value, as far as its declared type says that it is one.

    Undeclared texts that look like numbers are left alone: `1.10` may be a version, `007` a title.
    """
    if kind in ("integer", "number", "int", "float") and _NUMBER.fullmatch(text):
        number = Decimal(text)
        return str(int(number)) if number == int(number) else f"{number.normalize():f}"
    return text.lower() if kind != "string" and text.lower() in ("true", "false") else text


def _strip(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _format_url(match: Match, secret_names: frozenset[str]) -> str:
    """The URL of a matched call as its document writes it; a variable that is a secret stays `{name}`."""
    url = match.tool.server + match.tool.path
    for name, value in match.variables:
        if not _is_secret_variable(match, name, secret_names):
            url = url.replace(f"{{{name}}}", quote(value, safe=_SAFE), 1)
    return url


def _is_secret_variable(match: Match, variable: str, secret_names: frozenset[str]) -> bool:
    """Whether a path's variable is a secret; one that the document describes as a parameter is none by its name."""
    described = {normalize_name(p.name) for p in match.tool.parameters if p.location == "path"}
    return is_secret(variable, secret_names, frozenset(described))


def _format_path(segments: list[str]) -> str:
    return "".join(f"/{quote(segment, safe=_SAFE)}" for segment in segments) if any(segments) else ""


def _replace_surrogates(text: str) -> str:
    """The text without lone surrogates, which no URL or body on the wire can hold."""
    return _SURROGATE.sub("\ufffd", text)


def _strip_url_secrets(url: str) -> str:
    """What may be shown of a text that is no URL of ours: nothing of a user name, nor after `?` or `#`."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])
