"""Protocols of language models: policies, their prompts, process reward models, and the servers that a run starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from codetool.model_types import Sampling, Scores, ServedModel, Weights
from codetool.types import Candidate, Execution, Node, Step, Task


class ModelServers(Protocol):
    """Model servers (vLLM) that a run starts and stops itself."""

    async def serve(self, weights: Weights) -> ServedModel:
        """Return the address and name of a model once its server answers; the server runs until the run ends.

        Models of one base share one process, adapters as LoRA modules. The first request for any of them starts it with
        all models that the run's options named in `weights()`. Raises MissingError if vLLM is not installed or the
        server does not start.
        """
        ...


class Policy(Protocol):
    """Language model that proposes the next steps of a path."""

    async def propose(
        self,
        task: Task,
        path: Sequence[Node],
        n: int,
        *,
        first: int = 0,
        seed: int = 0,
        tried: Sequence[Node] = (),
    ) -> Sequence[Candidate]:
        """Sample n candidate next steps after `path`; if steps were `tried` there, ask for different ones.

        `first` is the index of the first new candidate among all candidates ever drawn after this path. The draw
        depends only on `first`, `seed`, the task's id and the path, not on the order of requests.
        """
        ...

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> Policy:
        """Return the same model with another prompt and sampling, for composing the final answer."""
        ...


@runtime_checkable
class LogProbabilityPolicy(Policy, Protocol):
    """Policy that tells the log-probabilities of its candidates only on request, since they cost something."""

    def with_log_probability(self) -> Policy:
        """Return the same policy, whose candidates have their log-probability where the model tells it."""
        ...


@runtime_checkable
class TokenPolicy(Policy, Protocol):
    """Policy that tells the tokens of its candidates only on request, since they cost something."""

    def with_tokens(self) -> Policy:
        """Return the same policy, whose candidates have their tokens and log-probabilities if the model tells them."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """Format of a policy's input and output: renders a task and a path as messages, and parses the model's text."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[dict[str, str]]:
        """Render the chat messages (`role`, `content`) that ask for the next step; a longer path only adds to them.

        Steps that were `tried` there are described at the end of the last message, and left out for longer paths.
        """
        ...

    def stop(self, k: int) -> str:
        """Return the text at which generation of step k (one-based) stops; it does not belong to the step."""
        ...

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """Parse the model's text as step k (one-based); the step's code is None where there is none. Never raises."""
        ...


@runtime_checkable
class ScoringPrompt(Protocol):
    """Format of the input of a PRM that scores steps one by one: renders a task, a path and a step as messages."""

    def messages(
        self, task: Task, path: Sequence[Node], step: Step, execution: Execution | None = None
    ) -> list[dict[str, str]]:
        """Render the chat messages (`role`, `content`) that ask for the score of `step` after `path`.

        `execution` is the result of the step itself, for a PRM that reads it.
        """
        ...

    def prefix_messages(self, task: Task, path: Sequence[Node]) -> list[dict[str, str]]:
        """Render the messages without the step: the part that all steps after `path` share."""
        ...

    def with_candidate(self, prefix: Sequence[Mapping[str, str]], k: int, text: str) -> list[dict[str, str]]:
        """Return the prefix with the text of step k (one-based) appended."""
        ...


@runtime_checkable
class PolicyOption(Protocol):
    """Settings of a policy."""

    @property
    def prompt(self) -> Prompt:
        """Format of the policy's input and output."""
        ...

    @property
    def sampling(self) -> Sampling:
        """Sampling settings of candidates."""
        ...

    def checksum(self) -> str | None:
        """Return the hex sha256 of the files that determine its output, None if the settings determine it.

        Raises MissingError if a file is not there.
        """
        ...

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of the tokens in USD, None without prices."""
        ...

    def weights(self) -> Weights | None:
        """Return the weights that `open` will have the run's servers load, None if it needs no such server.

        It is called for all options before any is opened. It may download files; raises MissingError without them.
        """
        ...

    def open(self, servers: ModelServers) -> AbstractAsyncContextManager[Policy]:
        """Open the live policy. Raises MissingError or UnreachableError before any task starts."""
        ...


class ProcessRewardModel(Protocol):
    """Process reward model: scores candidate steps before, or after, they run."""

    @property
    def sees_observation(self) -> bool:
        """Whether it scores steps after they ran and reads their observations: an extension of the method."""
        ...

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """Return the latent reward of each candidate next step after `path`.

        `executions` are the candidates' executions if `sees_observation`, else empty: scores use only what was known
        before a step ran.
        """
        ...


@runtime_checkable
class PRMOption(Protocol):
    """Settings of a PRM."""

    def checksum(self) -> str | None:
        """Return the hex sha256 of the files that determine its scores, None if the settings determine them.

        Raises MissingError if a file is not there.
        """
        ...

    def weights(self) -> Weights | None:
        """Return the weights that `open` will have the run's servers load, None if it needs no such server.

        It is called for all options before any is opened. It may download files; raises MissingError without them.
        """
        ...

    def open(self, servers: ModelServers) -> AbstractAsyncContextManager[ProcessRewardModel | None]:
        """Open the live PRM, or None where the reward has no latent term."""
        ...


@runtime_checkable
class Priced(Protocol):
    """Settings of a PRM whose tokens have a price."""

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of the tokens in USD, None without prices."""
        ...


@runtime_checkable
class SizedModel(Protocol):
    """Settings of a model that can tell its size."""

    def count_parameters(self) -> int | None:
        """Return the number of parameters of the model, None if it is unknown. Nothing is downloaded."""
        ...


@runtime_checkable
class Trainable(Protocol):
    """Settings of a policy whose model stage=train can train."""

    @property
    def model(self) -> str:
        """Hub name or folder of the base model."""
        ...

    @property
    def prompt(self) -> Any:
        """Format of the model's input; it is recorded beside the trained weights."""
        ...

    def find_trainable_model(self) -> Any:
        """Return the `codetool.models.locate.ModelFolders` of the weights that training starts from.

        Raises ConfigError if the model cannot be trained with these settings, MissingError if it is not there.
        """
        ...


@runtime_checkable
class TrainablePRM(Trainable, Protocol):
    """Settings of a PRM whose model stage=train can train on the process data of stage=collect."""

    @property
    def labels(self) -> tuple[str, str]:
        """Words for high and for low potential; each is one token of the model."""
        ...


@runtime_checkable
class Servable(Protocol):
    """Settings of a PRM that stage=serve_prm can serve."""

    def weights(self) -> Weights | None:
        """Return the weights that the run's own vLLM server has to serve for it; None if it needs none."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """Return the JSON object that `/health` shows, such as its `model`, `labels` and `prompt`.

        Raises ConfigError if it cannot be served with these settings, MissingError without its model.
        """
        ...

    def open_scorer(self, servers: ModelServers) -> AbstractAsyncContextManager[Any]:
        """Open the `codetool.prm.label_scorer.LabelScorer` that scores chats."""
        ...
