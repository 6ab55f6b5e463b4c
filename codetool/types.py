"""Frozen records that packages exchange: tasks, tools, steps, executions, nodes, search results. They do no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from codetool.ledger import Ledger

JSON = Any  # None, bool, int, float, str, or lists and dicts of them

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing (RFC 9110, 9.2.1)."""

Provenance = Literal["recorded", "replica", "simulated", "live"]
Effect = Literal["read", "write"]
FigureFormat = Literal["svg", "pdf", "png"]
ExecutionStatus = Literal["ok", "exception", "tool_failed", "timeout", "killed", "no_code"]
AnswerType = Literal["name", "number", "date", "title", "list", "ordered_list", "some_of", "yes_no", "url"]
"""`list` requires exactly the values, `ordered_list` also their order, `some_of` one or more of them and no others."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool, as its API document states it."""

    name: str
    location: Literal["path", "query", "body", "header"]
    type: str = "string"
    required: bool = False
    description: str = ""
    default: JSON = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tool:
    """One operation of a REST service: shown in prompts, and matched against requests by the broker."""

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
    """Whether a call reads or writes, if the document (`x-effect`) or an option says so; None: given by the method."""

    @property
    def endpoint(self) -> str:
        """Method and template, the notation of gold paths: `GET /movie/{movie_id}/credits`."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """Reference answer of a task: the type decides how texts are compared with the value.

    `yes_no` is a bool, `date` an ISO day, `url` an address or image path. Alternative spellings of a value are given as
    a list, `["Amélie", "Le Fabuleux Destin d'Amélie Poulain"]` for a title, and so may those of an entry of a list.
    """

    type: AnswerType
    value: JSON


@dataclass(frozen=True, slots=True)
class Task:
    """One query with the tools offered for it, and its reference solution where there is one."""

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
    """Python that runs before the first step; it defines names that the instruction mentions, such as `headers`."""
    template: str | None = None
    """Name of the template that made the task; intervals are clustered by it."""
    group: str | None = None
    """Part of the benchmark with results of its own, such as `G1_instruction`; None if the benchmark has no parts."""
    repeat: int = 1
    """Number of this search of the task, from 1 on, in a run with `repeats`; benchmarks leave it as it is."""


@dataclass(frozen=True, slots=True)
class Step:
    """One parsed step of a transcript. `code` is None where the model wrote none."""

    text: str
    """Text of the step, up to and without `[Step k Finished]`."""
    code: str | None
    finished: bool
    """Whether the step carries `[All Finished]`."""
    unused: int = field(default=0, compare=False)
    """Further Python blocks that the model wrote for this step; they are not run."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled completion of a policy: the parsed step and its token counts.

    `tokens_in` counts the prompt of a request once, on its first candidate; `tokens_out` is the candidate's own.
    """

    raw: str
    step: Step
    tokens_in: int = 0
    tokens_out: int = 0
    refused: bool = False
    """Whether a server refused the prompt as too long or by a content filter; `raw` holds the reason then."""
    finish_reason: str | None = None
    """Why an answer ended: `stop`, `length`, `content_filter`, `refusal`, `reasoning_only`, `empty`; None: unknown."""
    tokens_in_cached: int = 0
    """Those of `tokens_in` that were read from a prefix cache; 0 where a server does not tell."""
    log_probability: float | None = None
    """Natural logarithm of the probability of all its tokens under the policy at temperature 1, whatever the sampling
    settings; None where the policy does not tell it."""
    tokens: tuple[int, ...] = ()
    """Ids of the drawn tokens, those of the stop string included; empty where the policy does not tell them."""
    token_log_probabilities: tuple[float, ...] = ()
    """As `log_probability`, of each of `tokens`; empty where the policy does not tell them."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """HTTP request of generated code, sent from the sandbox to the broker."""

    method: str
    url: str
    """Absolute, query string included."""
    body: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False, compare=False)
    """Names and values that the code set; the broker decides which of them a service receives."""
    earlier_writes: tuple[ToolAnswer, ...] | None = field(default=None, repr=False, compare=False)
    """The answered writes on the path of the branch that asks, oldest first; None outside of a search tree."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Request after routing. `arguments` merges path, query and JSON body arguments; secrets are removed."""

    method: str
    url: str
    """Absolute, without query string."""
    arguments: Mapping[str, JSON]
    tool: Tool | None = None
    """The matched operation, None where no document knows the URL."""
    request: HttpRequest | None = field(default=None, repr=False, compare=False)
    """The original request without its secrets, to be sent to a live service. None for a call read from a file and for
    an invalid URL."""
    earlier_writes: tuple[ToolAnswer, ...] = field(default=(), repr=False, compare=False)
    """The answered writes to the same host on the path of the branch that asks, oldest first."""

    @property
    def endpoint(self) -> str | None:
        """`GET /search/movie`, or None where the call matched no document."""
        return self.tool.endpoint if self.tool else None

    @property
    def effect(self) -> Effect:
        """The tool's effect if it states one, else `read` for safe methods and `write` for others."""
        if self.tool and self.tool.effect:
            return self.tool.effect
        return "read" if self.method in SAFE_METHODS else "write"


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """Answer to a tool call with its source. `seconds` is the time that the broker waited for it."""

    call: ToolCall
    status: int
    """HTTP status."""
    body: str
    provenance: Provenance | None
    """None where nothing answered: the call missed, its host is not allowed or a budget is spent."""
    seconds: float = 0.0
    failure: Literal["miss", "host_not_allowed", "refused", "budget", "unreachable"] | None = None
    transient: bool = False
    """Whether it failed for a temporary reason outside the program: the service was down or its answer invalid."""
    simulator_tokens_in: int = 0
    """Prompt tokens of the model that was asked to simulate the answer."""
    simulator_tokens_out: int = 0
    """New tokens of that model."""

    @property
    def ok(self) -> bool:
        """Whether a source answered with a 2xx status."""
        return self.failure is None and 200 <= self.status < 300


