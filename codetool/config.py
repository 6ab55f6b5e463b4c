"""The settings of a run: the composed configuration, checked as a whole before anything heavy is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from pydantic import ConfigDict, Field, PositiveInt, SkipValidation, TypeAdapter, ValidationError, field_validator
from pydantic.dataclasses import dataclass

from codetool.errors import ConfigError
from codetool.interfaces import Benchmark, PolicyOption, PRMOption, Reward, SearchStrategy
from codetool.operational import OPERATIONAL_NAMES, Operational


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class RunConfig:
    """Everything a stage needs, as live settings objects and plain values. `conf/config.yaml` says what each means."""

    stage: str
    seed: int
    limit: Annotated[PositiveInt | None, Operational]
    fresh: Annotated[bool, Operational]
    dry_run: Annotated[bool, Operational]
    outputs: Annotated[Path, Operational]
    concurrency: Annotated[int, Field(ge=1), Operational]
    benchmark: SkipValidation[Benchmark]
    policy: SkipValidation[PolicyOption]
    prm: SkipValidation[PRMOption]
    reward: SkipValidation[Reward]
    search: SkipValidation[SearchStrategy]
    tools: SkipValidation[Any]
    executor: SkipValidation[Any]
    budget: SkipValidation[Any]
    vllm: SkipValidation[Any]
    simulator: SkipValidation[Any]
    logger: Annotated[SkipValidation[Any], Operational]
    # What follows belongs to some stages alone: `conf/stage/` says to which. It is None, or empty, for any other.
    reuse: Annotated[tuple[Path, ...], Operational] = ()
    export: Annotated[Literal["reference"] | None, Operational] = None
    answer: SkipValidation[Any] = None
    judge: SkipValidation[Any] = None
    collect: Annotated[SkipValidation[Any], Operational] = None
    train: SkipValidation[Any] = None
    tuning: SkipValidation[Any] = None
    trainer: SkipValidation[Any] = None
    evaluate_prm: Annotated[SkipValidation[Any], Operational] = None
    judge_stage: Annotated[SkipValidation[Any], Operational] = None
    serve_prm: Annotated[SkipValidation[Any], Operational] = None
    serve_tools: Annotated[SkipValidation[Any], Operational] = None
    report: Annotated[SkipValidation[Any], Operational] = None
    settings: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration as plain data: what is hashed and written to `config.yaml`."""

    @field_validator("outputs", mode="before")
    @classmethod
    def _named(cls, outputs: Any) -> Any:
        if not str(outputs or "").strip():
            raise ValueError("name the folder that run folders are made in")
        return outputs

    @field_validator("reuse", mode="before")
    @classmethod
    def _one_or_more(cls, folders: Any) -> Any:
        return (folders,) if isinstance(folders, str) else tuple(folders or ())


def validate(config: DictConfig) -> RunConfig:
    """The settings of a run. Raises ConfigError with every wrong option of every group in one message."""
    parts: dict[str, Any] = {}
    wrong: list[str] = []
    plain = OmegaConf.to_container(config, resolve=False)
    unmarked = config if (bare := without_marks(plain)) == plain else OmegaConf.create(bare)
    for name in unmarked:
        try:
            parts[str(name)] = _part(unmarked, str(name))
        except (InstantiationException, OmegaConfBaseException) as error:
            wrong += _explained(str(name), error)
    blamed = {re.split("[.:=]", line)[0] for line in wrong}  # a group that failed is missing, which says nothing new
    wrong += [line for line in _plain_errors(parts) if re.split("[.:=]", line)[0] not in blamed]
    if wrong:
        raise ConfigError("\n".join(dict.fromkeys(wrong)))
    settings = OmegaConf.to_container(config, resolve=True)
    assert isinstance(settings, dict)
    return RunConfig(**parts, settings={str(key): value for key, value in settings.items()})


def _part(config: DictConfig, name: str) -> Any:
    value = config[name]
    return instantiate(value, _convert_="all") if OmegaConf.is_dict(value) else value


def without_marks(settings: Any) -> Any:
    """Plain settings without the lists `_operational_`, which are for the identity alone."""
    if isinstance(settings, Mapping):
        return {name: without_marks(item) for name, item in settings.items() if name != OPERATIONAL_NAMES}
    return [without_marks(item) for item in settings] if isinstance(settings, list) else settings


def _plain_errors(parts: Mapping[str, Any]) -> Iterator[str]:
    """One line for every wrong value at the top level, where no group's constructor looks."""
    try:
        TypeAdapter(RunConfig).validate_python(dict(parts))
    except ValidationError as error:
        for item in error.errors():
            name = ".".join(map(str, item["loc"]))
            yield f"{name}: is missing" if item["type"] == "missing" else _line(name, item["input"], item["msg"])


def _explained(name: str, error: Exception) -> Iterator[str]:
    """One line for every option that the constructors below `name` refused."""
    cause = error.__cause__ or error
    if isinstance(cause, MissingMandatoryValue):
        yield f"{cause.full_key}: is not set and has no default. Give it with {cause.full_key}=VALUE."
        return
    if not isinstance(cause, ValidationError):
        yield f"{name}: {cause}"
        return
    below = getattr(error, "full_key", None) or name
    for item in cause.errors():
        if not item["loc"]:  # options that do not go together: the message names them
            yield item["msg"].removeprefix("Value error, ")
            continue
        place = ".".join([str(below), *(str(part) for part in item["loc"] if not str(part).startswith("function-"))])
        yield _line(place, item["input"], item["msg"])


def _line(place: str, value: object, message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    # A mapping is long and may hold a key that was pasted into it; what is wrong in it stands in the message.
    shown = "" if isinstance(value, Mapping) or place.startswith("tools.secrets") else f"={value!r}"
    return f"{place}{shown}: {message[0].lower()}{message[1:]}"
