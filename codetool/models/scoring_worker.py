"""One worker thread that scores everything: what arrives while a pass runs is read together in the next one.

A job is the prompts of siblings. What they have in common, their stem, is read first, in chunks, from where it leaves
all prompts read before; then their ends, side by side. Every pass takes the next part of as many jobs as fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from codetool.models.packed_model import PackedModel, PackedOutput, PrefixGroup
from codetool.models.prefix_tree import PrefixTree, Segment, count_shared_tokens
from codetool.models.worker_thread import WorkerThread

STEM_CHUNK = 512
"""Tokens of a stem that are read in one pass; more would spend attention on what the mask hides."""

Logits = tuple[float, float]


@dataclass(frozen=True)
class LabelLogits:
    """The two labels' logits for each prompt of a job, and the tokens that were really read for it."""

    logits: list[Logits]
    tokens: int


@dataclass(eq=False)
class ScoringJob:
    """Prompts in tokens, all different, none empty."""

    prompts: Sequence[Sequence[int]]
    result: Future[LabelLogits] = field(default_factory=Future)
    segment: Segment | None = None
    """The end of what has been read of the stem."""
    computed_tokens: int = 0
    """The stem's tokens up to there."""
    stem_tokens: int = 0
    """Tokens that all prompts start with and that are read before their ends."""
    read_tokens: int = 0
    logits: list[Logits] = field(default_factory=list)

    def update_prefix(self, tree: PrefixTree) -> None:
        """Find out how much of the stem is known by now. A single prompt has no ends: its stem is whole chunks."""
        first = self.prompts[0]
        if self.segment is None:
            known = (count_shared_tokens(first, other) for other in self.prompts[1:])
            self.stem_tokens = min(len(first) - 1, *(len(prompt) - 1 for prompt in self.prompts), *known)
        here, done = tree.find_longest(first[: self.stem_tokens])
        if self.segment is None or done > self.computed_tokens:
            self.segment, self.computed_tokens = here, done
        if len(self.prompts) == 1:
            self.stem_tokens -= (self.stem_tokens - self.computed_tokens) % STEM_CHUNK

    def select_pieces(self, room: int, alone: bool) -> list[Sequence[int]]:
        """The pieces to read now, at most `room` tokens; more only where a single end is longer and it is `alone`."""
        if self.computed_tokens < self.stem_tokens:
            return (
                [
                    self.prompts[0][
                        self.computed_tokens : min(self.stem_tokens, self.computed_tokens + min(STEM_CHUNK, room))
                    ]
                ]
                if room
                else []
            )
        ends = [prompt[self.stem_tokens :] for prompt in self.prompts[len(self.logits) :]]
        fitting = [end for i, end in enumerate(ends) if sum(map(len, ends[: i + 1])) <= room]
        return fitting or (ends[:1] if alone else [])

    def add_outputs(self, pieces: Sequence[Sequence[int]], results: Sequence[PackedOutput], tree: PrefixTree) -> None:
        """Go on from what a pass has read."""
        assert self.segment is not None
        kept = [tree.add(self.segment, piece, read.cache) for piece, read in zip(pieces, results, strict=True)]
        self.read_tokens += sum(map(len, pieces))
        if self.computed_tokens < self.stem_tokens:
            self.segment, self.computed_tokens = kept[0], self.computed_tokens + len(pieces[0])
        else:
            self.logits += [read.logits for read in results]


def group_by_prefix(prompts: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """The prompts in groups that are worth a job each: those that share at least half of the shorter one."""
    groups: list[list[tuple[int, ...]]] = []
    for prompt in sorted(prompts):  # which puts those that start alike beside each other
        last = groups[-1][-1] if groups else ()
        if groups and 2 * count_shared_tokens(last, prompt) >= min(len(last), len(prompt)):
            groups[-1].append(prompt)
        else:
            groups.append([prompt])
    return groups


class Scorer:
    """The thread; use `submit` from anywhere and `close` once."""

    on_pass: Callable[[int, int], None] | None = None
    """Told by the thread of every pass, how many jobs and tokens it is about to read."""

    def __init__(
        self,
        load: Callable[[], PackedModel],
        labels: tuple[int, int],
        *,
        batch_tokens: int,
        prefix_tokens: int,
        threads: int | None,
    ) -> None:
        """A pass reads at most `batch_tokens`, or one longer end. Raises what `load` raises; the thread calls it."""
        self._labels, self._batch = labels, batch_tokens
        self._tree = PrefixTree(prefix_tokens)
        self._thread = WorkerThread[ScoringJob, PackedModel]("scoring", load, self._run_pass, threads)

    @property
    def context(self) -> int:
        """Tokens that a prompt may have."""
        return self._thread.model.context

    def submit(self, job: ScoringJob) -> Future[LabelLogits]:
        """Queue a job. Cancelling its result takes it out before the next pass."""
        self._thread.submit(job)
        return job.result

    def close(self) -> None:
        """Stop after the current pass; unfinished jobs are cancelled."""
        self._thread.close()

    def _run_pass(self) -> None:
        """Read the next part of as many jobs as fit, in order of arrival."""
        while self._thread.take_job():
            pass
        self._thread.active = [job for job in self._thread.active if not job.result.cancelled()]
        parts = list(self._select_parts())
        if not parts:
            return
        read_now = [PrefixGroup(job.segment.caches, pieces) for job, pieces in parts if job.segment]
        if self.on_pass:
            self.on_pass(len(read_now), sum(family.uncached_tokens for family in read_now))
        for (job, pieces), read in zip(parts, self._thread.model.forward(read_now, self._labels), strict=True):
            job.add_outputs(pieces, read, self._tree)
            if len(job.logits) == len(job.prompts) and job.result.set_running_or_notify_cancel():
                job.result.set_result(LabelLogits(job.logits, job.read_tokens))
        self._thread.active = [job for job in self._thread.active if not job.result.done()]
        self._tree.evict()

    def _select_parts(self) -> Iterator[tuple[ScoringJob, list[Sequence[int]]]]:
        room = self._batch
        begun: set[tuple[Segment | None, int]] = set()
        for job in self._thread.active:
            if job.segment is None or job.computed_tokens < job.stem_tokens:
                job.update_prefix(self._tree)
            pieces = job.select_pieces(room, alone=room == self._batch)
            if not pieces or (job.segment, pieces[0][0]) in begun:
                continue  # the second of two that go on alike waits: in the next pass it may find the work done
            begun |= {(job.segment, piece[0]) for piece in pieces}
            room -= sum(map(len, pieces))
            yield job, pieces
            if room <= 0:
                return
