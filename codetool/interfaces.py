"""The Protocols of CodeTool, on one page.

An *option* is what a YAML file names: a frozen settings object whose constructor does no I/O. Options that own a
resource (a client, a model, a process) have `open()`, an asynchronous context manager that yields the live component.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from codetool.model_types import Sampling, Scores, ServedModel, Weights
from codetool.types import JSON, Candidate, Execution, HttpRequest, Node, Step, Task, ToolAnswer, ToolCall

CallTool = Callable[[HttpRequest], Awaitable[ToolAnswer]]
"""How a sandboxed step reaches tools: a request in, an answer out. A failing tool is an answer, never an exception."""

Examples = Callable[[ToolCall, int], Sequence[tuple[Mapping[str, JSON], JSON]]]
"""`(call, n)` → arguments and data of up to n other recorded calls of the same operation."""


class Expand(Protocol):
    """How a strategy lets the tree grow."""

    async def __call__(self, node: Node, n: int, *, show_tried: bool = False) -> Sequence[Node]:
        """Up to n executed and scored children of the node, identical programs merged.

        Empty at the depth limit, below a finished node, and when a budget is spent. With `show_tried` the policy reads
        what the node's earlier children did and is asked for another way, if its prompt has words for that.
        """
        ...


@runtime_checkable
class Benchmark(Protocol):
    """Tasks and their checker."""

    def tasks(self) -> Sequence[Task]:
        """All tasks in benchmark order. Raises MissingError if the data is not there."""
        ...

    def check(self, task: Task, answer: str | None) -> bool | None:
        """Whether the final answer is right; None where the task has no checked answer."""
        ...

    def checksum(self) -> str:
        """Hex sha256 of the data the tasks are made from; part of a result's identity."""
        ...


class ModelServers(Protocol):
    """The model servers that a run starts and ends itself."""

    async def serve(self, weights: Weights) -> ServedModel:
        """Where a model answers, once it does; the server lives until the run ends.

        Models of one base share one process, adapters as LoRA modules: it is started when the first of them is asked
        for, with all that the run's options named in `weights()`. Raises MissingError where vLLM is not installed or
        the server does not come up.
        """
        ...


class Policy(Protocol):
    """A model that writes steps."""

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
        """The n candidate next steps after `path`; where steps are given that were `tried` there, unlike them.

        `first` is the index of the first of them among all candidates ever drawn after this path. Together with
        `seed`, the task's id and the path it determines the draw, so arrival order changes nothing.
        """
        ...

    def using(self, prompt: Prompt, sampling: Sampling) -> Policy:
        """The same model under another prompt: what it is asked is no step, but the answer after one."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """How a task and a path become what a model reads, and what it writes becomes a step."""

    def messages(self, task: Task, path: Sequence[Node], tried: Sequence[Node] = ()) -> list[dict[str, str]]:
        """Chat messages (`role`, `content`) that ask for the next step; a longer path's only extend them.

        What was `tried` there stands at the end of the last message, and is no part of a longer path's.
        """
        ...

    def stop(self, k: int) -> str:
        """The text at which the writing of step k (one-based) ends; it is no part of the step."""
        ...

    def parse(self, raw: str, k: int, task: Task) -> Step:
        """The step that `raw` holds, as step k (one-based); one without code where it holds none. Never raises."""
        ...


@runtime_checkable
class PolicyOption(Protocol):
    """Settings of a policy."""

    @property
    def prompt(self) -> Prompt:
        """How a path becomes messages, and a text a step."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How candidates are drawn."""
        ...

    def checksum(self) -> str | None:
        """Hex sha256 of the files that determine what it writes; None where `model` and the sampling say it all.

        Raises MissingError if a file is not there.
        """
        ...

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """The price of so many tokens in USD, None where no prices are known."""
        ...

    def weights(self) -> Weights | None:
        """What `open` will ask the run's servers for, None if nothing. Every option's are known before one is opened.

        It may take a while and raises MissingError if files are not there.
        """
        ...

    def open(self, servers: ModelServers) -> AbstractAsyncContextManager[Policy]:
        """The live policy. Raises MissingError or UnreachableError before any task starts."""
        ...


class ProcessRewardModel(Protocol):
    """A judge of steps."""

    @property
    def sees_observation(self) -> bool:
        """Whether it judges steps that have run, by what they did too: an extension of the method."""
        ...

    async def score(
        self, task: Task, path: Sequence[Node], candidates: Sequence[Step], executions: Sequence[Execution] = ()
    ) -> Scores:
        """The latent reward of each candidate next step after `path`, from what was known before it ran.

        `executions` are what the candidates did, for a PRM that `sees_observation`; empty for any other.
        """
        ...


@runtime_checkable
class PRMOption(Protocol):
    """Settings of a PRM."""

    def checksum(self) -> str | None:
        """Hex sha256 of the files that determine its scores; None where the settings say it all.

        Raises MissingError if a file is not there.
        """
        ...

    def weights(self) -> Weights | None:
        """What `open` will ask the run's servers for, None if nothing. Every option's are known before one is opened.

        It may take a while and raises MissingError if files are not there.
        """
        ...

    def open(self, servers: ModelServers) -> AbstractAsyncContextManager[ProcessRewardModel | None]:
        """The live PRM, or None where the latent term is absent."""
        ...


