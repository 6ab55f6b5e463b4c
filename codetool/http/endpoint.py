"""The settings that every option with a model behind an OpenAI-compatible server shares.

`conf/endpoint/openai.yaml` holds the defaults. Policies, PRMs, judges, summarisers and simulators inherit the fields,
so that `policy.base_url`, `judge.model` and `prm.timeout` are set where they are used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as record
from dataclasses import field
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, NonNegativeFloat, model_validator
from pydantic.dataclasses import dataclass

from codetool.credentials.api_keys import read_key, reject_key_as_name
from codetool.errors import ConfigError
from codetool.http.reachability import reject_secrets_in_url
from codetool.model_types import ServedModel
from codetool.runs.operational import Operational

SETTINGS_CONFIG = ConfigDict(extra="forbid", hide_input_in_errors=True)
"""No unknown setting, and no message of pydantic's that repeats a value, which may be a key."""


@record(frozen=True, kw_only=True)
class Endpoint:
    """Where a model is served, and how hard a client tries to get an answer."""

    base_url: str
    """Address up to and including the version, `http://localhost:8000/v1`; a query goes with every request."""
    model: str
    """Name of the model as the server lists it."""
    key_env: str | None
    """Environment variable that holds the API key; None or an unset variable sends no key."""
    concurrency: int
    """Requests in flight at most."""
    timeout: float
    """Seconds until the first byte of an answer."""
    retries: int
    """Further attempts after a 429, a 5xx or a broken connection; a 429 counts only if nobody is answered meanwhile."""
    backoff: float
    """Seconds before the first retry; doubled for each further one."""
    stream: bool = False
    """Whether answers are asked for as a stream of server-sent events."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of every request; they go before fields of the same name."""
    group: str = "policy"
    """The group of options that all this was set with; messages name it."""

    @property
    def key(self) -> str | None:
        """The API key from the environment, None where there is none. Raises ConfigError for what can be no key."""
        return read_key(self.key_env)


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class EndpointConfig:
    """How a model behind an OpenAI-compatible server is reached. Options inherit the fields."""

    model: str | None
    """Name of the model as the server lists it; None is the placeholder of a YAML file."""
    base_url: Annotated[str | None, Operational]
    """Address up to and including the version, `http://localhost:8000/v1`; a query goes with every request."""
    key_env: Annotated[str | None, Operational]
    """Environment variable that holds the API key; None or an unset variable sends no key."""
    concurrency: Annotated[int, Field(ge=1), Operational]
    """Requests in flight at most; a 429 lowers the bound for a while."""
    timeout: Annotated[float, Field(gt=0), Operational]
    """Seconds until the first byte of an answer; a retry after a time-out waits twice as long, two retries at most."""
    retries: Annotated[int, Field(ge=0), Operational]
    """Further attempts after a 429, a 5xx or a broken connection; a 429 counts only if nobody is answered meanwhile."""
    backoff: Annotated[float, Field(ge=0), Operational]
    """Seconds before the first retry; doubled for each further one, half to one and a half of it at random."""
    stream: Annotated[bool, Operational]
    """Whether answers are asked for as a stream of server-sent events, for servers that give nothing else."""
    extra_body: dict[str, Any] | None
    """Further fields of every request, such as `{chat_template_kwargs: {enable_thinking: false}}`; of two fields with
    one name this one is sent."""
    usd_per_million_in: Annotated[NonNegativeFloat | None, Operational]
    """Price of a million prompt tokens in USD; None if unknown."""
    usd_per_million_out: Annotated[NonNegativeFloat | None, Operational]
    """Price of a million new tokens in USD; None if unknown."""

    @model_validator(mode="after")
    def _reject_secrets(self) -> Self:
        instead = f"name the key's environment variable, {self.group}.key_env=NAME"
        reject_secrets_in_url(f"{self.group}.base_url", self.base_url, instead=instead)
        reject_key_as_name(f"{self.group}.key_env", self.key_env)
        return self

    @property
    def group(self) -> str:
        """The group of options that these settings belong to; messages name it."""
        return "policy"

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """The price of so many tokens in USD, None unless both prices are set."""
        if self.usd_per_million_in is None or self.usd_per_million_out is None:
            return None
        return (tokens_in * self.usd_per_million_in + tokens_out * self.usd_per_million_out) / 1e6

    def make_endpoint(self) -> Endpoint:
        """What a client needs to ask this server. Raises ConfigError where its address or model is not set."""
        group = self.group
        if not self.base_url:
            raise ConfigError(f"{group}.base_url is not set: name the server, {group}.base_url=http://HOST:PORT/v1")
        if not self.model:
            raise ConfigError(f"{group}.model is not set. Name one that {self.base_url} serves: {group}.model=NAME")
        return self._make_endpoint(ServedModel(self.base_url, self.model), self.key_env, self.timeout)

    def make_local_endpoint(self, served_model: ServedModel, timeout: float) -> Endpoint:
        """What a client needs to ask a server that the run has started itself: no key, and `timeout` in seconds."""
        return self._make_endpoint(served_model, None, timeout)

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
        )
