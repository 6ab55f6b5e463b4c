"""Request a judge's votes. Each vote is requested once, journalled when it arrives, and reused by later runs.

A vote's key is the hash of everything that determines it. A killed run therefore loses only the votes in flight, and
other settings of the judge request new votes and keep the old ones. A vote belongs to one task: two tasks with the same
prompt have two votes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from codetool.concurrency import gather_or_cancel
from codetool.errors import CodeToolError, PromptRefusedError, UnreachableError
from codetool.http.chat_response import Completion
from codetool.http.endpoint import Endpoint
from codetool.http.replicas import stick_to_replica
from codetool.http.replicated_chat import Chat, open_chat
from codetool.judges.verdict_parser import parse_choice, parse_label
from codetool.runs import journal
from codetool.runs.record_shape import Shape
from codetool.runs.seeding import draw_uniform

log = logging.getLogger(__name__)

VOTES_FILE = "votes.jsonl"
"""Journal of votes in a run folder."""
VERDICTS = "verdicts.jsonl"
"""Journal of votes on the leaves of a folder of stage=collect."""
VOTE_SHAPE: Shape = {
    "key": str, "task_id": str, "label": str, "readable": bool, "looks": int, "said": str, "tokens_in": int,
    "tokens_out": int,
}  # fmt: skip
"""Required fields of a line of the journal and their types."""
UNREADABLE_LABELS: dict[str, str] = {"answer": "Unsolved", "comparison": "equal"}
"""Label of a vote whose reply cannot be parsed, by the kind of the vote."""

MAX_UNANSWERED = 3
"""Number of votes without an answer, while no other vote got one, after which no further vote is requested."""
MAX_NAMED = 5
"""Maximum number of tasks that a message names."""

MAX_UNANSWERED = 3
"""Number of votes in a row without an answer after which no further vote is requested."""
MAX_NAMED = 5
"""Maximum number of tasks that a message names."""

OnVote = Callable[["Vote"], None]
"""Called with each new vote."""


@dataclass(frozen=True, slots=True)
class VoteRequest:
    """A request for one vote."""

    kind: Literal["answer", "comparison"]
    task_id: str
    number: int
    """The round of votes, from 0."""
    prompt: str
    """The user message."""
    second: str | None = None
    """The user message that follows a vote Unsure; None for no second look."""
    order: str = ""
    """Order of the answers in a comparison: `forward` shows the run's own answer first, `backward` the reference's."""

    def seed(self, seed: int) -> int:
        """Return the seed that is sent to the server; it differs for each vote."""
        return int(draw_uniform(seed, self.task_id, f"{self.kind} vote {self.number} {self.order}") * 2**31)


@dataclass(frozen=True, slots=True)
class Vote:
    """A vote of the judge, or a vote that was decided without a request."""

    label: str
    """A `verdict_parser.Label` or, in a comparison, a `verdict_parser.Choice`."""
    readable: bool = True
    looks: int = 0
    """Number of requests: 1, 2 with a second look, or 0 for a vote decided without a request."""
    said: str = ""
    """The judge's last reply."""
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(frozen=True, slots=True)
class VoteSettings:
    """The settings of every request, which are part of a vote's key."""

    model: str
    temperature: float | None
    max_tokens: int
    seed: int
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    def key(self, request: VoteRequest) -> str:
        """Return the vote's key in the journal: the hex sha256 of everything that determines the vote."""
        text = json.dumps([asdict(self), asdict(request)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


async def collect_votes(
    requests: Sequence[VoteRequest],
    settings: VoteSettings,
    server: Endpoint,
    file: Path,
    on_vote: OnVote = lambda vote: None,
) -> list[Vote]:
    """Return the vote of each request, in order. Votes missing in `file` are requested concurrently and journalled.

    Raises what the client raises on opening. A vote that gets no answer does not stop the others; UnreachableError then
    names the tasks at the end. The votes received until then are kept.
    """
    cached = {line["key"]: _decode_vote(line) for line in journal.read_records(file) if _is_reusable(line)}
    keys = [settings.key(request) for request in requests]
    missing = {key: request for key, request in zip(keys, requests, strict=True) if key not in cached}
    if missing:
        with journal.Journal(file) as votes:
            async with open_chat(server) as client:
                unanswered = UnansweredVotes()

                async def collect_vote(key: str, request: VoteRequest) -> Vote | None:
                    answered_before = unanswered.answered
                    try:
                        vote = await _request_vote(client, request, settings)
                    except UnreachableError as error:
                        unanswered.add(request, error, answered_before)
                        return None
                    except CodeToolError:
                        raise  # further votes would meet it too
                    except Exception as error:  # a defect must cost one vote, not the others; log.txt has the traceback
                        log.warning("%s: unreadable vote: %r", request.task_id, error, exc_info=True)
                        vote = Vote(UNREADABLE_LABELS[request.kind], readable=False, looks=1, said=repr(error))
                    unanswered.answered += 1
                    identification = {"task_id": request.task_id, "kind": request.kind, "number": request.number}
                    votes.append({"key": key, **identification, "order": request.order, **asdict(vote)})
                    on_vote(vote)
                    return vote

                new_votes = await gather_or_cancel(collect_vote(key, request) for key, request in missing.items())
                unanswered.raise_if_any(len(missing))
        cached |= {key: vote for key, vote in zip(missing, new_votes, strict=True) if vote is not None}
    return [cached[key] for key in keys]


@dataclass
class UnansweredVotes:
    """Votes that got no answer. They do not stop the others, unless nothing is answered any more."""

    task_ids: list[str] = field(default_factory=list)
    first_error: UnreachableError | None = None
    answered: int = 0
    """Number of votes with an answer."""
    fruitless: int = 0
    """Number of votes without an answer during whose attempts no other vote got one either."""

    def add(self, request: VoteRequest, error: UnreachableError, answered_before: int) -> None:
        """Record a vote without an answer. Raises its error if the server answers nobody any more."""
        self.task_ids.append(request.task_id)
        self.first_error = self.first_error or error
        self.fruitless += self.answered == answered_before
        if self.fruitless >= MAX_UNANSWERED:
            raise error

    def raise_if_any(self, requested: int) -> None:
        """Raise UnreachableError, with the tasks, if any vote had no answer."""
        if self.first_error is None:
            return
        named = sorted(set(self.task_ids))
        tasks = ", ".join(named[:MAX_NAMED]) + (f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else "")
        raise UnreachableError(
            f"{len(self.task_ids)} of {requested} votes had no answer, those of {tasks}; the other votes are kept. "
            f"The first error: {self.first_error}"
        )


def count_missing_votes(requests: Iterable[VoteRequest], settings: VoteSettings, file: Path) -> int:
    """Return the number of requests that have no vote in the journal yet."""
    return len(list_missing_votes(requests, settings, file))


def list_missing_votes(requests: Iterable[VoteRequest], settings: VoteSettings, file: Path) -> list[VoteRequest]:
    """Return the different requests that have no vote in the journal yet."""
    cached = {line["key"] for line in journal.read_records(file) if _is_reusable(line)}
    by_key = {settings.key(request): request for request in requests}
    return [request for key, request in by_key.items() if key not in cached]


def _is_reusable(line: Mapping[str, Any]) -> bool:
    """Return whether a journal line is a vote to reuse. A vote that could not be parsed is requested again."""
    return "key" in line and "label" in line and bool(line.get("readable", True))


async def _request_vote(client: Chat, request: VoteRequest, settings: VoteSettings) -> Vote:
    """Request a vote, and a second look if the vote is Unsure and the request has a prompt for it."""
    read: Callable[[str], str | None] = parse_label if request.kind == "answer" else parse_choice
    try:
        first = await _complete_prompt(client, request.prompt, request, settings)
    except CodeToolError as error:
        _raise_unless_prompt_refused(error, request, "an unreadable vote")
        return Vote(UNREADABLE_LABELS[request.kind], readable=False, looks=1, said=str(error))
    vote = _make_vote(request, read(first.texts[0]), 1, first)
    if vote.label != "Unsure" or request.second is None:
        return vote
    try:
        second = await _complete_prompt(client, request.second, request, settings)
    except CodeToolError as error:
        _raise_unless_prompt_refused(error, request, "the judge stays unsure")
        return vote
    return _make_vote(request, read(second.texts[0]), 2, first, second)


def _raise_unless_prompt_refused(error: CodeToolError, request: VoteRequest, consequence: str) -> None:
    """Log an error that concerns this prompt alone; re-raise any other error, since every vote would meet it."""
    if not isinstance(error, PromptRefusedError):
        raise error
    log.warning("%s: %s; %s", request.task_id, error, consequence)


async def _complete_prompt(client: Chat, prompt: str, request: VoteRequest, settings: VoteSettings) -> Completion:
    with stick_to_replica(request.task_id):
        return await client.complete(
            [{"role": "user", "content": prompt}],
            n=1,
            temperature=settings.temperature,
            top_p=1.0,
            max_tokens=settings.max_tokens,
            seed=request.seed(settings.seed),
        )


def _make_vote(request: VoteRequest, label: str | None, looks: int, *answers: Completion) -> Vote:
    return Vote(
        label or UNREADABLE_LABELS[request.kind],
        readable=label is not None,
        looks=looks,
        said=answers[-1].texts[0],
        tokens_in=sum(answer.tokens_in for answer in answers),
        tokens_out=sum(sum(answer.tokens_out) for answer in answers),
    )


def _decode_vote(line: Mapping[str, Any]) -> Vote:
    names = ("label", "readable", "looks", "said", "tokens_in", "tokens_out")
    return Vote(**{name: line[name] for name in names})
