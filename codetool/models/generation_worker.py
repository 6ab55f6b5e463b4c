"""A worker thread that generates all candidates with continuous batching: requests join and leave between two tokens.

A request's prompt is computed once for all its candidates, and only from where it differs from earlier prompts.
Candidates share a row of the batch until they sample different tokens. Each candidate has its own random number
generator, so its samples do not depend on the other candidates of the batch. Where the batch has few rows, a pass also
reads guesses of the next tokens (see `codetool.models.draft_table`), which change no sample. The rounding of bfloat16
logits depends on the batch size and can change a sample; in float32 this practically never happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from torch import Tensor

from codetool.models.decoder import Decoder, RowGroup
from codetool.models.draft_table import DraftTable
from codetool.models.kv_slots import Prefix
from codetool.models.nucleus_sampling import compute_log_probabilities, sample_tokens
from codetool.models.prefix_cache import PrefixCache
from codetool.models.worker_thread import WorkerThread

MAX_DRAFTED_ROWS = 16
"""Number of tokens of a pass, with those guessed, whose computation hides behind the reading of the weights."""
PREFILL_CHUNK = 512
"""Number of prompt tokens computed between two checks for cancellation."""


@dataclass
class GeneratedCandidate:
    """The tokens generated with one seed so far, and the seed's random number generator."""

    random: random.Random
    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    """Sum of the tokens' log-probabilities at temperature 1 and without a nucleus."""
    token_log_probabilities: list[float] = field(default_factory=list)


@dataclass(eq=False)
class GenerationRequest:
    """A prompt, one seed for each candidate to generate, the sampling settings and the end condition."""

    prompt: Sequence[int]
    seeds: Sequence[int]
    temperature: float
    top_p: float
    max_tokens: int
    is_ended: Callable[[Sequence[int]], bool]
    """Returns whether the tokens generated so far end the candidate."""
    result: Future[list[GeneratedCandidate]] = field(default_factory=Future)
    """All candidates, in the order of the seeds."""
    candidates: list[GeneratedCandidate] = field(default_factory=list)
    rows: list[list[GeneratedCandidate]] = field(default_factory=list)
    """The unfinished candidates of each row of the group; those of one row have the same tokens so far."""
    group: RowGroup | None = None
    expected_cached_tokens: int | None = None
    """Number of tokens of the prompt in the prefix cache when the worker first saw the request; None before."""
    cached_tokens: int = 0
    """Number of tokens of the prompt that were in the prefix cache when it started."""


