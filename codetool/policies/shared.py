"""Draws that other runs of the same policy and seed have made stand for draws of this run.

Unlike `Recorded`, which is for one run's own records and for those that a user names, this changes nothing: neither a
candidate nor a token count differs from those of the run alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from codetool.interfaces import Policy, Prompt
from codetool.model_types import Sampling
from codetool.policies.recorded import CandidateRecord, build_candidate, compute_candidate_key
from codetool.types import Candidate, Node, Task

DrawKey = tuple[str, str, int, int]
"""Task id, key, first index, number of candidates."""


class SharedDraws:
    """A policy that returns draws of other runs if they equal the draws that it would make."""

    def __init__(
        self,
        inner: Policy,
        *,
        prompt: Prompt,
        sampling: Sampling,
        records: Iterable[CandidateRecord],
        reads_log_probability: bool = False,
        records_tokens: bool = False,
    ) -> None:
        """Take the records of complete draws and the inner policy for all other draws.

        With `reads_log_probability`, records without one are left out, since this run's own draws may have it; so are
        records without tokens with `records_tokens`.
        """
        self._inner, self._prompt, self._sampling = inner, prompt, sampling
        self._by_index = bool(getattr(inner, "draws_by_index", False))
        self._draws: dict[DrawKey, dict[int, CandidateRecord]] = {}
        self._places: dict[tuple[str, str, int], CandidateRecord] = {}
        self._prompt_tokens: dict[tuple[str, str], int] = {}
        wanted = {"log_probability": reads_log_probability, "tokens": records_tokens}
        required = [name for name, is_wanted in wanted.items() if is_wanted]
        for record in records:
            if any(name not in record and not record.get("refused") for name in required):
                continue
            asked = record["task_id"], record["key"]
            self._prompt_tokens[asked] = max(record["tokens_in"], self._prompt_tokens.get(asked, 0))
            if "draw" in record:
                first, count = record["draw"]
                self._draws.setdefault((record["task_id"], record["key"], first, count), {})[record["index"]] = record
                self._places[record["task_id"], record["key"], record["index"]] = record

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> SharedDraws:
        """Return a policy for another prompt, the prompt of final answers, which are always drawn anew."""
        return SharedDraws(self._inner.with_prompt(prompt, sampling), prompt=prompt, sampling=sampling, records=())

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
        """Return n candidates from index `first` on.

        A server's candidate depends on the size of its draw, so only a recorded draw of the same size is used. A policy
        with independent indices uses all recorded candidates and draws only the rest.
        """
        key = compute_candidate_key(self._prompt.messages(task, path, tried), self._sampling)
        draw = self._draws.get((task.id, key, first, n), {})
        if len(draw) == n:
            return [self._build(draw[index], task, path) for index in range(first, first + n)]
        if not self._by_index:
            return await self._inner.propose(task, path, n, first=first, seed=seed, tried=tried)
        known = 0
        while known < n and (task.id, key, first + known) in self._places:
            known += 1
        found = [self._build(self._places[task.id, key, first + i], task, path) for i in range(known)]
        if known < n:
            found += await self._inner.propose(task, path, n - known, first=first + known, seed=seed, tried=tried)
        counted = [candidate.tokens_in for candidate in found]
        prompt_tokens = max([*counted, self._prompt_tokens.get((task.id, key), 0)])
        # a request counts its prompt once, on its first candidate, in however many parts it was answered
        return [
            replace(each, tokens_in=0, tokens_in_cached=0) if place else replace(each, tokens_in=prompt_tokens)
            for place, each in enumerate(found)
        ]

    def _build(self, record: CandidateRecord, task: Task, path: Sequence[Node]) -> Candidate:
        return build_candidate(record, self._prompt, len(path) + 1, task)
