"""Judges of final answers, for tasks that have no checked one: any model behind an OpenAI-compatible endpoint.

A judge casts one or more votes on an answer. It reads the query and the final answer; where that leaves it unsure, a
judge that has a prompt for a second look reads the whole trace. Two answers to one query are compared in both orders.
Nobody is asked about an answer that is not there: it is Unsolved, and loses to one that is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from dataclasses import dataclass as record
from functools import cached_property
from pathlib import Path
from typing import Annotated, cast

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from codetool.http.chat_client import ChatClient
from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.judges import votes
from codetool.judges.cases import JudgeInput
from codetool.judges.solve_rate import is_solved, score_votes
from codetool.judges.verdict_parser import Choice, Label, extract_reason
from codetool.judges.votes import OnVote, Vote, VoteRequest, VoteSettings
from codetool.judges.win_rate import Preference, combine_orders, compare_pass_labels, decide_by_majority
from codetool.prompts.jinja import compile_template, validate_template
from codetool.runs.operational import Operational

TEMPLATE_VARIABLES = {
    "prompt": frozenset({"query", "answer"}),
    "second_look": frozenset({"query", "answer", "tools", "steps", "observation"}),
    "comparison": frozenset({"query", "first", "second"}),
}
"""What each prompt of a judge may use."""
ORDERS = ("forward", "backward")


@record(frozen=True)
class Judgement:
    """What a judge's votes on an answer come to."""

    votes: tuple[Vote, ...]

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The votes in the order of their rounds."""
        return cast("tuple[Label, ...]", tuple(vote.label for vote in self.votes))

    @property
    def score(self) -> float:
        """The mean of the votes, in [0, 1]."""
        return score_votes(self.labels)

    @property
    def solved(self) -> bool:
        """Whether more votes say Solved than Unsolved."""
        return is_solved(self.labels)

    @property
    def reason(self) -> str:
        """A reason of the label that most votes have."""
        most = max(self.labels, key=self.labels.count)
        said = next(vote.said for vote in self.votes if vote.label == most)
        return extract_reason(said) if said else "there is no answer"


@record(frozen=True, slots=True)
class Comparison:
    """How an answer compares with a reference's, and the votes on it: none where their pass labels decide."""

    preference: Preference
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoJudge:
    """Nobody judges."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class OpenAIJudge(EndpointConfig):
    """Settings of a judge behind an OpenAI-compatible endpoint."""

    votes: Annotated[int, Field(ge=1)]
    """Votes on an answer, and on a comparison in each order."""
    temperature: Annotated[float, Field(ge=0)] | None
    """Divides the logits; 0 takes the most probable token, so that further votes say the same; None is not sent."""
    max_tokens: Annotated[int, Field(ge=1)]
    """New tokens of a vote at most."""
    prompt: str
    """Jinja template of the user message; sees `query` and `answer`. A reply names an `answer_status`, or begins with
    one word: Solved, Unsure, Unsolved, yes or no."""
    second_look: str | None
    """Jinja template of the user message that a vote Unsure is followed by; sees `query`, `tools` (name and meaning of
    each), `steps` (text, code and observation of each), `answer`, and `observation`. None leaves the vote Unsure."""
    comparison: Annotated[str, Operational]
    """Jinja template of the user message that compares two answers; sees `query`, `first` and `second`. A reply says
    which is `better`: first, second or equal."""
    observation: Annotated[int, Field(ge=1)]
    """Characters of an observation that a second look is meant to show."""

    @field_validator("prompt", "second_look", "comparison")
    @classmethod
    def _validate_template(cls, source: str | None, field: ValidationInfo) -> str | None:
        return None if source is None else validate_template(source, TEMPLATE_VARIABLES[field.field_name or ""])

    @property
    def group(self) -> str:
        """The group of these options."""
        return "judge"

    async def probe(self) -> None:
        """Nothing, if the judge can be asked. Raises ConfigError, MissingError or UnreachableError."""
        async with ChatClient(self.make_endpoint()):
            pass

    async def judge(
        self, cases: Sequence[JudgeInput], file: Path, seed: int, count: OnVote = lambda vote: None
    ) -> list[Judgement]:
        """What the votes on each answer come to. Votes are journalled in `file`, and those that it holds are used.

        A vote that cannot be read is Unsolved. `count` is told each vote that had to be asked for. Raises what `probe`
        and the client raise; the votes cast until then are kept.
        """
        wanted = [self.build_vote_requests(case) for case in cases]
        found = iter(await self._collect_votes([ballot for each in wanted for ballot in each], file, seed, count))
        unasked = (Vote("Unsolved"),) * self.votes
        return [Judgement(tuple(next(found) for _ in ballots) or unasked) for ballots in wanted]

    def build_vote_requests(self, case: JudgeInput) -> list[VoteRequest]:
        """The votes on an answer that have to be asked for: none if it is not there."""
        if not case.answer.strip():
            return []
        prompt, second = compile_template(self.prompt).render(query=case.query, answer=case.answer), None
        if self.second_look is not None:
            steps = [asdict(step) for step in case.steps]
            second = compile_template(self.second_look).render(
                query=case.query, tools=case.tools, steps=steps, answer=case.answer, observation=self.observation
            )
        return [VoteRequest("answer", case.task_id, number, prompt, second) for number in range(self.votes)]

    async def compare(
        self,
        pairs: Sequence[tuple[JudgeInput, JudgeInput]],
        judgements: Sequence[tuple[Judgement, Judgement]],
        file: Path,
        seed: int,
        count: OnVote = lambda vote: None,
    ) -> list[Comparison]:
        """How each answer compares with the reference's, the second of its pair, given what was judged of both.

        Raises and journals as `judge` does.
        """
        wanted = [self.build_comparison_requests(pair, judged) for pair, judged in zip(pairs, judgements, strict=True)]
        found = iter(await self._collect_votes([ballot for each in wanted for ballot in each], file, seed, count))
        compared = []
        for pair, judged, ballots in zip(pairs, judgements, wanted, strict=True):
            cast_votes = tuple(next(found) for _ in ballots)
            compared.append(Comparison(_decide_preference(pair, judged, cast_votes), cast_votes))
        return compared

    def build_comparison_requests(
        self, pair: tuple[JudgeInput, JudgeInput], judged: tuple[Judgement, Judgement]
    ) -> list[VoteRequest]:
        """The comparisons that have to be asked for, each vote in both orders: none where it is decided without."""
        if _decide_without_votes(pair, judged) is not None:
            return []
        own, reference = pair
        answers = {"forward": (own.answer, reference.answer), "backward": (reference.answer, own.answer)}
        ballot = VoteRequest("comparison", own.task_id, 0, "")
        return [
            replace(ballot, number=number, order=order, prompt=self._render_comparison(own.query, *answers[order]))
            for number in range(self.votes)
            for order in ORDERS
        ]

    def build_vote_settings(self, seed: int) -> VoteSettings:
        """How this judge is asked. Raises ConfigError where it has no model."""
        return VoteSettings(self.make_endpoint().model, self.temperature, self.max_tokens, seed, self.extra_body or {})

    def _render_comparison(self, query: str, first: str, second: str) -> str:
        return compile_template(self.comparison).render(query=query, first=first, second=second)

    async def _collect_votes(self, ballots: Sequence[VoteRequest], file: Path, seed: int, count: OnVote) -> list[Vote]:
        return (
            await votes.collect_votes(ballots, self.build_vote_settings(seed), self.make_endpoint(), file, count)
            if ballots
            else []
        )


def _decide_without_votes(
    pair: tuple[JudgeInput, JudgeInput], judged: tuple[Judgement, Judgement]
) -> Preference | None:
    """What needs no comparison: one solved and one not, one answer that is not there, two that are the same."""
    own, reference = (case.answer.strip() for case in pair)
    if decided := compare_pass_labels(judged[0].labels, judged[1].labels):
        return decided
    if own == reference:
        return "tie"
    if not own or not reference:
        return "win" if own else "loss"
    return None


def _decide_preference(
    pair: tuple[JudgeInput, JudgeInput], judged: tuple[Judgement, Judgement], cast_votes: Sequence[Vote]
) -> Preference:
    if (decided := _decide_without_votes(pair, judged)) is not None:
        return decided
    choices = cast("list[Choice]", [vote.label for vote in cast_votes])
    return decide_by_majority(combine_orders(*both) for both in zip(choices[::2], choices[1::2], strict=True))


def count_votes(judged: Iterable[Vote]) -> dict[str, int]:
    """What votes cost and how they went: votes asked for, unreadable ones, second looks, tokens in and out.

    A vote that counts twice, since two systems gave the same answer, was asked for once.
    """
    asked = list({id(vote): vote for vote in judged if vote.looks}.values())
    return {
        "votes": len(asked),
        "unreadable": sum(not vote.readable for vote in asked),
        "second_looks": sum(vote.looks == 2 for vote in asked),
        "tokens_in": sum(vote.tokens_in for vote in asked),
        "tokens_out": sum(vote.tokens_out for vote in asked),
    }
