"""Count answers that a policy may have got around its task with: without any tool call, or by repeating the query.

A policy that learns from its own search trees can learn such shortcuts, because some of them pass a checker by chance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

MIN_COPIED_WORDS = 4
"""Words in a row below which an answer copies nothing, unless it is the whole query: titles and names are shorter."""
WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class AnswerShortcuts:
    """Numbers of answers of a run; shares are of the tasks with an answer."""

    answers: int
    """Tasks with an answer that is not empty."""
    without_tools: int
    """Answers whose path made no tool call at all, answered or not."""
    copied: int
    """Answers that repeat the query, see `copies_query`."""

    def compute_shares(self) -> dict[str, float | None]:
        """Return both shares by the metric's name; None without an answer."""
        counts = {"answers_without_tools": self.without_tools, "answers_copying_query": self.copied}
        return {name: count / self.answers if self.answers else None for name, count in counts.items()}


def count_answer_shortcuts(
    lines: Iterable[Mapping[str, Any]], trees: Mapping[str, Mapping[str, Any]]
) -> AnswerShortcuts:
    """Count the shortcuts among lines of `results.jsonl`; `trees` are the lines of `trees.jsonl` by task id."""
    answered = [line for line in lines if (line["answer"] or "").strip()]
    return AnswerShortcuts(
        answers=len(answered),
        without_tools=sum(not _made_calls(line["path"], trees[line["task_id"]]) for line in answered),
        copied=sum(copies_query(line["query"], line["answer"]) for line in answered),
    )


def copies_query(query: str, answer: str) -> bool:
    """Return whether an answer repeats the query.

    It does if the longest run of words that both have in common, in order and without a gap, is at least half of the
    query's words and at least four, or the whole query. Words are compared without case and punctuation.
    """
    query_words, answer_words = WORD.findall(query.casefold()), WORD.findall(answer.casefold())
    if not query_words:
        return False
    run = SequenceMatcher(None, query_words, answer_words, autojunk=False).find_longest_match()
    return run.size == len(query_words) or run.size >= max(MIN_COPIED_WORDS, len(query_words) / 2)


def _made_calls(path: Iterable[str], tree: Mapping[str, Any]) -> bool:
    """Return whether a step of the path, a list of node ids, has called a tool."""
    executions = {node["id"]: node["execution"] for node in tree["nodes"]}
    return any(executions[node_id]["calls"] for node_id in path if executions.get(node_id))
