"""Settings of a policy that replays the candidates of recorded runs, without a model, server or API key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import astuple
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, InstanceOf, field_validator
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError, MissingError
from codetool.interfaces import ModelServers, Prompt
from codetool.model_types import Sampling
from codetool.policies.diversity import DiversitySettings
from codetool.policies.recorded import RecordingPolicy
from codetool.runs import journal
from codetool.runs.bounded_input import read_bytes
from codetool.runs.operational import Checksummed

CANDIDATES_FILE = "candidates.jsonl"
CANDIDATE_FIELDS = frozenset({"task_id", "key", "index", "text", "tokens_in", "tokens_out", "sampling"})
"""Required fields of a candidate's record."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReplayPolicyConfig(DiversitySettings):
    """Settings of a policy that replays candidates from run folders.

    Sampling settings are part of a candidate's key. None accepts the recorded value; a number selects among sources
    with several settings.
    """

    model: str
    """Model name in the result's identity; no model is loaded."""
    source: Annotated[tuple[Path, ...], Checksummed]
    """Run folders or their `candidates.jsonl`. If a candidate is recorded twice, the last record counts."""
    temperature: Annotated[float, Field(ge=0)] | None
    """Temperature of the recorded candidates."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None
    """Nucleus probability mass of the recorded candidates."""
    max_tokens: Annotated[int, Field(ge=1)] | None
    """Maximum number of new tokens of the recorded candidates."""
    prompt: InstanceOf[Prompt]
    """Renders a path as messages and parses a text as a step. It must be the prompt of the recorded run."""

    @property
    def sampling(self) -> Sampling:
        """The requested sampling settings; None matches any value."""
        return Sampling(self.temperature, self.top_p, self.max_tokens)

    def checksum(self) -> str:
        """Return the hex sha256 of the recorded candidates, independent of file names and folders.

        Raises ConfigError if there is no source, MissingError if a source does not exist.
        """
        contents = {sha256(read_bytes(path)).hexdigest() for path in self._find_files()}
        return sha256("".join(sorted(contents)).encode()).hexdigest()

    def read_task_ids(self) -> set[str]:
        """Return the ids of the tasks with candidates in the sources."""
        return {record["task_id"] for record in self._read_records()}

    def usd(self, tokens_in: int, tokens_out: int) -> None:
        """Return None: recorded tokens cost nothing."""

    def weights(self) -> None:
        """Return None: no server is started."""

    @asynccontextmanager
    async def open(self, servers: ModelServers) -> AsyncIterator[RecordingPolicy]:
        """Open the policy. For an unrecorded candidate it raises MissingError with task, step and index.

        Raises MissingError for a missing source, ConfigError for no source or ambiguous sampling settings.
        """
        records = list(self._read_records())
        yield RecordingPolicy(None, prompt=self.prompt, sampling=self._choose_sampling(records), records=records)

    @field_validator("source", mode="before")
    @classmethod
    def _to_tuple(cls, source: Any) -> Any:
        paths = (source,) if isinstance(source, str | Path) else source
        return tuple(Path(path).expanduser() if isinstance(path, str | Path) else path for path in paths or ())

    def _find_files(self) -> Iterator[Path]:
        if not self.source:
            raise ConfigError("policy.source is empty: name the run folders to replay, `policy.source=[outputs/…]`.")
        for source in self.source:
            path = source if source.suffix == ".jsonl" else source / CANDIDATES_FILE
            if not path.is_file():
                raise MissingError(
                    f"policy.source: there is no file {path}. Name a run folder that has {CANDIDATES_FILE}."
                )
            yield path

    def _read_records(self) -> Iterator[Mapping[str, Any]]:
        for path in self._find_files():
            yield from (_check_record(record, path) for record in journal.read_records(path))

    def _choose_sampling(self, records: list[Mapping[str, Any]]) -> Sampling:
        found = {Sampling(**record["sampling"]) for record in records if "purpose" not in record}
        if not found:
            raise MissingError("policy.source holds no candidate yet. Name the folder of a run that has got further.")
        fitting = [sampling for sampling in found if _matches_request(self.sampling, sampling)]
        if len(fitting) == 1:
            return fitting[0]
        listed = "; ".join(sorted(map(_format_options, found)))
        problem = "several of these fit" if fitting else "none of them fits what was asked for"
        raise ConfigError(
            f"policy.source holds candidates drawn with {listed}; {problem}, {_format_options(self.sampling)}. "
            "Choose one by setting these options."
        )


def _check_record(record: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the record. Raises ConfigError if it is not a candidate's record."""
    if not CANDIDATE_FIELDS <= record.keys():
        raise ConfigError(
            f"policy.source: {path} holds other records than candidates. Name a run folder or its {CANDIDATES_FILE}."
        )
    return record


def _matches_request(requested: Sampling, found: Sampling) -> bool:
    return all(w is None or w == f for w, f in zip(astuple(requested), astuple(found), strict=True))


def _format_options(sampling: Sampling) -> str:
    numbers = zip(("temperature", "top_p", "max_tokens"), astuple(sampling), strict=True)
    return " ".join(f"policy.{name}={'null' if value is None else value}" for name, value in numbers)
