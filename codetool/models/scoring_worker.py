"""One worker thread that scores everything: what arrives while a pass runs is read together in the next one.

A job is the prompts of siblings. What they have in common, their stem, is read first, in chunks, from where it leaves
all prompts read before; then their ends, side by side. Every pass takes the next part of as many jobs as fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from codetool.models.packed_model import Family, PackedModel, Read
from codetool.models.prefix_tree import PrefixTree, Segment, common
from codetool.models.worker_thread import ComputeThread

CHUNK = 512
"""Tokens of a stem that are read in one pass; more would spend attention on what the mask hides."""

Logits = tuple[float, float]


@dataclass(frozen=True)
class Judgement:
    """The two labels' logits for each prompt of a job, and the tokens that were really read for it."""

    logits: list[Logits]
    tokens: int


@dataclass(eq=False)
class Job:
    """Prompts in tokens, all different, none empty."""

    prompts: Sequence[Sequence[int]]
    result: Future[Judgement] = field(default_factory=Future)
    here: Segment | None = None
    """The end of what has been read of the stem."""
    done: int = 0
    """The stem's tokens up to there."""
    stem: int = 0
    """Tokens that all prompts start with and that are read before their ends."""
    read: int = 0
    logits: list[Logits] = field(default_factory=list)

    def look(self, tree: PrefixTree) -> None:
        """Find out how much of the stem is known by now. A single prompt has no ends: its stem is whole chunks."""
        first = self.prompts[0]
        if self.here is None:
            known = (common(first, other) for other in self.prompts[1:])
            self.stem = min(len(first) - 1, *(len(prompt) - 1 for prompt in self.prompts), *known)
        here, done = tree.walk(first[: self.stem])
        if self.here is None or done > self.done:
            self.here, self.done = here, done
        if len(self.prompts) == 1:
            self.stem -= (self.stem - self.done) % CHUNK

    def next(self, room: int, alone: bool) -> list[Sequence[int]]:
        """The pieces to read now, at most `room` tokens; more only where a single end is longer and it is `alone`."""
        if self.done < self.stem:
            return [self.prompts[0][self.done : min(self.stem, self.done + min(CHUNK, room))]] if room else []
        ends = [prompt[self.stem :] for prompt in self.prompts[len(self.logits) :]]
        fitting = [end for i, end in enumerate(ends) if sum(map(len, ends[: i + 1])) <= room]
        return fitting or (ends[:1] if alone else [])

    def take(self, pieces: Sequence[Sequence[int]], results: Sequence[Read], tree: PrefixTree) -> None:
        """Go on from what a pass has read."""
        assert self.here is not None
        kept = [tree.add(self.here, piece, read.cache) for piece, read in zip(pieces, results, strict=True)]
        self.read += sum(map(len, pieces))
        if self.done < self.stem:
            self.here, self.done = kept[0], self.done + len(pieces[0])
        else:
            self.logits += [read.logits for read in results]


def families(prompts: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """The prompts in groups that are worth a job each: those that share at least half of the shorter one."""
    groups: list[list[tuple[int, ...]]] = []
    for prompt in sorted(prompts):  # which puts those that start alike beside each other
        last = groups[-1][-1] if groups else ()
        if groups and 2 * common(last, prompt) >= min(len(last), len(prompt)):
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
        self._thread = ComputeThread[Job, PackedModel]("scoring", load, self._pass, threads)

    @property
    def context(self) -> int:
        """Tokens that a prompt may have."""
        return self._thread.model.context

    def submit(self, job: Job) -> Future[Judgement]:
        """Queue a job. Cancelling its result takes it out before the next pass."""
        self._thread.submit(job)
        return job.result

    def close(self) -> None:
        """Stop after the current pass; unfinished jobs are cancelled."""
        self._thread.close()

    def _pass(self) -> None:
        """Read the next part of as many jobs as fit, in order of arrival."""
        while self._thread.next():
            pass
        self._thread.active = [job for job in self._thread.active if not job.result.cancelled()]
        parts = list(self._parts())
        if not parts:
            return
        read_now = [Family(job.here.caches, pieces) for job, pieces in parts if job.here]
        if self.on_pass:
            self.on_pass(len(read_now), sum(family.new for family in read_now))
        for (job, pieces), read in zip(parts, self._thread.model.read(read_now, self._labels), strict=True):
            job.take(pieces, read, self._tree)
            if len(job.logits) == len(job.prompts) and job.result.set_running_or_notify_cancel():
                job.result.set_result(Judgement(job.logits, job.read))
        self._thread.active = [job for job in self._thread.active if not job.result.done()]
        self._tree.trim()

    def _parts(self) -> Iterator[tuple[Job, list[Sequence[int]]]]:
        room = self._batch
        begun: set[tuple[Segment | None, int]] = set()
        for job in self._thread.active:
            if job.here is None or job.done < job.stem:
                job.look(self._tree)
            pieces = job.next(room, alone=room == self._batch)
            if not pieces or (job.here, pieces[0][0]) in begun:
                continue  # the second of two that go on alike waits: in the next pass it may find the work done
            begun |= {(job.here, piece[0]) for piece in pieces}
            room -= sum(map(len, pieces))
            yield job, pieces
            if room <= 0:
                return
