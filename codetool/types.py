"""The frozen records that packages exchange. They hold values and never behaviour that does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

JSON = Any  # None, bool, int, float, str, or lists and dicts of them

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing (RFC 9110, 9.2.1)."""

Provenance = Literal["recorded", "replica", "simulated", "live"]
Effect = Literal["read", "write"]
ExecutionStatus = Literal["ok", "exception", "tool_failed", "timeout", "killed", "no_code"]
AnswerType = Literal["name", "number", "date", "title", "list", "ordered_list", "some_of", "yes_no", "url"]
"""`list` wants exactly the values, `ordered_list` in their order too; `some_of` one or more of them, nothing else."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool, as its document states it."""

    name: str
    location: Literal["path", "query", "body", "header"]
    type: str = "string"
    required: bool = False
    description: str = ""
    default: JSON = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """One operation of a REST service: what a prompt shows and what the broker matches requests against."""

    name: str
    """Name in the notation of the reference data, `GET_movie_movie_id_credits`."""
    method: str
    """Upper-case HTTP method."""
    server: str
    """Scheme, host and base path without a trailing slash, `https://api.themoviedb.org/3`."""
    path: str
    """URL template below the server, `/movie/{movie_id}/credits`."""
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    response: JSON = None
    """Shape of a successful answer, reduced to names and types: `{"id": "integer", "cast": [{"name": "string"}]}`."""
    effect: Effect | None = None
    """Whether a call only reads or writes, if its document (`x-effect`) or an option says so; None: as its method."""

    @property
    def endpoint(self) -> str:
        """Method and template, the notation of gold paths: `GET /movie/{movie_id}/credits`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """The checked answer of a task: its type decides how texts are compared with its value.

    `yes_no` is a bool, `date` an ISO day, `url` an address or image path. Equally right spellings of a value stand in a
    list, `["Amélie", "Le Fabuleux Destin d'Amélie Poulain"]` for a title, and so may those of an entry of a list.
    """

    type: AnswerType
    value: JSON


@dataclass(frozen=True, slots=True)
class Task:
    """One query with the tools offered for it, and what is known about its solution."""

    id: str
    query: str
    tools: tuple[Tool, ...]
    gold: tuple[str, ...] = ()
    """Endpoints of the gold path in order; empty where none is known."""
    gold_calls: tuple[str, ...] = ()
    """The calls of the reference solution in order, each as `GET /path/155?name=value` below the server with sorted and
    URL-encoded arguments; empty where none is known."""
    answer: Answer | None = None
    preamble: str = ""
    """Python that runs before the first step; it defines what the instruction promises, for example `headers`."""
    template: str | None = None
    """Name of the template that made the task; intervals are clustered by it."""
    group: str | None = None
    """Part of its benchmark that results are told of as well, `G1_instruction`; None where there are no parts."""


@dataclass(frozen=True, slots=True)
class Step:
    """One parsed step of the transcript. `code` is None where the model wrote none."""

    text: str
    """The model's words for this step, normalised to end before `[Step k Finished]`."""
    code: str | None
    finished: bool
    """Whether the step carries `[All Finished]`."""
    unused: int = field(default=0, compare=False)
    """Further Python blocks that the model wrote for this step; they are not run."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One answer of a policy: the parsed step and what it cost.

    `tokens_in` counts the prompt of a request once, on its first candidate; `tokens_out` is the candidate's own.
    """

    raw: str
    step: Step
    tokens_in: int = 0
    tokens_out: int = 0
    refused: bool = False
    """Whether the prompt was refused, as too long or by a content filter: `raw` says so, and is nobody's answer."""
    finish_reason: str | None = None
    """Why a server's answer ended (`stop`, `length`, `content_filter`, `refusal`, `reasoning_only`, `empty`); None
    where nothing tells it."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as generated code made it, on its way from the sandbox to the broker."""

    method: str
    url: str
    """Absolute, query string included."""
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    """Names and values as the code set them; which of them a service is sent is decided by the broker."""
    earlier_writes: tuple[ToolAnswer, ...] | None = field(default=None, repr=False, compare=False)
    """The answered writes on the path of the branch that asks, oldest first; None where the asker knows no branches."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A request after routing. `arguments` merges path, query and JSON body arguments; secrets are already removed."""

    method: str
    url: str
    """Absolute, without query string."""
    arguments: Mapping[str, JSON]
    tool: Tool | None = None
    """The matched operation, None where no document knows the URL."""
    request: HttpRequest | None = field(default=None, repr=False, compare=False)
    """What a live service is sent: the request as it was written, its secrets removed. None for a call read from a file
    and for a URL that is none."""
    earlier_writes: tuple[ToolAnswer, ...] = field(default=(), repr=False, compare=False)
    """The answered writes to the same host on the path of the branch that asks, oldest first."""

    @property
    def endpoint(self) -> str | None:
        """`GET /search/movie`, or None where the call matched no document."""
        return self.tool.endpoint if self.tool else None

    @property
    def effect(self) -> Effect:
        """What the tool is marked with; else `read` for methods that change nothing, and `write` for the others."""
        if self.tool and self.tool.effect:
            return self.tool.effect
        return "read" if self.method in SAFE_METHODS else "write"


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What came back for a call, and from where. `seconds` is the broker's waiting time."""

    call: ToolCall
    status: int
    """HTTP status."""
    body: str
    provenance: Provenance | None
    """None where nothing answered: the call missed, its host is not allowed or a budget is spent."""
    seconds: float = 0.0
    failure: Literal["miss", "host_not_allowed", "refused", "budget", "unreachable"] | None = None
    transient: bool = False
    """Whether it failed for a reason outside the program that may pass: the service was down, or answered garbage."""

    @property
    def ok(self) -> bool:
        """Whether the tool really answered: a 2xx status from a source."""
        return self.failure is None and 200 <= self.status < 300


