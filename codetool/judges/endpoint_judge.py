"""LLM judge of final answers, served by any OpenAI-compatible endpoint, for tasks without a reference answer.

The judge casts one or more votes on an answer. It first reads the query and the final answer. If it is unsure and has
a prompt for a second look, it then reads the whole trace. Two answers to one query are compared in both orders. A
missing answer counts as Unsolved and loses to any other answer; no vote is requested for it.
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

from codetool.http.endpoint import SETTINGS_CONFIG, EndpointConfig
from codetool.http.replicated_chat import open_chat
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
    "pairwise": frozenset({"query", "first", "second"}),
}
"""Variables that each of the judge's Jinja templates may use."""
ORDERS = ("forward", "backward")


@record(frozen=True)
class Judgement:
    """The judge's votes on one answer."""

    votes: tuple[Vote, ...]

    @cached_property
    def labels(self) -> tuple[Label, ...]:
        """The label of each vote, in the order of the rounds."""
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
        """The reason given by the first vote that has the most frequent label."""
        most_frequent = max(self.labels, key=self.labels.count)
        reply = next(vote.said for vote in self.votes if vote.label == most_frequent)
        return extract_reason(reply) if reply else "there is no answer"


@record(frozen=True, slots=True)
class Comparison:
    """The preference between an answer and the reference answer, and the votes that decided it.

    There are no votes if the preference follows from the pass labels or from the texts.
    """

    preference: Preference
    votes: tuple[Vote, ...] = ()


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoJudge:
    """The option without a judge: no answer is judged."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS_CONFIG)
class OpenAIJudge(EndpointConfig):
    """Settings of a judge behind an OpenAI-compatible endpoint."""

    votes: Annotated[int, Field(ge=1)]
    """Votes on an answer, and on a comparison in each order."""
    temperature: Annotated[float, Field(ge=0)] | None
    """Sampling temperature. With 0 all votes are equal; None leaves it to the server."""
    max_tokens: Annotated[int, Field(ge=1)]
    """Maximum number of new tokens per vote."""
    prompt: str
    """Jinja template of the user message; its variables are `query` and `answer`. The reply has to name an
    `answer_status` or begin with one of the words Solved, Unsure, Unsolved, yes and no."""
    second_look: str | None
    """Jinja template of the user message that is sent after a vote Unsure. Its variables are `query`, `tools` (name and
    description of each), `steps` (text, code and observation of each), `answer`, and `observation`. None keeps the
    vote Unsure."""
    pairwise: Annotated[str, Operational]
    """Jinja template of the user message that compares two answers; its variables are `query`, `first` and `second`.
    The reply has to say which is `better`: first, second or equal."""
    max_observation_chars: Annotated[int, Field(ge=1)]
    """Maximum number of characters of each observation in the second look."""

    @field_validator("prompt", "second_look", "pairwise")
    @classmethod
    def _validate_template(cls, source: str | None, field: ValidationInfo) -> str | None:
        return None if source is None else validate_template(source, TEMPLATE_VARIABLES[field.field_name or ""])

    @property
    def group(self) -> str:
        """Name of the configuration group of these settings."""
        return "judge"

    async def probe(self) -> None:
        """Check that the endpoint answers. Raises ConfigError, MissingError or UnreachableError."""
        async with open_chat(self.make_endpoint()):
            pass

    async def judge(
        self, cases: Sequence[JudgeInput], file: Path, seed: int, count: OnVote = lambda vote: None
    ) -> list[Judgement]:
        """Return the judgement of each answer. Votes are journalled in `file`; votes that it already holds are reused.

        A reply that cannot be parsed counts as Unsolved. `count` is called with each new vote. Raises what `probe` and
        the client raise; the votes received until then are kept.
        """
        requests_per_item = [self.build_vote_requests(case) for case in cases]
        new_votes = iter(
            await self._collect_votes(
                [request for requests in requests_per_item for request in requests], file, seed, count
            )
        )
        default_votes = (Vote("Unsolved"),) * self.votes
        return [Judgement(tuple(next(new_votes) for _ in requests) or default_votes) for requests in requests_per_item]

    def build_vote_requests(self, case: JudgeInput) -> list[VoteRequest]:
        """Return the requests for all votes on an answer; an empty list if the answer is missing."""
        if not case.answer.strip():
            return []
        prompt, second = compile_template(self.prompt).render(query=case.query, answer=case.answer), None
        if self.second_look is not None:
            steps = [asdict(step) for step in case.steps]
            second = compile_template(self.second_look).render(
                query=case.query,
                tools=case.tools,
                steps=steps,
                answer=case.answer,
                observation=self.max_observation_chars,
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
        """Compare each answer with the reference's answer, the second of its pair, given the judgements of both.

        Votes are journalled, and errors raised, as by `judge`.
        """
        requests_per_item = [
            self.build_comparison_requests(pair, judged) for pair, judged in zip(pairs, judgements, strict=True)
        ]
        new_votes = iter(
            await self._collect_votes(
                [request for requests in requests_per_item for request in requests], file, seed, count
            )
        )
        comparisons = []
        for pair, judged, requests in zip(pairs, judgements, requests_per_item, strict=True):
            cast_votes = tuple(next(new_votes) for _ in requests)
            comparisons.append(Comparison(_decide_preference(pair, judged, cast_votes), cast_votes))
        return comparisons

    def build_comparison_requests(
        self, pair: tuple[JudgeInput, JudgeInput], judged: tuple[Judgement, Judgement]
    ) -> list[VoteRequest]:
        """Return the requests for a comparison, each vote in both orders; empty if no vote is needed to decide it."""
        if _decide_without_votes(pair, judged) is not None:
            return []
        own, reference = pair
        answers = {"forward": (own.answer, reference.answer), "backward": (reference.answer, own.answer)}
        request = VoteRequest("comparison", own.task_id, 0, "")
        return [
            replace(request, number=number, order=order, prompt=self._render_comparison(own.query, *answers[order]))
            for number in range(self.votes)
            for order in ORDERS
        ]

    def build_vote_settings(self, seed: int) -> VoteSettings:
        """Return the settings sent with every vote request. Raises ConfigError if no model is set."""
        return VoteSettings(self.make_endpoint().model, self.temperature, self.max_tokens, seed, self.extra_body or {})

    def _render_comparison(self, query: str, first: str, second: str) -> str:
        return compile_template(self.pairwise).render(query=query, first=first, second=second)

    async def _collect_votes(self, requests: Sequence[VoteRequest], file: Path, seed: int, count: OnVote) -> list[Vote]:
        return (
            await votes.collect_votes(requests, self.build_vote_settings(seed), self.make_endpoint(), file, count)
            if requests
            else []
        )


def _decide_without_votes(
    pair: tuple[JudgeInput, JudgeInput], judged: tuple[Judgement, Judgement]
) -> Preference | None:
    """Return the preference if it needs no comparison, else None.

    That is so if only one of the answers is solved, if one is missing, or if both have the same text.
    """
    own, reference = (case.answer.strip() for case in pair)
    if preference := compare_pass_labels(judged[0].labels, judged[1].labels):
        return preference
    if own == reference:
        return "tie"
    if not own or not reference:
        return "win" if own else "loss"
    return None


def _decide_preference(
    pair: tuple[JudgeInput, JudgeInput], judged: tuple[Judgement, Judgement], cast_votes: Sequence[Vote]
) -> Preference:
    if (preference := _decide_without_votes(pair, judged)) is not None:
        return preference
    choices = cast("list[Choice]", [vote.label for vote in cast_votes])
    return decide_by_majority(
        combine_orders(*choices_of_round) for choices_of_round in zip(choices[::2], choices[1::2], strict=True)
    )


def count_votes(judged: Iterable[Vote]) -> dict[str, int]:
    """Count the requested votes, the unreadable ones, the second looks, and the tokens read and written.

    A vote that is shared by two systems with the same answer is counted once.
    """
    requested = list({id(vote): vote for vote in judged if vote.looks}.values())
    return {
        "votes": len(requested),
        "unreadable": sum(not vote.readable for vote in requested),
        "second_looks": sum(vote.looks == 2 for vote in requested),
        "tokens_in": sum(vote.tokens_in for vote in requested),
        "tokens_out": sum(vote.tokens_out for vote in requested),
    }