STDERR_MARK = "[stderr, last lines]"
"""The line above what a step wrote to `sys.stderr`."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Result of running one step. Failing code is a result too, never an exception."""

    status: ExecutionStatus
    observation: str = ""
    """Output of the step with the value of its last expression, cut at the executor's limit. The last lines that it
    wrote to `sys.stderr` follow below a marker line."""
    error: str | None = None
    """`Type: message (line n: source)` of the exception, or the reason why the step was stopped."""
    seconds: float = 0.0
    """Seconds of the step: CPU time of all its threads, and time in which it slept or was blocked. Waiting for tools or
    for a core does not count."""
    calls: tuple[ToolAnswer, ...] = ()
    stderr: str = ""
    """The last lines that the step wrote to `sys.stderr`; the observation contains them too."""

    @property
    def printed(self) -> str:
        """The observation without the lines of `sys.stderr`: the text that can be an answer."""
        return self.observation.removesuffix(format_stderr(self.stderr))

    @property
    def ran(self) -> bool:
        """Whether the step ran and every tool call in it was answered (spot reward 1)."""
        return self.status == "ok"


def format_observation(printed: str, stderr: str) -> str:
    """Format the observation of a step: its output and, below a marker line, the text of `sys.stderr` if any."""
    separator = "\n" if stderr and printed and not printed.endswith("\n") else ""
    return f"{printed}{separator}{format_stderr(stderr)}"


def format_stderr(stderr: str) -> str:
    """Return the text below its marker line; empty for an empty text."""
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
    """Latent reward in [0, 1] by the PRM, None without a PRM."""
    cumulative: float = 0.0
    """Reward of the path from the root to this node (`reward.aggregate`)."""
    multiplicity: int = 1
    """Number of sampled candidates with the same normalised program."""
    tie: float = 0.0
    """Seeded number in [0, 1) that orders nodes of equal reward."""
    log_probability: float | None = None
    """`Candidate.log_probability` of the first candidate of this program, None where it is unknown."""
    tokens_out: int | None = None
    """Completion tokens of that candidate, None where they are unknown."""
    relative_reward: float = 0.0
    """Where `cumulative` lies between the lowest and the highest reward of paths of this length, from 0 to 1."""

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
class SearchResult:
    """Result of searching one task: the best node, all nodes, the cost, and the budget that ended the search."""

    best: Node
    nodes: tuple[Node, ...]
    ledger: Ledger
    stopped_by: str | None = None
    """Name of the budget that ended the search, None where the strategy ended it."""
    composed: str | None = None
    """The final answer if a model composed it from the path."""
