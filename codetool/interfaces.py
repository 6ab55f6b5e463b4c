"""The Protocols that CodeTool's replaceable parts implement: benchmarks, policies, PRMs, tools, sandboxes, strategies.

An *option* is the class that a YAML file names: a frozen settings object whose constructor does no I/O. An option that
needs a resource (a client, a model, a process) has `open()`, an asynchronous context manager for the live object.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from codetool.model_types import Sampling, Scores, ServedModel, Weights
from codetool.types import JSON, Candidate, Execution, HttpRequest, Node, Step, Task, ToolAnswer, ToolCall

CallTool = Callable[[HttpRequest], Awaitable[ToolAnswer]]
"""Function through which a sandboxed step calls a tool. A failing tool is an answer too, never an exception."""

Examples = Callable[[ToolCall, int], Sequence[tuple[Mapping[str, JSON], JSON]]]
"""`(call, n)` → arguments and data of up to n other recorded calls of the same operation."""


class Expand(Protocol):
    """Function that a search strategy calls to add children to a node."""

    async def __call__(self, node: Node, n: int, *, show_tried: bool = False) -> Sequence[Node]:
        """Sample, execute and score up to n new children of the node; identical programs become one child.

        Returns no children at the depth limit, below a finished node, and when a budget is spent. With `show_tried` the
        prompt shows what the node's earlier children did and asks for a different step, if the prompt supports that.
        """
        ...


@runtime_checkable
class Benchmark(Protocol):
    """Set of tasks with an answer checker."""

    def tasks(self) -> Sequence[Task]:
        """Return all tasks in benchmark order. Raises MissingError if the data is not there."""
        ...

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Return whether the final answer is right, None where the task has no checked answer."""
        ...

    def checksum(self) -> str:
        """Return the hex sha256 of the data that the tasks are made from; it is part of a result's identity."""
        ...


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


class Interpreter(Protocol):
    """Live Python process that holds the variables after a path."""

    async def branch(self) -> Interpreter:
        """Return a copy with all variables; later changes in one do not affect the other."""
        ...

    async def run(self, code: str, *, number: int | None = None) -> Execution:
        """Execute one step in this process. A step that hangs or crashes ends this process only.

        `number` is the step's one-based place on its path, for tracebacks: the steps before it may have had no code, or
        have ended their process. None counts the steps that this interpreter executed.
        """
        ...

    async def close(self) -> None:
        """End the process. Further calls have no effect."""
        ...


class Executor(Protocol):
    """Sandbox that starts interpreters."""

    @property
    def in_force(self) -> Mapping[str, str]:
        """Isolation layers that are active on this machine: name of the layer → how it confines generated code."""
        ...

    async def start(self, task: Task, call_tool: CallTool) -> Interpreter:
        """Start an interpreter and run the task's preamble. `call_tool` answers its and its branches' requests."""
        ...


@runtime_checkable
class ToolSource(Protocol):
    """Source of tool answers, such as recordings, a replica or a live service; the broker asks several in order."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """Answer the call, or return None if another source has to."""
        ...

    def checksum(self) -> str | None:
        """Return the hex sha256 of the data files that determine its answers, None without such files.

        Raises MissingError if the data is not there.
        """
        ...


class ToolSession(Protocol):
    """Tools of one task, or of one client of a tool server."""

    async def answer(self, call: ToolCall) -> ToolAnswer:
        """Answer a routed call by the sources of `tools.mode`. An error of a source becomes an answer."""
        ...


class ToolSessionFactory(Protocol):
    """Creates tool sessions; an open broker is one."""

    def session(self, task: Task) -> ToolSession:
        """Create the session of a task."""
        ...


class Simulator(Protocol):
    """Settings of a model that simulates tools."""

    def checksum(self) -> str:
        """Return the hex sha256 of everything that determines its answers."""
        ...

    def open(self, examples: Examples) -> AbstractAsyncContextManager[Any]:
        """Open the live simulator, a ToolSource. Raises ConfigError, MissingError or UnreachableError."""
        ...


class Judge(Protocol):
    """Settings of a judge of final answers. `codetool.judges` defines its inputs, vote requests and verdicts."""

    @property
    def model(self) -> str | None:
        """Name of the model that judges."""
        ...

    @property
    def max_tokens(self) -> int:
        """Maximum number of new tokens of one vote."""
        ...

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """Return the price of the tokens in USD, None without prices."""
        ...

    def build_vote_settings(self, seed: int) -> Any:
        """Return the settings of every vote, part of its key in the journal. Raises ConfigError without a model."""
        ...

    async def probe(self) -> None:
        """Check that the judge answers. Raises ConfigError, MissingError or UnreachableError."""
        ...

    def build_vote_requests(self, case: Any) -> list[Any]:
        """Return the vote requests for one answer."""
        ...

    async def judge(self, cases: Any, file: Path, seed: int, count: Any = ...) -> list[Any]:
        """Return the judgement of each answer; votes in the journal `file` are not requested again."""
        ...

    def build_comparison_requests(self, pair: Any, judged: Any) -> list[Any]:
        """Return the vote requests for the comparison of two answers."""
        ...

    async def compare(self, pairs: Any, judgements: Any, file: Path, seed: int, count: Any = ...) -> list[Any]:
        """Return the judgement of each pair of answers."""
        ...


class AnswerOption(Protocol):
    """Settings of a model that composes the final answer: the policy itself, or one that the option also opens."""

    @property
    def prompt(self) -> Prompt:
        """Format of the model's input and output."""
        ...

    @property
    def sampling(self) -> Sampling:
        """Sampling settings of the answer."""
        ...


class PrintedAnswer(Protocol):
    """Settings of a final answer that no model composes: the output of the path's last step."""

    @property
    def unfinished(self) -> str:
        """Answer of a path that is not finished."""
        ...


class Tracker(Protocol):
    """Uploads finished runs to a service such as W&B."""

    def record(self, run: Any) -> Any:
        """Upload a run folder. Returns the outcome, or None if there is nothing to report."""
        ...


class ToolsOption(Protocol):
    """Settings of the broker that answers tool calls."""

    @property
    def mode(self) -> str:
        """Name of the set of sources that answer."""
        ...

    @property
    def recordings(self) -> tuple[Path, ...]:
        """JSONL files of recorded answers."""
        ...

    @property
    def recorded_answers(self) -> Any:
        """Published answers of StableToolBench, None if not used."""
        ...

    @property
    def replica(self) -> Any:
        """Embedded copy of the service, None if not used."""
        ...

    def open(self, tasks: Sequence[Task] = ()) -> AbstractAsyncContextManager[Any]:
        """Open the live broker. Raises ConfigError or MissingError."""
        ...


class ExecutorOption(Protocol):
    """Settings of the sandbox."""

    def open(self) -> AbstractAsyncContextManager[Executor]:
        """Open the live sandbox. Raises SandboxError."""
        ...


@runtime_checkable
class SearchStrategy(Protocol):
    """Search algorithm over the tree of steps. Only `expand` uses models, the sandbox and budgets."""

    depth: int
    """Maximum number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """Return the finished node of highest cumulative reward, or the best unfinished node if none finished."""
        ...


@runtime_checkable
class Reward(Protocol):
    """Rule that combines the rewards of a path's steps."""

    def cumulative(self, path: Sequence[Node]) -> float:
        """Compute the reward of a path from the `spot` and `latent` of its steps."""
        ...
