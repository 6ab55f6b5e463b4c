"""A policy that records its candidates and never draws a recorded candidate again.

A record is `{task_id, path, key, index, draw, text, tokens_in, tokens_out, sampling}`. `key` is the sha256 of the
rendered prompt and the sampling settings; `draw` holds the first index and the number of candidates that were drawn
together. A recorded candidate keeps its recorded cost, with `tokens_in_cached` if there were any. A final answer has
the additional field `purpose: answer`.
`unused_blocks` counts further Python blocks of a step, which are not run. `log_probability` is there where the policy
told it. `tokens` and `token_log_probabilities` are there where the policy told them and the run records them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from typing import Any
from weakref import WeakValueDictionary

from codetool.errors import MissingError
from codetool.interfaces import Policy, Prompt
from codetool.model_types import Sampling
from codetool.prompts.messages import Message
from codetool.runs.record_shape import Absent
from codetool.types import Candidate, Node, Task

log = logging.getLogger(__name__)

ANSWER_PURPOSE = "answer"
"""Value of `purpose` in records of final answers."""

CANDIDATE_SHAPE = {
    "task_id": str, "key": str, "index": int, "text": str, "tokens_in": int, "tokens_out": int, "sampling": dict,
    "draw": ([int], Absent), "refused": (bool, Absent), "finish_reason": (str, Absent),
    "tokens_in_cached": (int, Absent), "log_probability": (int, float, Absent),
    "tokens": ([int], Absent), "token_log_probabilities": ([(int, float)], Absent),
}  # fmt: skip
"""Required fields of a record and their types."""

CandidateRecord = Mapping[str, Any]
DrawSite = tuple[str, str, int]
"""Task id, key and index, which identify a candidate."""


class RecordingPolicy:
    """A policy that returns recorded candidates and asks an inner policy only for missing ones."""

    def __init__(
        self,
        inner: Policy | None,
        *,
        prompt: Prompt,
        sampling: Sampling,
        records: Iterable[CandidateRecord],
        append: Callable[[Sequence[CandidateRecord]], object] | None = None,
        purpose: str | None = None,
        on_tokens: Callable[[int], object] | None = None,
        reads_log_probability: bool = False,
        records_tokens: bool = False,
    ) -> None:
        """Of several records of one candidate the last one counts. `append` receives all new records of a draw at once.

        `on_tokens` receives the number of new tokens of the returned candidates, recorded or not. Without an inner
        policy, a missing candidate raises MissingError. With `reads_log_probability` a candidate without one is warned
        of, once. With `records_tokens` a record has the ids and log-probabilities of the candidate's tokens.
        """
        self._inner = inner
        self._prompt = prompt
        self._sampling = sampling
        self._append = append or (lambda records: None)
        self._on_tokens = on_tokens or (lambda tokens: None)
        self._marks = {"purpose": purpose} if purpose else {}
        self._known: dict[DrawSite, CandidateRecord] = {_draw_site(record): record for record in records}
        self._reads_log_probability, self._records_tokens = reads_log_probability, records_tokens
        self._warned = set[str]()
        self._drawing: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def with_prompt(self, prompt: Prompt, sampling: Sampling) -> RecordingPolicy:
        """Return a policy with the same records and inner policy for another prompt: the prompt of final answers."""
        other = copy(self)
        other._reads_log_probability = other._records_tokens = False
        other._marks = {"purpose": ANSWER_PURPOSE}
        other._inner = self._inner and self._inner.with_prompt(prompt, sampling)
        other._prompt, other._sampling = prompt, sampling
        return other

    def remember(self, records: Iterable[CandidateRecord]) -> None:
        """Return these recorded candidates from now on instead of drawing them."""
        self._known |= {_draw_site(record): record for record in records}

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
        """Return n candidates from index `first` on. Missing ones are drawn and recorded."""
        key = compute_candidate_key(self._prompt.messages(task, path, tried), self._sampling)
        wanted = range(first, first + n)
        # Two equal paths of one search ask for the same candidates: the second waits and reads what the first drew.
        async with self._drawing.setdefault((task.id, key), asyncio.Lock()):
            for start, count in _group_consecutive([i for i in wanted if (task.id, key, i) not in self._known]):
                if self._inner is None:
                    raise MissingError(self._explain_missing(task, path, key, start))
                drawn = await self._inner.propose(task, path, count, first=start, seed=seed, tried=tried)
                self._record(task, path, key, start, drawn)
        found = [record for i in wanted if (record := self._known.get((task.id, key, i))) is not None]
        self._on_tokens(sum(record["tokens_out"] for record in found))
        candidates = [build_candidate(record, self._prompt, len(path) + 1, task) for record in found]
        self._warn_of_missing_log_probability(task, path, candidates)
        return candidates

    def _record(self, task: Task, path: Sequence[Node], key: str, first: int, drawn: Sequence[Candidate]) -> None:
        """Record all candidates of one draw."""
        records = [
            {
                "task_id": task.id,
                "path": path[-1].id if path else "0",
                "key": key,
                "index": index,
                "draw": [first, len(drawn)],
                "text": candidate.raw,
                "tokens_in": candidate.tokens_in,
                "tokens_out": candidate.tokens_out,
                "sampling": asdict(self._sampling),
                **({"tokens_in_cached": candidate.tokens_in_cached} if candidate.tokens_in_cached else {}),
                **({"refused": True} if candidate.refused else {}),
                **({"unused_blocks": candidate.step.unused} if candidate.step.unused else {}),
                **({"finish_reason": candidate.finish_reason} if candidate.finish_reason else {}),
                **({} if candidate.log_probability is None else {"log_probability": candidate.log_probability}),
                **(_encode_tokens(candidate) if self._records_tokens else {}),
                **self._marks,
            }
            for index, candidate in enumerate(drawn, first)
        ]
        self._warn_of_unused_blocks(task, path, drawn)
        self._append(records)
        self._known |= {_draw_site(record): record for record in records}

    def _warn_of_unused_blocks(self, task: Task, path: Sequence[Node], drawn: Sequence[Candidate]) -> None:
        """Log once that a model writes more code blocks than a step runs."""
        unused = next((candidate.step.unused for candidate in drawn if candidate.step.unused), 0)
        if unused and "unused_blocks" not in self._warned:
            self._warned.add("unused_blocks")
            log.warning(
                "%s, step %d: the model wrote %d further Python blocks, and a step runs one. candidates.jsonl has the "
                "number of each such step as unused_blocks; this is said once.",
                task.id,
                len(path) + 1,
                unused,
            )

    def _warn_of_missing_log_probability(self, task: Task, path: Sequence[Node], drawn: Sequence[Candidate]) -> None:
        """Log once that candidates lack the log-probability that the search or the reward reads."""
        if not self._reads_log_probability or "log_probability" in self._warned:
            return
        if any(candidate.log_probability is None and not candidate.refused for candidate in drawn):
            self._warned.add("log_probability")
            log.warning(
                "%s, step %d: the policy tells no log-probability of a candidate, which this search or reward reads; "
                "it goes on without. A server must support `logprobs`, and recorded candidates must hold them; this "
                "is said once.",
                task.id,
                len(path) + 1,
            )

    def _explain_missing(self, task: Task, path: Sequence[Node], key: str, index: int) -> str:
        """Return a message that names the missing candidate and the likely reason, inferred from the records."""
        of_task = [site for site in self._known if site[0] == task.id]
        drawn = sum(site[1] == key for site in of_task)
        if not of_task:
            reason = "nothing was recorded for this task: is `policy.source` right, and was the `limit` as large?"
        elif drawn:
            reason = f"only {drawn} were recorded here: the recorded search was narrower (`search.n`, `search.width`)."
        else:
            reason = (
                "this task was recorded, but not this prompt: the prompt texts, the tools, the observations or the "
                "search differ from the recorded run (`prompt`, `benchmark`, `tools`, `search`, `seed`)."
            )
        return f"No recorded candidate {index + 1} for step {len(path) + 1} of task {task.id}; {reason}"


def build_candidate(record: CandidateRecord, prompt: Prompt, k: int, task: Task) -> Candidate:
    """Return the candidate of a record, parsed as step k (one-based)."""
    raw = record["text"]
    return Candidate(
        raw,
        prompt.parse(raw, k, task),
        record["tokens_in"],
        record["tokens_out"],
        refused=record.get("refused", False),
        finish_reason=record.get("finish_reason"),
        tokens_in_cached=record.get("tokens_in_cached", 0),
        log_probability=record.get("log_probability"),
        tokens=tuple(record.get("tokens", ())),
        token_log_probabilities=tuple(record.get("token_log_probabilities", ())),
    )


def _encode_tokens(candidate: Candidate) -> dict[str, Any]:
    """Return the fields of the candidate's tokens; none where the policy did not tell them."""
    if not candidate.tokens:
        return {}
    return {"tokens": candidate.tokens, "token_log_probabilities": candidate.token_log_probabilities}


