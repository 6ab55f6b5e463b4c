"""Rebuild the prompts that policy and PRM read at each step of a recorded run, for `stage=report`.

A prompt is a function of the task, the path, the steps tried before and the run's own settings, which are all recorded.
`candidates.jsonl` holds the checksum of each prompt of the policy: with it a prompt is checked, and it tells which
earlier siblings a prompt showed. Servers whose chats may hold no system message get it merged into the next one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from codetool.config.build_settings import BuildError, build_settings
from codetool.config.run_config import strip_operational_lists
from codetool.config.setting_checks import TARGET_KEY, find_wrong_targets, find_wrong_values
from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.evaluation.prompt_encoding import LinePool, PromptEncoder
from codetool.evaluation.result_records import parse_nodes
from codetool.interfaces import Prompt, ScoringPrompt
from codetool.model_types import Sampling
from codetool.policies.recorded import ANSWER_PURPOSE, CANDIDATE_SHAPE, compute_candidate_key
from codetool.prompts.messages import Message
from codetool.prompts.prm_prompt import PairwisePRMPrompt
from codetool.runs import journal
from codetool.stages.foreign_modules import refuse_foreign_module
from codetool.types import JSON, Node, Task

CANDIDATES = "candidates.jsonl"
Site = tuple[str, str]
"""Task id and id of the node after which a candidate was drawn."""


@dataclass(frozen=True)
class DrawnCandidate:
    """What is kept of a recorded candidate."""

    key: str
    sampling: Sampling
    text: str
    """Empty where only one prompt was used."""


@dataclass(frozen=True)
class PolicyPrompt:
    """The prompt that a policy read for a step."""

    messages: Sequence[Message]
    shown: int
    """Number of earlier siblings that it showed."""
    exact: bool | None
    """Whether its checksum is the recorded one; None if none was recorded."""


@dataclass
class RunPrompts:
    """The prompts of a run."""

    policy: Prompt
    prm: ScoringPrompt | PairwisePRMPrompt | None
    """None if the run has no PRM that reads a prompt."""
    sees_observation: bool
    """Whether the PRM reads what the scored step printed."""
    candidates: Mapping[Site, Sequence[DrawnCandidate]]
    pool: LinePool = field(default_factory=LinePool)

    def list_lines(self) -> Sequence[str]:
        """Return the lines that the prompts encoded so far share."""
        return self.pool.lines

    def encode_tree(self, tree: Mapping[str, Any], task: Task) -> dict[str, JSON]:
        """Return the prompts of a tree's steps for the report's page, or the reason why there are none."""
        try:
            return self._encode_tree(tree, task)
        except (CodeToolError, ValueError) as error:  # such as a template that does not fit the tools
            return {"problem": " ".join(str(error).split())}

    def _encode_tree(self, tree: Mapping[str, Any], task: Task) -> dict[str, JSON]:
        policy, prm = PromptEncoder(self.pool), PromptEncoder(self.pool)
        nodes = [node for node in parse_nodes(tree) if node.step and node.parent]
        children: dict[str, list[Node]] = defaultdict(list)
        for node in nodes:
            if node.parent:
                children[node.parent.id].append(node)
        prompts = SitePrompts(self, task, children)
        read = {node.id: prompts.rebuild_policy_prompt(node) for node in nodes}
        scored = {node.id: prompts.rebuild_prm_prompt(node) for node in nodes}
        return {
            "policy": {node.id: policy.encode(node, read[node.id].messages) for node in nodes},
            "prm": {node.id: prm.encode(node, chat) for node in nodes if (chat := scored[node.id]) is not None},
            "shown": {node_id: prompt.shown for node_id, prompt in read.items() if prompt.shown},
            "inexact": [node_id for node_id, prompt in read.items() if prompt.exact is False],
            "checked": any(prompt.exact is not None for prompt in read.values()),
        }


@dataclass
class SitePrompts:
    """The prompts of one tree; what follows one path is rendered once."""

    run: RunPrompts
    task: Task
    children: Mapping[str, Sequence[Node]]
    _plain: dict[str, Sequence[Message]] = field(default_factory=dict)
    _prefixes: dict[str, Sequence[Message]] = field(default_factory=dict)

    def rebuild_policy_prompt(self, node: Node) -> PolicyPrompt:
        """Return the prompt for which the policy wrote a step. Its checksum tells how many siblings it showed."""
        assert node.parent is not None and node.step is not None
        site, parent = (self.task.id, node.parent.id), node.parent
        if parent.id not in self._plain:
            self._plain[parent.id] = self.run.policy.messages(self.task, parent.path)
        plain = self._plain[parent.id]
        drawn = self.run.candidates.get(site, ())
        if not drawn:
            return PolicyPrompt(plain, 0, None)
        keys = {candidate.key for candidate in drawn}
        if keys == {compute_candidate_key(plain, drawn[0].sampling)}:
            return PolicyPrompt(plain, 0, True)
        found = [candidate for candidate in drawn if self._is_text_of(candidate, node)] or list(drawn)
        siblings = self.children[parent.id]
        for shown in range(siblings.index(node), -1, -1):
            messages = self.run.policy.messages(self.task, parent.path, siblings[:shown]) if shown else plain
            if any(compute_candidate_key(messages, each.sampling) == each.key for each in found):
                return PolicyPrompt(messages, shown, True)
        return PolicyPrompt(plain, 0, False)

    def rebuild_prm_prompt(self, node: Node) -> Sequence[Message] | None:
        """Return the messages that the PRM read for a step; None if there are none.

        Of a PRM that compares siblings it is the first comparison: the step, then the first of its siblings.
        """
        prm = self.run.prm
        if prm is None or node.step is None or node.parent is None or node.latent is None:
            return None
        if self.run.sees_observation and not isinstance(prm, PairwisePRMPrompt):
            return prm.messages(self.task, node.parent.path, node.step, node.execution)
        if node.parent.id not in self._prefixes:
            self._prefixes[node.parent.id] = prm.prefix_messages(self.task, node.parent.path)
        prefix = self._prefixes[node.parent.id]
        if not isinstance(prm, PairwisePRMPrompt):
            return prm.with_candidate(prefix, node.depth, node.step.text)
        others = (each.step for each in self.children[node.parent.id] if each.id != node.id)
        other = next(filter(None, others), None)
        return prm.with_candidates(prefix, node.depth, node.step.text, other.text) if other else None

    def _is_text_of(self, candidate: DrawnCandidate, node: Node) -> bool:
        return node.step is not None and self.run.policy.parse(candidate.text, node.depth, self.task) == node.step


def load_run_prompts(folder: Path, settings: Mapping[str, Any]) -> RunPrompts:
    """Return the prompts of the run with these settings.

    Raises MissingError if the settings name no prompts that there are, ConfigError for a damaged `candidates.jsonl`.
    """
    policy = _build_prompt(settings, "policy", Prompt)
    if policy is None:
        raise MissingError("config.yaml names no prompt of a policy")
    prm_settings = settings.get("prm")
    return RunPrompts(
        policy=policy,
        prm=_build_prompt(settings, "prm", ScoringPrompt | PairwisePRMPrompt),
        sees_observation=isinstance(prm_settings, Mapping) and prm_settings.get("sees_observation") is True,
        candidates=_read_candidates(folder / CANDIDATES),
    )


def _build_prompt(settings: Mapping[str, Any], group: str, kind: Any) -> Any:
    """Build the prompt that the settings of a group name; None if they name none."""
    options = settings.get(group)
    prompt = options.get("prompt") if isinstance(options, Mapping) else None
    if not isinstance(prompt, Mapping) or TARGET_KEY not in prompt:
        return None
    name = f"{group}.prompt"
    refuse_foreign_module(prompt)
    if objections := [*find_wrong_targets(prompt, name, kind), *find_wrong_values(prompt, name)]:
        raise MissingError(f"config.yaml names no prompt that there is: {'; '.join(objections)}")
    try:
        return build_settings(strip_operational_lists(prompt), name)
    except BuildError as error:
        cause = " ".join(str(error.__cause__).split())
        raise MissingError(f"the prompt cannot be had with the settings in config.yaml ({name}: {cause})") from error


def _read_candidates(file: Path) -> dict[Site, list[DrawnCandidate]]:
    """Return the recorded candidates of steps by where they were drawn; empty without the file.

    Only where prompts differ are their texts needed and kept, since all texts may exceed the memory.
    """
    keys: dict[Site, dict[str, Sampling]] = defaultdict(dict)
    for site, record in _iterate_candidates(file):
        keys[site].setdefault(record["key"], _parse_sampling(record["sampling"]))
    drawn = {
        site: [DrawnCandidate(key, sampling, "") for key, sampling in sampling_by_key.items()]
        for site, sampling_by_key in keys.items()
    }
    several = {site for site, sampling_by_key in keys.items() if len(sampling_by_key) > 1}
    drawn |= {site: [] for site in several}
    for site, record in _iterate_candidates(file) if several else ():
        if site in several:
            drawn[site].append(DrawnCandidate(record["key"], keys[site][record["key"]], record["text"]))
    return drawn


def _iterate_candidates(file: Path) -> Iterator[tuple[Site, Mapping[str, Any]]]:
    for record in journal.read_records(file, CANDIDATE_SHAPE):
        if record.get("purpose") != ANSWER_PURPOSE and "path" in record:
            yield (record["task_id"], record["path"]), record


def _parse_sampling(settings: Mapping[str, Any]) -> Sampling:
    try:
        return Sampling(**settings)
    except TypeError as error:
        raise ConfigError(f"{CANDIDATES} holds candidates of another version ({error})") from error
