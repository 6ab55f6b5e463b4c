"""One worker thread that writes all candidates: requests join and leave the batch between two tokens.

A request's prompt is computed once for all its candidates, and only from where it leaves the prompts seen before.
Candidates are one row of the batch until they draw different tokens; those of a sure policy seldom do. Each draws from
a random number generator of its own, so who else is in the batch does not touch its luck. The rounding of bfloat16
logits does depend on the batch's size and can tip a draw; in float32 it practically never does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from codetool.models.decoder import Decoder, RowGroup
from codetool.models.kv_slots import Prefix
from codetool.models.nucleus_sampling import sample_tokens
from codetool.models.prefix_cache import PrefixCache
from codetool.models.worker_thread import WorkerThread

PREFILL_CHUNK = 512
"""Prompt tokens computed between two looks at whether to stop."""


@dataclass
class GeneratedCandidate:
    """What is drawn for one seed."""

    random: random.Random
    tokens: list[int] = field(default_factory=list)


@dataclass(eq=False)
class GenerationRequest:
    """A prompt, one seed for each candidate wanted, and when a candidate's tokens are enough."""

    prompt: Sequence[int]
    seeds: Sequence[int]
    temperature: float
    top_p: float
    max_tokens: int
    is_ended: Callable[[Sequence[int]], bool]
    """Whether the tokens written so far end the candidate."""
    result: Future[list[list[int]]] = field(default_factory=Future)
    """The candidates' tokens in the order of the seeds."""
    candidates: list[GeneratedCandidate] = field(default_factory=list)
    rows: list[list[GeneratedCandidate]] = field(default_factory=list)
    """The candidates of each row of the group, in its order: those whose tokens are the same so far."""
    group: RowGroup | None = None


class GenerationWorker:
    """The thread; use `submit` from anywhere and `close` once."""

    def __init__(self, load: Callable[[], Decoder], rows: int, prefix_tokens: int, threads: int | None) -> None:
        """A request waits while its candidates could make the batch more than `rows`. Raises what `load` raises."""
        self._rows = rows
        self._prefixes = PrefixCache(prefix_tokens)
        self._thread = WorkerThread[GenerationRequest, Decoder]("generation", load, self._run_round, threads)

    def submit(self, request: GenerationRequest) -> Future[list[list[int]]]:
        """Queue a request. Cancelling its result takes it out of the batch before the next token."""
        self._thread.submit(request)
        return request.result

    def close(self) -> None:
        """Stop after the current token; unfinished requests are cancelled."""
        self._thread.close()

    def _run_round(self) -> None:
        while request := self._thread.take_job(self._has_room):
            self._start_request(request)
        if self._thread.active and not self._thread.closed:
            self._generate_token()

    def _has_room(self, request: GenerationRequest) -> bool:
        busy = sum(len(other.rows) for other in self._thread.active)
        return not busy or busy + len(request.seeds) <= self._rows

    def _start_request(self, request: GenerationRequest) -> None:
        """Compute the prompt and draw every candidate's first token."""
        prefix, logits = self._compute_prefix(request)
        if prefix is None or logits is None:
            return
        self._prefixes.add(prefix)
        request.candidates = [GeneratedCandidate(random.Random(seed)) for seed in request.seeds]
        request.rows = [request.candidates]
        request.group = self._thread.model.start(prefix)
        self._append_tokens(request, logits[None])

    def _compute_prefix(self, request: GenerationRequest) -> tuple[Prefix | None, Tensor | None]:
        prefix, logits = self._prefixes.find_longest(request.prompt), None
        done = len(prefix.tokens) if prefix else 0
        while done < len(request.prompt) and not (self._thread.closed or request.result.cancelled()):
            prefix, logits = self._thread.model.prefill(prefix, request.prompt[done : done + PREFILL_CHUNK])
            done = len(prefix.tokens)
        return (prefix, logits) if done == len(request.prompt) else (None, None)

    def _generate_token(self) -> None:
        """One more token for every row of every request."""
        active = [request for request in self._thread.active if request.rows and not request.result.cancelled()]
        self._thread.active = active
        if not active:
            return
        groups = [request.group for request in active if request.group is not None]
        last = [row[0].tokens[-1] for request in active for row in request.rows]
        logits = self._thread.model.step(groups, last)
        start = 0
        for request in active:
            count = len(request.rows)
            self._append_tokens(request, logits[start : start + count])
            start += count

    def _append_tokens(self, request: GenerationRequest, logits: Tensor) -> None:
        """Give each candidate its next token, from the logits of its row.

        Rows part where their candidates draw different tokens; the last candidate that ends brings the result.
        """
        uniforms = [[candidate.random.random() for candidate in row] for row in request.rows]
        drawn = sample_tokens(logits, uniforms, request.temperature, request.top_p)
        rows: list[int] = []
        writing: list[list[GeneratedCandidate]] = []
        for number, (row, tokens) in enumerate(zip(request.rows, drawn, strict=True)):
            parts: dict[int, list[GeneratedCandidate]] = {}
            for candidate, token in zip(row, tokens, strict=True):
                candidate.tokens.append(token)
                parts.setdefault(token, []).append(candidate)
            going = [part for part in parts.values() if not self._is_finished(request, part[0])]
            rows += [number] * len(going)
            writing += going
        request.rows = writing
        if request.group is not None:
            request.group.select_rows(rows)
        if not writing and request.result.set_running_or_notify_cancel():
            request.result.set_result([candidate.tokens for candidate in request.candidates])

    def _is_finished(self, request: GenerationRequest, candidate: GeneratedCandidate) -> bool:
        return len(candidate.tokens) >= request.max_tokens or request.is_ended(candidate.tokens)
