"""Check a chat server, its key and its model before any task starts, by its list of models or a first request."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError
from codetool.http.chat_connection import CONNECT_SECONDS, ChatConnection, ErrorResponse, NoModelListError
from codetool.http.endpoint import Endpoint
from codetool.http.fault_counts import collect_faults, report_all
from codetool.http.retry import RetriesExhaustedError, RetryableError, RetryPolicy, call_with_retries
from codetool.http.server_error import ServerError
from codetool.http.user_errors import format_error

log = logging.getLogger(__name__)

OPENING_RETRIES, OPENING_BACKOFF = 3, 0.1
"""Retries of a request that is sent before any task starts, and the seconds before the first one."""
MIN_OPENING_TIMEOUT = 5.0
"""Seconds that each of these requests may take, or the endpoint's time-out if that is less; a quarter of it if more."""


def make_opening_policy(service: str, backoff: float) -> RetryPolicy:
    """Return how requests that are sent before any task starts are retried; `backoff` is the configured one."""
    return RetryPolicy(OPENING_RETRIES, min(backoff, OPENING_BACKOFF), service=service)


@dataclass(frozen=True)
class ModelCheck:
    """Check of one server over an open connection."""

    endpoint: Endpoint
    key: str | None
    """The API key, None if there is none."""
    connection: ChatConnection
    send: Callable[[dict[str, Any]], Awaitable[None]]
    """Sends a chat request once, in the form that the server supports."""
    make_error: Callable[[ServerError], CodeToolError]
    """Returns the exception for a permanent error."""

    async def run(self) -> None:
        """List the served models. Raises UnreachableError, MissingError (no key) or ConfigError (key, model)."""
        group, model = self.endpoint.group, self.endpoint.model
        timeout = max(self.endpoint.timeout / (OPENING_RETRIES + 1), min(self.endpoint.timeout, MIN_OPENING_TIMEOUT))
        policy = make_opening_policy(group, self.endpoint.backoff)

        async def attempt() -> list[str] | ErrorResponse:
            names = await self.connection.list_models(timeout)
            if isinstance(names, ErrorResponse) and names.error.is_transient:
                raise NoModelListError(format_error(names.error, self.key), kind=names.kind)
            return names

        try:
            with collect_faults() as faults:
                names = await call_with_retries(attempt, policy)
        except RetriesExhaustedError as error:
            if isinstance(error.reason, NoModelListError):
                return  # some servers have no list of models, which is no fault; the first request decides
            report_all(faults)
            raise UnreachableError(
                f"{self.endpoint.base_url} cannot be reached: {error.reason}, {error.effort}. Start the server or set "
                f"its address with `{group}.base_url=`; it has {CONNECT_SECONDS:g} s to connect and {timeout:g} s to "
                f"answer (`{group}.timeout`)."
            ) from error
        report_all(faults)
        if isinstance(names, ErrorResponse):
            await self._handle_error(names.error)
        elif names and not any(name == model or name.endswith(f"/{model}") for name in names):
            listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
            log.warning("%s lists %s, and not %r: a first request decides", self.endpoint.base_url, listed, model)
            await self._send_trial_request(f"It lists {listed}; choose one with `{group}.model=`.")

    async def _handle_error(self, error: ServerError) -> None:
        """Raise if the server does not list its models for a missing or wrong key; some keys are for chat only."""
        if error.status not in {401, 403}:
            return
        if error.status == 401 and not re.search(r"scope|permission", error.message, re.IGNORECASE):
            raise self.make_error(error)
        if self.key is None:
            raise self.make_error(error)
        log.warning(
            "%s does not list its models: %s; a first request decides",
            self.endpoint.base_url,
            format_error(error, self.key),
        )
        await self._send_trial_request("")

    async def _send_trial_request(self, advice: str) -> None:
        """Send a request for one token. Raises ConfigError or MissingError for a wrong key, model or address."""
        body = {"model": self.endpoint.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            await self.send(body)
        except (ConfigError, MissingError) as error:
            raise type(error)(f"{error} {advice}".strip()) from error
        except (CodeToolError, RetryableError) as error:
            log.debug("the first request: %s", error)
