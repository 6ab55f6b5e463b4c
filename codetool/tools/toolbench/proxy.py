"""Live source for ToolBench (`tools.mode=live`): its proxy in front of RapidAPI, which needs a ToolBench key.

One URL takes every call: `POST` of `{category, tool_name, api_name, tool_input, strip, toolbench_key}`. The key comes
from the environment and is never stored. Source: ToolBench's rapidapi server and its clients.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Self

from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass

from codetool.credentials.api_keys import read_key
from codetool.errors import MissingError
from codetool.http.reachability import USERINFO_PATTERN
from codetool.interfaces import ToolSource
from codetool.runs.operational import Operational
from codetool.tool_calls.toolbench_api import Api
from codetool.tools.allow_list import extract_host, is_host
from codetool.tools.error_answers import make_error_answer
from codetool.tools.secrets import is_variable_name
from codetool.tools.toolbench.recorded_answers import cast_arguments
from codetool.tools.toolbench.reply_parser import parse_reply
from codetool.types import HttpRequest, ToolAnswer, ToolCall


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class ToolBenchProxyConfig:
    """Settings of ToolBench's proxy (`tools.tool_proxy.*`)."""

    url: Annotated[str, Operational]
    """URL of the proxy."""
    key_env: Annotated[str, Operational]
    """Environment variable that holds the ToolBench key."""

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        if self.url and USERINFO_PATTERN.match(self.url):
            raise ValueError(
                "tools.tool_proxy.url must not hold a user or a password, for addresses are written to config.yaml, "
                "reports and W&B: the key comes from the environment."
            )
        if "?" in self.url or "#" in self.url:
            raise ValueError(
                "tools.tool_proxy.url takes no query, for addresses are written to config.yaml, reports and W&B: a "
                "key comes from the environment, tools.tool_proxy.key_env=VARIABLE."
            )
        if not is_variable_name(self.key_env):
            raise ValueError(
                "tools.tool_proxy.key_env is the name of an environment variable that holds the key, such as "
                "TOOLBENCH_KEY, not the key itself."
            )
        return self

    @property
    def host(self) -> str:
        """`host` or `host:port` of the URL. Raises MissingError if the URL is not an http address."""
        host = extract_host(self.url)
        if host is None or not is_host(host):
            raise MissingError(
                f"tools.tool_proxy.url={self.url} is no http address; expected for example http://localhost:8080/rapidapi"
            )
        return host

    @property
    def key(self) -> str:
        """The key, empty if the environment has none. Raises ConfigError if it cannot be a key."""
        return read_key(self.key_env, allow_spaces=True) or ""

    def require_key(self) -> None:
        """Raise MissingError if the environment has no key."""
        if not self.key:
            raise MissingError(
                f"tools.mode=live needs the environment variable {self.key_env} (for {self.host}): set it, or use "
                "tools.mode=offline, which needs no key"
            )

    def source(self, live: ToolSource) -> ToolSource:
        """A source that calls the proxy through the live source `live`, which removes the key from answers."""
        return ToolBenchProxy(self, live)


class ToolBenchProxy:
    """A ToolSource of the services behind the proxy."""

    def __init__(self, settings: ToolBenchProxyConfig, live: ToolSource) -> None:
        self._settings, self._live = settings, live

    def checksum(self) -> None:
        """None: the answers of a live service are not known in advance."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The service's answer through the proxy; None for a call that is not ToolBench's."""
        api = Api.from_url(call.url)
        if api is None:
            return None
        body = {
            "category": api.category,
            "tool_name": api.tool,
            "api_name": api.name,
            "tool_input": json.dumps(cast_arguments(call)),
            "strip": "",
            "toolbench_key": self._settings.key,
        }
        request = HttpRequest("POST", self._settings.url, json.dumps(body))
        # The declared response is inside the proxy's answer. The tool is passed because its effect decides on retries.
        tool = call.tool and replace(call.tool, response={"response": ""})
        proxy_call = ToolCall(call.method, self._settings.url, {}, tool, request)
        answer = await self._live.answer(proxy_call)
        return answer and _unwrap(replace(answer, call=call))


def _unwrap(answer: ToolAnswer) -> ToolAnswer:
    """The service's answer inside the proxy's answer."""
    if answer.failure:
        return answer
    if not answer.ok:
        message = f"the proxy answered {answer.status}: {answer.body[:200]}"
        transient = answer.status in (401, 403, 408, 429) or answer.status >= 500
        hint = f"{message}. Is the key in TOOLBENCH_KEY a valid one?"
        return make_error_answer(answer.call, "unreachable", hint, transient=transient)
    try:
        content = json.loads(answer.body)
        reply = parse_reply(content.get("error"), content["response"])
    except (ValueError, KeyError, TypeError, AttributeError):
        message = f"the proxy answered with something else: {answer.body[:200]}"
        return make_error_answer(answer.call, "unreachable", message, transient=True)
    if reply is None:
        return make_error_answer(answer.call, "unreachable", "the proxy had no answer", transient=True)
    return replace(answer, status=reply.status, body=reply.body)
