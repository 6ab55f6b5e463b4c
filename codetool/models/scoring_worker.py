"""A worker thread that scores prompts in batches: jobs that arrive during a forward pass are batched in the next one.

A job holds the prompts of siblings. Their common prefix, the stem, is computed first, in chunks, from where it differs
from earlier prompts; then their ends, all in one pass. Every pass computes the next part of as many jobs as fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from codetool.models.packed_model import PackedModel, PackedOutput, PrefixGroup
from codetool.models.prefix_tree import PrefixTree, Segment, count_shared_tokens
from codetool.models.worker_thread import WorkerThread

STEM_CHUNK = 512
"""Maximum number of stem tokens in one pass; longer chunks would waste attention on masked scores."""

Logits = tuple[float, float]


@dataclass(frozen=True)
class LabelLogits:
    """The two labels' logits for each prompt of a job, and the number of tokens that were computed for the job."""

    logits: list[Logits]
    tokens: int


@dataclass(eq=False)
class ScoringJob:
    """Tokenized prompts to score, all different and none empty, with the progress of the computation."""

    prompts: Sequence[Sequence[int]]
    result: Future[LabelLogits] = field(default_factory=Future)
    segment: Segment | None = None
    """Segment of the prefix tree at the end of the computed part of the stem."""
    computed_tokens: int = 0
    """Number of tokens of the stem that are computed."""
    stem_tokens: int = 0
    """Number of tokens of the stem, which is computed before the ends."""
    read_tokens: int = 0
    """Number of tokens computed for this job so far."""
    logits: list[Logits] = field(default_factory=list)
    """Logits of the prompts whose ends are computed, in order."""

    def update_prefix(self, tree: PrefixTree) -> None:
        """Look up how much of the stem is cached by now. The stem of a single prompt consists of whole chunks."""
        first = self.prompts[0]
        if self.segment is None:
            shared_lengths = (count_shared_tokens(first, other) for other in self.prompts[1:])
            self.stem_tokens = min(len(first) - 1, *(len(prompt) - 1 for prompt in self.prompts), *shared_lengths)
        segment, cached_tokens = tree.find_longest(first[: self.stem_tokens])
        if self.segment is None or cached_tokens > self.computed_tokens:
            self.segment, self.computed_tokens = segment, cached_tokens
        if len(self.prompts) == 1:
            self.stem_tokens -= (self.stem_tokens - self.computed_tokens) % STEM_CHUNK

    def select_pieces(self, max_tokens: int, alone: bool) -> list[Sequence[int]]:
        """Return the pieces to compute next, of at most `max_tokens`; a job that is `alone` may get one longer end."""
        if self.computed_tokens < self.stem_tokens:
            return (
                [
                    self.prompts[0][
                        self.computed_tokens : min(self.stem_tokens, self.computed_tokens + min(STEM_CHUNK, max_tokens))
                    ]
                ]
                if max_tokens
                else []
            )
        ends = [prompt[self.stem_tokens :] for prompt in self.prompts[len(self.logits) :]]
        fitting = [end for i, end in enumerate(ends) if sum(map(len, ends[: i + 1])) <= max_tokens]
        return fitting or (ends[:1] if alone else [])

    def add_outputs(self, pieces: Sequence[Sequence[int]], results: Sequence[PackedOutput], tree: PrefixTree) -> None:
        """Store the outputs of a pass: cache the pieces, and advance the stem or add the logits of the ends."""
        assert self.segment is not None
        segments = [tree.add(self.segment, piece, output.cache) for piece, output in zip(pieces, results, strict=True)]
        self.read_tokens += sum(map(len, pieces))
        if self.computed_tokens < self.stem_tokens:
            self.segment, self.computed_tokens = segments[0], self.computed_tokens + len(pieces[0])
        else:
            self.logits += [output.logits for output in results]


def group_by_prefix(prompts: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Return the prompts grouped into jobs: neighbours in sorted order that share at least half of the shorter one."""
    groups: list[list[tuple[int, ...]]] = []
    for prompt in sorted(prompts):  # which puts those that start alike beside each other
        last = groups[-1][-1] if groups else ()
        if groups and 2 * count_shared_tokens(last, prompt) >= min(len(last), len(prompt)):
            groups[-1].append(prompt)
        else:
            groups.append([prompt])
    return groups


class Scorer:
    """The worker thread for scoring. `submit` can be called from any thread; call `close` once at the end."""

    on_pass: Callable[[int, int], None] | None = None
    """Called by the worker thread before every pass, with its number of jobs and of tokens."""

    def __init__(
        self,
        load: Callable[[], PackedModel],
        labels: tuple[int, int],
        *,
        batch_tokens: int,
        prefix_tokens: int,
        threads: int | None,
    ) -> None:
        """Start the thread, which loads the model. Raises what `load` raises.

        `labels` are the tokens of the two labels, `batch_tokens` is the maximum number of tokens of a pass (a longer
        end is computed alone), and `prefix_tokens` is the capacity of the prefix tree in tokens.
        """
        self._labels, self._batch = labels, batch_tokens
        self._tree = PrefixTree(prefix_tokens)
        self._thread = WorkerThread[ScoringJob, PackedModel]("scoring", load, self._run_pass, threads)

    @property
    def context(self) -> int:
        """Maximum number of tokens of a prompt."""
        return self._thread.model.context

    def submit(self, job: ScoringJob) -> Future[LabelLogits]:
        """Queue a job and return its result. Cancelling the result removes the job before the next pass."""
        self._thread.submit(job)
        return job.result

    def close(self) -> None:
        """Stop after the current pass and cancel unfinished jobs."""
        self._thread.close()

    def _run_pass(self) -> None:
        """Compute the next part of as many jobs as fit, in order of arrival."""
        while self._thread.take_job():
            pass
        self._thread.active = [job for job in self._thread.active if not job.result.cancelled()]
        parts = list(self._select_parts())
        if not parts:
            return
        groups = [PrefixGroup(job.segment.caches, pieces) for job, pieces in parts if job.segment]
        if self.on_pass:
            self.on_pass(len(groups), sum(group.uncached_tokens for group in groups))
        for (job, pieces), outputs in zip(parts, self._thread.model.forward(groups, self._labels), strict=True):
            job.add_outputs(pieces, outputs, self._tree)
            if len(job.logits) == len(job.prompts) and job.result.set_running_or_notify_cancel():
                job.result.set_result(LabelLogits(job.logits, job.read_tokens))
        self._thread.active = [job for job in self._thread.active if not job.result.done()]
        self._tree.evict()

    def _select_parts(self) -> Iterator[tuple[ScoringJob, list[Sequence[int]]]]:
        tokens_left = self._batch
        started: set[tuple[Segment | None, int]] = set()
        for job in self._thread.active:
            if job.segment is None or job.computed_tokens < job.stem_tokens:
                job.update_prefix(self._tree)
            pieces = job.select_pieces(tokens_left, alone=tokens_left == self._batch)
            if not pieces or (job.segment, pieces[0][0]) in started:
                continue  # the second of two that go on alike waits: in the next pass it may find the work done
            started |= {(job.segment, piece[0]) for piece in pieces}
            tokens_left -= sum(map(len, pieces))
            yield job, pieces
            if tokens_left <= 0:
                return