def compute_candidate_key(messages: Sequence[Message], sampling: Sampling) -> str:
    """Return the hex sha256 of the rendered prompt and the sampling settings."""
    content = json.dumps([messages, asdict(sampling)], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def drop_incomplete_draws(records: Sequence[CandidateRecord]) -> list[CandidateRecord]:
    """Return the records without incomplete draws, whose writing was interrupted."""
    held: dict[tuple[str, str, int, int], set[int]] = {}
    for record in records:
        if (draw := _whole_draw(record)) is not None:
            held.setdefault(draw, set()).add(record["index"])
    return [record for record in records if (draw := _whole_draw(record)) is None or len(held[draw]) >= draw[3]]


def _whole_draw(record: CandidateRecord) -> tuple[str, str, int, int] | None:
    """Return task id, key, first index and number of candidates of a record's draw; None for an old record."""
    if len(record.get("draw", ())) != 2:
        return None
    first, count = record["draw"]
    return record["task_id"], record["key"], first, count


def _draw_site(record: CandidateRecord) -> DrawSite:
    return record["task_id"], record["key"], record["index"]


def _group_consecutive(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Group ascending indices into consecutive ranges, as (start, count)."""
    runs: list[tuple[int, int]] = []
    for i in indices:
        if runs and i == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((i, 1))
    return runs
