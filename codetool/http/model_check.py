"""Check a chat server, its key and its model before any task starts, by its list of models or a first request."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from codetool.errors import CodeToolError, ConfigError, MissingError, UnreachableError
from codetool.http.chat_connection import CONNECT_SECONDS, ChatConnection, ErrorResponse, NoModelListError
from codetool.http.chat_response import ListedModel
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

    async def run(self) -> dict[str, Any]:
        """List the served models, and return what the list tells about the model; empty without a list.

        Raises UnreachableError, MissingError (no key) or ConfigError (key, model).
        """
        group, model = self.endpoint.group, self.endpoint.model
        timeout = max(self.endpoint.timeout / (OPENING_RETRIES + 1), min(self.endpoint.timeout, MIN_OPENING_TIMEOUT))
        policy = make_opening_policy(group, self.endpoint.backoff)

        async def attempt() -> list[ListedModel] | ErrorResponse:
            answer = await self.connection.list_models(timeout)
            if isinstance(answer, ErrorResponse) and answer.error.is_transient:
                raise NoModelListError(format_error(answer.error, self.key), kind=answer.kind)
            return answer

        try:
            with collect_faults() as faults:
                models = await call_with_retries(attempt, policy)
        except RetriesExhaustedError as error:
            if isinstance(error.reason, NoModelListError):
                return {}  # some servers have no list of models, which is no fault; the first request decides
            report_all(faults)
            raise UnreachableError(
                f"{self.endpoint.base_url} cannot be reached: {error.reason}, {error.effort}. Start the server or set "
                f"its address with `{group}.base_url=`; it has {CONNECT_SECONDS:g} s to connect and {timeout:g} s to "
                f"answer (`{group}.timeout`)."
            ) from error
        report_all(faults)
        if isinstance(models, ErrorResponse):
            await self._handle_error(models.error)
            return {}
        listed = next((each for each in models if each.name == model or each.name.endswith(f"/{model}")), None)
        if models and listed is None:
            await self._handle_missing_model([each.name for each in models])
        return _describe(listed) if models else {}

    async def _handle_missing_model(self, names: Sequence[str]) -> None:
        """Raise ConfigError if the server does not know a model that it does not list."""
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        log.warning(
            "%s lists %s, and not %r: a first request decides", self.endpoint.base_url, listed, self.endpoint.model
        )
        await self._send_trial_request(f"It lists {listed}; choose one with `{self.endpoint.group}.model=`.")

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

    async def send_probe(self) -> None:
        """Send a request for one token. Raises UnreachableError unless it is answered or refused for good.

        Raises ConfigError or MissingError for a wrong key, model or address.
        """
        try:
            await self.send(self._make_short_request())
        except RetryableError as error:
            raise UnreachableError(f"{self.endpoint.base_url} gave no answer to a short request: {error}") from error
        except (ConfigError, MissingError):
            raise
        except CodeToolError as error:
            log.debug("the short request: %s", error)

    async def _send_trial_request(self, advice: str) -> None:
        """Send a request for one token. Raises ConfigError or MissingError for a wrong key, model or address."""
        try:
            await self.send(self._make_short_request())
        except (ConfigError, MissingError) as error:
            raise type(error)(f"{error} {advice}".strip()) from error
        except (CodeToolError, RetryableError) as error:
            log.debug("the first request: %s", error)

    def _make_short_request(self) -> dict[str, Any]:
        return {"model": self.endpoint.model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}


def _describe(listed: ListedModel | None) -> dict[str, Any]:
    """Return what a server's list tells about the model, by the names that a message uses."""
    if listed is None:
        return {"the model's name": "not listed"}
    return {"the model's name": listed.name, "the maximum length in tokens": listed.max_length}