class GenerationWorker:
    """The worker thread for generation. `submit` can be called from any thread; call `close` once at the end."""

    def __init__(
        self,
        load: Callable[[], Decoder],
        rows: int,
        prefix_tokens: int,
        threads: int | None,
        draft_tokens: int = 0,
    ) -> None:
        """Start the thread and load the model. Raises what `load` raises.

        `rows` is the maximum batch size: a request waits until its candidates fit. `prefix_tokens` is the capacity of
        the prefix cache in tokens, `threads` the maximum number of CPU threads, `draft_tokens` the maximum number
        of guessed tokens of a row in one pass.
        """
        self._rows = rows
        self._prefixes = PrefixCache(prefix_tokens)
        self._drafts = DraftTable() if draft_tokens else None
        self._draft_tokens = draft_tokens
        self._thread = WorkerThread[GenerationRequest, Decoder](
            "generation", load, self._run_round, threads, uses_idle_cores=True
        )

    def submit(self, request: GenerationRequest) -> Future[list[GeneratedCandidate]]:
        """Queue a request and return its result. Cancelling the result removes the request before the next token."""
        self._thread.submit(request)
        return request.result

    def close(self) -> None:
        """Stop after the current token and cancel unfinished requests."""
        self._thread.close()

    def _run_round(self) -> None:
        while request := self._thread.take_job(self._has_room, self._expect_cached_tokens):
            self._start_request(request)
        if self._thread.active and not self._thread.closed:
            self._generate_token()

    def _expect_cached_tokens(self, request: GenerationRequest) -> int:
        """Return the cached part of a waiting prompt, by which requests are ordered.

        A path that has begun continues before another one begins, while its prompt is still in the cache. With many
        tasks at once, first in first out would evict every prompt before its path continues.
        """
        if request.expected_cached_tokens is None:
            request.expected_cached_tokens = self._prefixes.count_cached_tokens(request.prompt)
        return request.expected_cached_tokens

    def _has_room(self, request: GenerationRequest) -> bool:
        busy = sum(len(other.rows) for other in self._thread.active)
        return not busy or busy + len(request.seeds) <= self._rows

    def _start_request(self, request: GenerationRequest) -> None:
        """Compute the prompt and sample the first token of every candidate."""
        prefix, logits = self._compute_prefix(request)
        if prefix is None or logits is None:
            return
        self._prefixes.add(prefix)
        if self._drafts is not None:
            self._drafts.add_prompt(request.prompt[request.cached_tokens :])
        request.candidates = [GeneratedCandidate(random.Random(seed)) for seed in request.seeds]
        request.rows = [request.candidates]
        request.group = self._thread.model.start(prefix)
        self._append_tokens(request, [[]], logits[None])

    def _compute_prefix(self, request: GenerationRequest) -> tuple[Prefix | None, Tensor | None]:
        prefix, logits = self._prefixes.find_longest(request.prompt), None
        computed_tokens = request.cached_tokens = len(prefix.tokens) if prefix else 0
        while computed_tokens < len(request.prompt) and not (self._thread.closed or request.result.cancelled()):
            prefix, logits = self._thread.model.prefill(
                prefix, request.prompt[computed_tokens : computed_tokens + PREFILL_CHUNK]
            )
            computed_tokens = len(prefix.tokens)
        return (prefix, logits) if computed_tokens == len(request.prompt) else (None, None)

    def _generate_token(self) -> None:
        """Generate at least one token for every row of every active request; more where a draft was right."""
        active = [request for request in self._thread.active if request.rows and not request.result.cancelled()]
        self._thread.active = active
        if not active:
            return
        groups = [request.group for request in active if request.group is not None]
        drafts = self._draft(active)
        texts = [
            [row[0].tokens[-1], *draft]
            for request, row_drafts in zip(active, drafts, strict=True)
            for row, draft in zip(request.rows, row_drafts, strict=True)
        ]
        tokens = [token for text in texts for token in text]
        logits = self._thread.model.step(groups, tokens, list(map(len, texts)) if len(tokens) > len(texts) else None)
        start = 0
        for request, row_drafts in zip(active, drafts, strict=True):
            count = sum(1 + len(draft) for draft in row_drafts)
            self._append_tokens(request, row_drafts, logits[start : start + count])
            start += count

    def _draft(self, active: Sequence[GenerationRequest]) -> list[list[list[int]]]:
        """Return a draft for each row of each request; empty ones where the batch has many rows without them."""
        drafts = self._drafts
        if drafts is None or not self._thread.model.reads_drafts:
            return [[[] for _ in request.rows] for request in active]
        count = min(self._draft_tokens, MAX_DRAFTED_ROWS // sum(len(request.rows) for request in active) - 1)
        return [
            [
                drafts.draft(row[0].tokens, min(count, request.max_tokens - len(row[0].tokens) - 1))
                for row in request.rows
            ]
            for request in active
        ]

    def _append_tokens(self, request: GenerationRequest, drafts: Sequence[Sequence[int]], logits: Tensor) -> None:
        """Sample the next tokens of each candidate from the logits after its row and after its row's draft.

        A row is split where its candidates sample different tokens. When the last candidate ends, the result is set.
        """
        places: list[int] = []
        next_rows: list[list[GeneratedCandidate]] = []
        start = 0
        for row, draft in zip(request.rows, drafts, strict=True):
            for offset, part in self._follow_draft(request, row, draft, logits[start : start + 1 + len(draft)]):
                places.append(start + offset)
                next_rows.append(part)
            start += 1 + len(draft)
        request.rows = next_rows
        if request.group is not None:
            request.group.select_rows(places)
        if not next_rows and request.result.set_running_or_notify_cancel():
            request.result.set_result(request.candidates)

    def _follow_draft(
        self, request: GenerationRequest, row: list[GeneratedCandidate], draft: Sequence[int], logits: Tensor
    ) -> Iterator[tuple[int, list[GeneratedCandidate]]]:
        """Sample tokens along a draft as long as they are its own; `logits` is `(1 + len(draft), vocabulary)`.

        Return the unfinished candidates of each new row, with the number of draft tokens that precede their last one.
        """
        for offset in range(1 + len(draft)):
            parts = self._sample_token(request, row, logits[offset : offset + 1])
            row = []
            for token, part in parts.items():
                if self._is_finished(request, part[0]):
                    continue
                if offset < len(draft) and token == draft[offset]:
                    row = part
                else:
                    yield offset, part
            if not row:
                return

    def _sample_token(
        self, request: GenerationRequest, row: Sequence[GeneratedCandidate], logits: Tensor
    ) -> dict[int, list[GeneratedCandidate]]:
        """Append a token to each candidate of a row, from the row's logits `(1, vocabulary)`; return them by token."""
        uniforms = [[candidate.random.random() for candidate in row]]
        samples = sample_tokens(logits, uniforms, request.temperature, request.top_p)
        log_probabilities = compute_log_probabilities(logits, samples)
        candidates_by_token: dict[int, list[GeneratedCandidate]] = {}
        for candidate, token, log_probability in zip(row, samples[0], log_probabilities[0], strict=True):
            candidate.tokens.append(token)
            candidate.log_probability += log_probability
            candidate.token_log_probabilities.append(log_probability)
            candidates_by_token.setdefault(token, []).append(candidate)
        if self._drafts is not None:
            for part in candidates_by_token.values():
                self._drafts.add_last(part[0].tokens)
        return candidates_by_token

    def _is_finished(self, request: GenerationRequest, candidate: GeneratedCandidate) -> bool:
        return len(candidate.tokens) >= request.max_tokens or request.is_ended(candidate.tokens)