STDERR_MARK = "[stderr, last lines]"
"""The line above what a step wrote to `sys.stderr`."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What running one step did. Code that fails is a result to learn from, never an exception of ours."""

    status: ExecutionStatus
    observation: str = ""
    """What the step printed; its last expression counts as printed. Cut at the executor's output limit. The last lines
    of what it wrote to `sys.stderr` follow it below a mark."""
    error: str | None = None
    """`Type: message (line n: source)` of the exception, or what stopped the step."""
    seconds: float = 0.0
    """Wall time of the step in seconds, without the time spent waiting for tools."""
    calls: tuple[ToolAnswer, ...] = ()
    stderr: str = ""
    """The last lines that the step wrote to `sys.stderr`; they stand in the observation too."""

    @property
    def printed(self) -> str:
        """The observation without what was written to `sys.stderr`: what counts as an answer."""
        return self.observation.removesuffix(format_stderr(self.stderr))

    @property
    def ran(self) -> bool:
        """Whether the step counts as executed: it ran and every tool call in it was answered (spot reward 1)."""
        return self.status == "ok"


def format_observation(printed: str, stderr: str) -> str:
    """The observation of a step: what it printed and, below a mark, what it wrote to `sys.stderr`, if anything."""
    between = "\n" if stderr and printed and not printed.endswith("\n") else ""
    return f"{printed}{between}{format_stderr(stderr)}"


def format_stderr(stderr: str) -> str:
    """The text below its mark; empty for none."""
    return f"{STDERR_MARK}\n{stderr}" if stderr else ""


@dataclass(frozen=True)
class Node:
    """One step in a search tree, executed and scored. The root has no step, no execution and depth 0."""

    id: str
    """Child indices from the root, one-based: `1-2-1`; `0` for the root."""
    parent: Node | None = None
    depth: int = 0
    step: Step | None = None
    execution: Execution | None = None
    spot: float = 0.0
    latent: float | None = None
    """The PRM's value in [0, 1], None where no PRM judged."""
    cumulative: float = 0.0
    """Reward of the path from the root to here (`reward.aggregate`)."""
    multiplicity: int = 1
    """How many sampled candidates had this same normalised program."""
    tie: float = 0.0
    """Seeded number in [0, 1) that orders nodes of equal reward."""

    @property
    def finished(self) -> bool:
        """Whether the path ends here with `[All Finished]`."""
        return self.step is not None and self.step.finished

    @property
    def rank(self) -> tuple[float, float]:
        """Sort key: cumulative reward, then the seeded tie."""
        return (self.cumulative, self.tie)

    @cached_property
    def path(self) -> tuple[Node, ...]:
        """The nodes from the first step to this one, the root left out."""
        return (*self.parent.path, self) if self.parent else ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a task cost. Tokens of the policy and of the PRM are counted apart; `usd` is None without prices.

    Every number but `prm_tokens_computed` is the same in every repetition of the same search.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    prm_tokens: int = 0
    """Tokens of the prompts that the PRM was asked."""
    executions: int = 0
    tool_calls: int = 0
    usd: float | None = None
    prm_tokens_computed: int = 0
    """Tokens of them that were computed: those in a cache, perhaps put there by other tasks, are left out."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The outcome of one search over one task: the chosen node, the whole tree, the cost and why it ended early."""

    best: Node
    nodes: tuple[Node, ...]
    ledger: Ledger
    stopped_by: str | None = None
    """Name of the budget that ended the search, None where the strategy ended it."""
    composed: str | None = None
    """The final answer, where a model has composed it from the path."""
