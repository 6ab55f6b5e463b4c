"""Match the steps of rollout trees with the recorded candidates that they came from, for `policy_steps.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from codetool.interfaces import Prompt
from codetool.model_types import PolicyStep, Sampling
from codetool.policies.recorded import CANDIDATE_SHAPE, compute_candidate_key
from codetool.policies.replay import CANDIDATES_FILE
from codetool.process_data.rollouts import Estimate, Rollout, estimate_steps
from codetool.process_data.settings import LabelingConfig
from codetool.runs import journal
from codetool.types import Node

Record = Mapping[str, Any]


class PolicySteps:
    """The steps of rollout trees as the policy drew them; the candidates are read from the run folder task by task."""

    def __init__(self, folder: Path, prompt: Prompt, sampling: Sampling, settings: LabelingConfig) -> None:
        """Index the candidates of a run folder. `prompt` and `sampling` are those of its policy."""
        self._candidates = _CandidateFile(folder / CANDIDATES_FILE)
        self._prompt, self._sampling, self._settings = prompt, sampling, settings

    def read_trees(self, rollouts: Iterable[Rollout]) -> Iterator[list[PolicyStep]]:
        """Yield the steps of each tree, parents before children; those without a recorded candidate are left out."""
        for rollout in rollouts:
            estimates = estimate_steps(rollout, self._settings)
            records = self._candidates.read_groups(rollout.task.id)
            children: dict[str, list[Node]] = {}
            for node in rollout.nodes:
                if node.parent is not None:
                    children.setdefault(node.parent.id, []).append(node)
            yield [
                self._make_step(rollout, node, record, estimates.get(node.id), siblings[:place])
                for group, siblings in children.items()
                for place, node in enumerate(siblings)
                if (record := self._find_record(rollout, node, records.get(group, ()))) is not None
            ]

    def _find_record(self, rollout: Rollout, node: Node, records: Sequence[Record]) -> Record | None:
        """Return the first of the group's candidates that is the node's step."""
        assert node.step is not None
        for record in records:
            step = self._prompt.parse(record["text"], node.depth, rollout.task)
            if (step.text, step.finished) == (node.step.text, node.step.finished) and not record.get("refused"):
                return record
        return None

    def _make_step(
        self, rollout: Rollout, node: Node, record: Record, estimate: Estimate | None, earlier: Sequence[Node]
    ) -> PolicyStep:
        assert node.parent is not None
        outcome = rollout.outcomes.get(node.id)
        return PolicyStep(
            task_id=rollout.task.id,
            node_id=node.id,
            group=node.parent.id,
            prompt=tuple(self._render_prompt(rollout, node.parent, record, earlier)),
            completion=record["text"],
            ending="" if _is_cut(record) else self._prompt.stop(node.depth),
            executed=node.spot > 0,
            finished=node.finished,
            soft=estimate.soft if estimate else None,
            hard=estimate.hard if estimate else None,
            reward=None if outcome is None else float(outcome),
            multiplicity=node.multiplicity,
            tokens=tuple(record.get("tokens", ())),
            log_probabilities=tuple(record.get("token_log_probabilities", ())),
        )

    def _render_prompt(
        self, rollout: Rollout, parent: Node, record: Record, earlier: Sequence[Node]
    ) -> list[dict[str, str]]:
        """Return the messages that the candidate was asked with, which its key tells.

        A search or policy that shows siblings has shown some first ones of the siblings before the step.
        """
        sampling = Sampling(**record["sampling"])
        for shown in range(len(earlier) + 1):
            messages = self._prompt.messages(rollout.task, parent.path, tuple(earlier[:shown]))
            if compute_candidate_key(messages, sampling) == record["key"]:
                return messages
        return self._prompt.messages(rollout.task, parent.path)


class _CandidateFile:
    """Random access to the candidates of a task; only offsets are kept."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offsets: dict[str, list[tuple[int, int]]] = {}
        offset = 0
        for number, line in enumerate(journal.read_lines(file), start=1):
            if line.endswith(b"\n") and line.strip():
                task_id = journal.decode_record(file, number, line, CANDIDATE_SHAPE)["task_id"]
                self._offsets.setdefault(task_id, []).append((offset, len(line)))
            offset += len(line)

    def read_groups(self, task_id: str) -> dict[str, list[Record]]:
        """Return the candidates of a task by the node after which they were drawn, each group in the order of drawing.

        Final answers are left out. Of several records of one candidate the last one counts.
        """
        groups: dict[str, dict[tuple[str, int], Record]] = {}
        with self._file.open("rb") as lines:
            for offset, length in self._offsets.get(task_id, ()):
                lines.seek(offset)
                record = journal.decode_record(self._file, 0, lines.read(length))
                if "purpose" not in record and "path" in record:
                    groups.setdefault(record["path"], {})[record["key"], record["index"]] = record
        return {
            group: sorted(records.values(), key=lambda record: int(record["index"]))
            for group, records in groups.items()
        }


def _is_cut(record: Record) -> bool:
    """Whether a candidate ended by its length and not at its stop string."""
    reason, limit = record.get("finish_reason"), record["sampling"].get("max_tokens")
    if reason is not None:
        return bool(reason == "length")
    return limit is not None and bool(record["tokens_out"] >= limit)
