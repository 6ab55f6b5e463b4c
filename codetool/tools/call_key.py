"""Route an HTTP request to a documented tool, and compute the key that equal tool calls share.

Limits of the key: a list differs from the same values joined by commas, and different spellings of a number or a
boolean differ if the document declares the argument as a string.
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
    """The tool call of a request: the matching operation and the arguments, with all secrets removed.

    The match ignores the scheme, the case of the host and a trailing slash. `secret_names` lists further argument names
    that are secrets for this request, normalized like `SECRET_ARGUMENTS`, and `secret_headers` further header
    names. With `keep_declared`, arguments that the operation's document declares are kept unless they are listed there.
    A URL that is not http becomes a call without tool, arguments and request.
    """
    method, text = request.method.upper(), _replace_surrogates(request.url)
    host = extract_host(text)
    if host is None:
        return ToolCall(method, strip_url_secrets(text), {})
    parts = urlsplit(text)
    segments = [unquote(segment) for segment in parts.path.removeprefix("/").removesuffix("/").split("/")]
    match = get_router(tools).find(method, host, segments)
    declared = match.tool.parameters if match and keep_declared else ()
    exempt = frozenset(normalize_name(parameter.name) for parameter in declared)
    tool = match.tool if match else None
    url = _format_url(match, secret_names) if match else f"{parts.scheme}://{host}{_format_path(segments)}"
    slash = "/" if match is None and parts.path.endswith("/") else ""
    query = drop_secret_pairs(parse_query(parts.query), secret_names, exempt)
    body = parse_body(_replace_surrogates(request.body or ""))
    if body:
        body = body.drop_secrets(secret_names, exempt)
    headers = select_headers(request.headers, tool, secret_headers)
    arguments = merge_arguments(
        _list_path_arguments(match, secret_names),
        group_by_name(query),
        body.arguments if body else {},
        extract_header_arguments(headers, tool),
    )
    address = f"{url}{slash}?{urlencode(query)}".removesuffix("?")
    return ToolCall(method, url, arguments, tool, HttpRequest(method, address, body.text if body else None, headers))


def _list_path_arguments(match: Match | None, secret_names: frozenset[str]) -> dict[str, str]:
    """The path's variables that are no secrets, by name."""
    variables = match.variables if match else ()
    return {name: value for name, value in variables if match and not _is_secret_variable(match, name, secret_names)}


def compute_call_key(call: ToolCall) -> str:
    """`METHOD URL {arguments}`: one text for all spellings of the same call, stable over runs.

    The URL is the template of the matching operation, if there is one. Arguments are sorted; None is dropped, and so is
    an optional argument equal to its documented default. Numbers, booleans and strings are compared by their text (`1`,
    `1.0` and `"1"` are equal), NFC-normalised and stripped. Lists keep their order.
    """
    parameters = {parameter.name: parameter for parameter in call.tool.parameters} if call.tool else {}
    url = call.tool.server + call.tool.path if call.tool else call.url
    arguments = {}
    for name, value in call.arguments.items():
        parameter = parameters.get(name)
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
    """Whether the call means the same without the argument. A required argument's default is only an example."""
    if parameter is None or parameter.required or parameter.default is None:
        return False
    return bool(plain == _normalize_argument(parameter.default, parameter))


def _normalize(value: JSON, kind: str) -> JSON:
    """The value with every scalar as text; None stays, but is dropped from dictionaries."""
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
    """One spelling of a number or boolean whose type is declared.

    Texts without a declared type that look like numbers stay as they are: `1.10` may be a version, `007` a title.
    """
    if kind in ("integer", "number", "int", "float") and _NUMBER.fullmatch(text):
        number = Decimal(text)
        return str(int(number)) if number == int(number) else f"{number.normalize():f}"
    return text.lower() if kind != "string" and text.lower() in ("true", "false") else text


def _strip(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _format_url(match: Match, secret_names: frozenset[str]) -> str:
    """The URL of a matched call in the spelling of its document; a secret path variable stays `{name}`."""
    url = match.tool.server + match.tool.path
    for name, value in match.variables:
        if not _is_secret_variable(match, name, secret_names):
            url = url.replace(f"{{{name}}}", quote(value, safe=_SAFE), 1)
    return url


def _is_secret_variable(match: Match, variable: str, secret_names: frozenset[str]) -> bool:
    """Whether a path variable is a secret. The name alone does not make a documented parameter a secret."""
    described = {normalize_name(p.name) for p in match.tool.parameters if p.location == "path"}
    return is_secret(variable, secret_names, frozenset(described))


def _format_path(segments: list[str]) -> str:
    return "".join(f"/{quote(segment, safe=_SAFE)}" for segment in segments) if any(segments) else ""


def _replace_surrogates(text: str) -> str:
    """The text without lone surrogates, which cannot be encoded in a URL or a body."""
    return _SURROGATE.sub("\ufffd", text)


def strip_url_secrets(url: str) -> str:
    """The URL without user name, query and fragment, which may hold secrets."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", url, maxsplit=1)[0])