class Interpreter(Protocol):
    """A live Python process that holds the state after a path."""

    async def branch(self) -> Interpreter:
        """A copy with every variable of this one; afterwards neither sees the other."""
        ...

    async def run(self, code: str) -> Execution:
        """Execute one step here. A step that hangs or dies costs only this branch."""
        ...

    async def close(self) -> None:
        """End the process. Closing twice is fine."""
        ...


class Executor(Protocol):
    """The sandbox: where interpreters come from."""

    @property
    def in_force(self) -> Mapping[str, str]:
        """What really confines generated code here, by layer."""
        ...

    async def start(self, task: Task, call_tool: CallTool) -> Interpreter:
        """An interpreter that has run the task's preamble. `call_tool` answers its requests and its branches'."""
        ...


@runtime_checkable
class ToolSource(Protocol):
    """One place that may know an answer; the broker asks several in order."""

    async def answer(self, call: ToolCall) -> ToolAnswer | None:
        """The answer, or None: not mine, ask the next source."""
        ...

    def checksum(self) -> str | None:
        """Hex sha256 of the data that determine its answers; None where no files do.

        Raises MissingError if the data are not there.
        """
        ...


class ToolSession(Protocol):
    """The tools of one task, or of one client of a tool server."""

    async def answer(self, call: ToolCall) -> ToolAnswer:
        """The answer to a call that has been routed, by the sources of `tools.mode`; never raises what one raised."""
        ...


class Sessions(Protocol):
    """Where sessions come from: an open broker."""

    def session(self, task: Task) -> ToolSession:
        """The tools of a task."""
        ...


class Simulator(Protocol):
    """Settings of a model that answers in a tool's place."""

    def checksum(self) -> str:
        """Hex sha256 of all that determines its answers."""
        ...

    def open(self, examples: Examples) -> AbstractAsyncContextManager[Any]:
        """The live simulator, a ToolSource. Raises ConfigError, MissingError or UnreachableError."""
        ...


class Judge(Protocol):
    """Settings of a judge of final answers. Cases, ballots and verdicts are values of `codetool.evaluation`."""

    @property
    def model(self) -> str | None:
        """Name of the model that votes."""
        ...

    @property
    def max_tokens(self) -> int:
        """New tokens of a vote."""
        ...

    def usd(self, tokens_in: int, tokens_out: int) -> float | None:
        """The price of so many tokens in USD, None where no prices are known."""
        ...

    def build_vote_settings(self, seed: int) -> Any:
        """How every vote is asked for, which names the votes in the journal. Raises ConfigError without a model."""
        ...

    async def probe(self) -> None:
        """Return if the judge can be asked. Raises ConfigError, MissingError or UnreachableError."""
        ...

    def build_vote_requests(self, case: Any) -> list[Any]:
        """The votes that an answer wants."""
        ...

    async def judge(self, cases: Any, file: Path, seed: int, count: Any = ...) -> list[Any]:
        """The judgement of each answer; votes that the journal `file` holds are not asked for again."""
        ...

    def build_comparison_requests(self, pair: Any, judged: Any) -> list[Any]:
        """The votes that a comparison of two answers wants."""
        ...

    async def compare(self, pairs: Any, judgements: Any, file: Path, seed: int, count: Any = ...) -> list[Any]:
        """How each answer compares with the other of its pair."""
        ...


class AnswerOption(Protocol):
    """Settings of a model that composes the final answer: the policy itself, or one that the option also opens."""

    @property
    def prompt(self) -> Prompt:
        """What the model reads and how its text becomes the answer."""
        ...

    @property
    def sampling(self) -> Sampling:
        """How the answer is drawn."""
        ...


class PrintedAnswer(Protocol):
    """Settings of an answer that nobody composes: what the path's last step printed."""

    @property
    def unfinished(self) -> str:
        """The answer of a path that has not ended."""
        ...


class Tracker(Protocol):
    """Where a finished run is shown, such as W&B."""

    def record(self, run: Any) -> Any:
        """Show a run folder; what became of it, or None where there is nothing to say."""
        ...


class ToolsOption(Protocol):
    """Settings of the broker that answers tool calls."""

    @property
    def mode(self) -> str:
        """Which sources answer."""
        ...

    @property
    def recordings(self) -> tuple[Path, ...]:
        """Files of recorded answers."""
        ...

    @property
    def cache(self) -> Any:
        """Published answers, None without."""
        ...

    @property
    def replica(self) -> Any:
        """The service's embedded copy, None without."""
        ...

    def open(self, tasks: Sequence[Task] = ()) -> AbstractAsyncContextManager[Any]:
        """The live broker. Raises ConfigError or MissingError."""
        ...


class ExecutorOption(Protocol):
    """Settings of the sandbox."""

    def open(self) -> AbstractAsyncContextManager[Executor]:
        """The live sandbox. Raises SandboxError."""
        ...


@runtime_checkable
class SearchStrategy(Protocol):
    """A way to walk the tree. It never talks to models, sandboxes or clocks: `expand` and its budget do."""

    depth: int
    """Highest number of steps of a path."""

    async def run(self, root: Node, expand: Expand) -> Node:
        """The chosen node: the finished one of highest cumulative reward, else the best unfinished one."""
        ...


@runtime_checkable
class Reward(Protocol):
    """How the rewards of a path's steps combine."""

    def cumulative(self, path: Sequence[Node]) -> float:
        """Reward of a path from the `spot` and `latent` of its steps."""
        ...
