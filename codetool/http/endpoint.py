"""Settings of an OpenAI-compatible server, shared by all options that use a served model.

`conf/endpoint/openai.yaml` holds the defaults. Policies, PRMs, judges, summarisers and simulators inherit the fields,
so each has its own, such as `policy.base_url`, `judge.model` and `prm.timeout`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as record
from dataclasses import field, replace
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, NonNegativeFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from codetool.credentials.api_keys import read_key, reject_key_as_name
from codetool.errors import ConfigError
from codetool.http.addresses import Addresses, list_addresses
from codetool.http.reachability import reject_secrets_in_url
from codetool.model_types import ServedModel
from codetool.runs.operational import Operational

SETTINGS_CONFIG = ConfigDict(extra="forbid", hide_input_in_errors=True)
"""Reject unknown settings, and hide values, which may be keys, in pydantic's messages."""


PromptEncoder = Callable[[Sequence[Mapping[str, str]]], list[int] | None]
"""Function that returns the tokens of a chat that the server must not tokenize itself, None for any other chat."""


@record(frozen=True, kw_only=True)
class Endpoint:
    """Address and model of a chat server, and limits of a client's requests to it."""

    base_url: str
    """Address up to and including the version, `http://localhost:8000/v1`; its query is sent with every request."""
    model: str
    """Name of the model as the server lists it."""
    key_env: str | None
    """Environment variable that holds the API key; None or an unset variable sends no key."""
    concurrency: int
    """Maximum number of requests in flight."""
    timeout: float
    """Maximum seconds until the first byte of a response."""
    retries: int
    """Further attempts after a 429, a 5xx or a broken connection; a 429 counts only if nobody is answered meanwhile."""
    backoff: float
    """Seconds before the first retry; doubled for each further one."""
    stream: bool = False
    """Whether to request responses as a stream of server-sent events."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Additional fields of every request; they replace fields of the same name."""
    group: str = "policy"
    """Group of options with these settings, named in messages."""
    encode_prompt: PromptEncoder | None = None
    """For a server whose tokenizer is known here; None sends every chat as text."""
    replicas: tuple[str, ...] = ()
    """Addresses of further servers of the same model, in the form of `base_url`."""

    def list_servers(self) -> list[Endpoint]:
        """Return an endpoint for each server."""
        return [replace(self, base_url=address, replicas=()) for address in (self.base_url, *self.replicas)]

    @property
    def key(self) -> str | None:
        """The API key from the environment, None where there is none. Raises ConfigError for an invalid key."""
        return read_key(self.key_env)


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class EndpointConfig:
    """Settings of a model on an OpenAI-compatible server. Options inherit the fields."""

    model: str | None
    """Name of the model as the server lists it; None is the placeholder of a YAML file."""
    base_url: Annotated[Addresses | None, Operational]
    """Address up to and including the version, `http://localhost:8000/v1`; its query is sent with every request.
    Several addresses are replicas of one model: each task is sent to one of them, and to another if that one fails."""
    key_env: Annotated[str | None, Operational]
    """Environment variable that holds the API key; None or an unset variable sends no key."""
    concurrency: Annotated[int, Field(ge=1), Operational]
    """Maximum number of requests in flight; a 429 lowers the limit for a while."""
    timeout: Annotated[float, Field(gt=0), Operational]
    """Maximum seconds until the first byte of a response, doubled after each of the first two time-outs. The last byte
    must come within twice the time, or ten times for a stream."""
    retries: Annotated[int, Field(ge=0), Operational]
    """Further attempts after a 429, a 5xx or a broken connection; a 429 counts only if nobody is answered meanwhile."""
    backoff: Annotated[float, Field(ge=0), Operational]
    """Seconds before the first retry; doubled for each further one, half to one and a half of it at random."""
    stream: Annotated[bool, Operational]
    """Whether to request responses as a stream of server-sent events, for servers that support nothing else."""
    extra_body: dict[str, Any] | None
    """Additional fields of every request, such as `{chat_template_kwargs: {enable_thinking: false}}`; they replace
    fields of the same name."""
    usd_per_million_in: Annotated[NonNegativeFloat | None, Operational]
    """Price of a million prompt tokens in USD; None if unknown."""
    usd_per_million_out: Annotated[NonNegativeFloat | None, Operational]
    """Price of a million new tokens in USD; None if unknown."""
    parameters: Annotated[PositiveInt | None, Operational] = None
    """Number of parameters of the model, for counts of floating-point operations; None if unknown."""

    @model_validator(mode="after")
    def _reject_secrets(self) -> Self:
        instead = f"name the key's environment variable, {self.group}.key_env=NAME"
        for address in list_addresses(self.base_url):
            reject_secrets_in_url(f"{self.group}.base_url", address, instead=instead)
        reject_key_as_name(f"{self.group}.key_env", self.key_env)
        return self

    @property
    def group(self) -> str:
        """Group of options with these settings, named in messages."""
        return "policy"

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of the tokens in USD, None unless both prices are set."""
        if self.usd_per_million_in is None or self.usd_per_million_out is None:
            return None
        return (tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out) / 1e6

    def count_parameters(self) -> int | None:
        """Return the number of parameters of the model, None if it is unknown."""
        return self.parameters

    def make_endpoint(self) -> Endpoint:
        """Return the endpoint of this server. Raises ConfigError if its address or model is not set."""
        group = self.group
        if not self.base_url:
            raise ConfigError(f"{group}.base_url is not set: name the server, {group}.base_url=http://HOST:PORT/v1")
        if not self.model:
            [address, *_] = list_addresses(self.base_url)
            raise ConfigError(f"{group}.model is not set. Name one that {address} serves: {group}.model=NAME")
        address, *replicas = list_addresses(self.base_url)
        return self._make_endpoint(ServedModel(address, self.model, tuple(replicas)), self.key_env, self.timeout)

    def make_local_endpoint(
        self, served_model: ServedModel, timeout: float, encode_prompt: PromptEncoder | None = None
    ) -> Endpoint:
        """Return the endpoint of a server that the run started itself: without a key, `timeout` in seconds."""
        return replace(self._make_endpoint(served_model, None, timeout), encode_prompt=encode_prompt)

    def _make_endpoint(self, served_model: ServedModel, key_env: str | None, timeout: float) -> Endpoint:
        return Endpoint(
            base_url=served_model.base_url,
            model=served_model.model,
            key_env=key_env,
            concurrency=self.concurrency,
            timeout=timeout,
            retries=self.retries,
            backoff=self.backoff,
            stream=self.stream,
            extra_body=self.extra_body or {},
            group=self.group,
            replicas=served_model.replicas,
        )
