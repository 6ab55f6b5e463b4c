"""Judges of final answers, for tasks that have no checked one.

What a judge has said is a line of a journal, so that it is asked once for an answer. Limits: the judge sees the query
and the answer, not how it was found; it is one vote of one model.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass as record
from pathlib import Path
from typing import Annotated, Any, Self

from jinja2 import TemplateSyntaxError, meta
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from codetool import journal
from codetool.chat import ChatClient, Server
from codetool.concurrency import together
from codetool.errors import ConfigError
from codetool.prompts import compiled, environment
from codetool.reach import refuse_password
from codetool.types import Task

log = logging.getLogger(__name__)

SEEN = frozenset({"query", "answer"})
"""What the prompt of a judge may use."""


@record(frozen=True, slots=True)
class Question:
    """An answer to be judged."""

    task: Task
    answer: str


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NoJudge:
    """Nobody judges."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OpenAIJudge:
    """Settings of a judge behind an OpenAI-compatible endpoint."""

    model: str | None
    """Name of the model as the server lists it. It must be given; None is the placeholder of a YAML file."""
    base_url: str
    """Address up to and including the version, `http://localhost:8000/v1`."""
    key_env: str | None
    """Environment variable that holds the API key; None or an unset variable sends no key."""
    prompt: str
    """Jinja template of the user message; sees `query` and `answer`. The answer to it starts with yes or no."""
    max_tokens: Annotated[int, Field(ge=1)]
    """New tokens of a verdict at most."""
    concurrency: Annotated[int, Field(ge=1)]
    """Requests in flight at most."""
    timeout: Annotated[float, Field(gt=0)]
    """Seconds until the first byte of an answer."""
    retries: Annotated[int, Field(ge=0)]
    """Further attempts after a 429, a 5xx or a broken connection."""
    backoff: Annotated[float, Field(ge=0)]
    """Seconds before the first retry; doubled for each further one."""

    @field_validator("prompt")
    @classmethod
    def _renders(cls, source: str) -> str:
        try:
            unknown = meta.find_undeclared_variables(environment().parse(source)) - SEEN
        except TemplateSyntaxError as error:
            raise ValueError(f"not a Jinja template, line {error.lineno}: {error.message}") from error
        if unknown:
            raise ValueError(f"uses {', '.join(sorted(unknown))}; it may use {', '.join(sorted(SEEN))}")
        return source

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        refuse_password("judge", self.base_url)
        return self

    async def probe(self) -> None:
        """Nothing, if the judge can be asked. Raises ConfigError, MissingError or UnreachableError."""
        async with ChatClient(self._server()):
            pass

    async def verdicts(self, questions: Sequence[Question], file: Path) -> list[bool]:
        """Whether each answer solves its task. Verdicts are journalled in `file`, and those that it holds are used.

        A verdict that says neither yes nor no counts as no. Raises what `probe` and the client raise; the verdicts
        given until then are kept.
        """
        known = {line["key"]: line["verdict"] for line in journal.read(file)}
        keys = [self._key(question) for question in questions]
        new = {key: question for key, question in zip(keys, questions, strict=True) if key not in known}
        if new:
            server = self._server()
            with journal.Journal(file) as verdicts:
                async with ChatClient(server) as client:
                    lines = await together(self._ask(client, key, question, verdicts) for key, question in new.items())
            known |= {line["key"]: line["verdict"] for line in lines}
            if unclear := sum(not line["clear"] for line in lines):
                log.warning("%s said neither yes nor no of %d answers, which counts as no", self.model, unclear)
        return [known[key] for key in keys]

    async def _ask(self, client: ChatClient, key: str, question: Question, verdicts: journal.Journal) -> dict[str, Any]:
        """The new line of the journal."""
        prompt = compiled(self.prompt).render(query=question.task.query, answer=question.answer)
        completion = await client.complete(
            [{"role": "user", "content": prompt}], n=1, temperature=0.0, top_p=1.0, max_tokens=self.max_tokens, seed=0
        )
        yes = said_yes(completion.texts[0])
        line = {
            "key": key,
            "task_id": question.task.id,
            "answer": question.answer,
            "verdict": yes is True,
            "clear": yes is not None,
            "said": completion.texts[0],
            "tokens_in": completion.tokens_in,
            "tokens_out": sum(completion.tokens_out),
        }
        verdicts.append(line)
        return line

    def _key(self, question: Question) -> str:
        """Hex sha256 of all that determines a verdict: the judge and the question."""
        asked = [self.model, self.prompt, self.max_tokens, question.task.id, question.task.query, question.answer]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def _server(self) -> Server:
        if not self.model:
            raise ConfigError(f"judge.model is not set. Name one that {self.base_url} serves: judge.model=NAME")
        return Server(
            base_url=self.base_url,
            model=self.model,
            key_env=self.key_env,
            concurrency=self.concurrency,
            timeout=self.timeout,
            retries=self.retries,
            backoff=self.backoff,
            group="judge",
        )


def said_yes(text: str) -> bool | None:
    """Whether a verdict begins with yes rather than no; None where it begins with neither. Thoughts are left out."""
    found = re.match(r"\W*(yes|no)\b", text.rpartition("</think>")[2], re.IGNORECASE)
    return found[1].lower() == "yes" if found else None
