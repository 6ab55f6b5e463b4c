"""Settings of a run: the composed configuration, validated as a whole before anything heavy is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, SkipValidation, TypeAdapter, ValidationError, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from codetool.config.build_settings import BuildError, build_settings
from codetool.config.export_formats import parse_formats
from codetool.config.instantiation_errors import explain_instantiation, format_problem, name_place
from codetool.config.library_arguments import PartialOf
from codetool.config.renamed_settings import suggest_current_name
from codetool.config.setting_checks import NOT_A_FIELD, find_wrong_targets, find_wrong_values
from codetool.credentials.settings_secrets import find_secrets_in_settings
from codetool.errors import ConfigError
from codetool.interfaces import (
    AnswerOption,
    Benchmark,
    ExecutorOption,
    Judge,
    LightningLogger,
    LoggerOption,
    Objective,
    PolicyOption,
    PrintedAnswer,
    PRMOption,
    Reward,
    SearchStrategy,
    Simulator,
    ToolsOption,
)
from codetool.runs.operational import OPERATIONAL_KEY, Operational
from codetool.runs.shard import ShardSetting
from codetool.types import FigureFormat

PROTOCOLS: dict[str, Any] = {
    "benchmark": Benchmark,
    "policy": PolicyOption,
    "prm": PRMOption,
    "reward": Reward,
    "search": SearchStrategy,
    "tools": ToolsOption,
    "executor": ExecutorOption,
    "simulator": Simulator,
    "logger": Mapping[str, LoggerOption | LightningLogger],
    "answer": AnswerOption | PrintedAnswer,
    "judge": Judge,
    "objective": Objective,
}
"""Protocol that the class in a group's `_target_` must implement."""
RESERVED_TRAINER_ARGUMENTS = {
    "logger": "loggers are chosen with logger=, for example logger=[wandb,csv]",
    "callbacks": "callbacks are chosen with callback=, for example callback=[checkpoint,early_stopping]",
    "enable_checkpointing": "choose callback=none for no checkpoint but the one that training resumes from",
    "default_root_dir": "all files are in the run folder. Choose where it lies: outputs=FOLDER",
    "use_distributed_sampler": "the data are shared out by whole trees. Leave it out",
    "reload_dataloaders_every_n_epochs": "every epoch has passes of its own. Leave it out",
}
"""Arguments of Lightning's Trainer that the stage sets, and what the user sets instead."""
BASE_CLASSES: dict[str, str | PartialOf] = {
    "budget": "codetool.search.budget.Budget",
    "run_budget": "codetool.costs.run_budget.RunBudget",
    "costs": "codetool.costs.cost_table.CostTable",
    "vllm": "codetool.models.vllm_servers.VllmConfig",
    "collect": "codetool.process_data.settings.LabelingConfig",
    "train": "codetool.training.settings.TrainConfig",
    "tuning": "codetool.training.tuning.TuningConfig",
    "trainer": PartialOf("pytorch_lightning.Trainer", RESERVED_TRAINER_ARGUMENTS),
    "optimizer": PartialOf("torch.optim.Optimizer"),
    "scheduler": PartialOf("torch.optim.lr_scheduler.LRScheduler"),
    "callback": "pytorch_lightning.Callback",
    "evaluate_prm": "codetool.stages.evaluate_prm.evaluate_prm.EvaluatePRMConfig",
    "judge_stage": "codetool.stages.judge.judge.JudgeStageConfig",
    "serve_prm": "codetool.stages.serve.serve_prm.ServePRMConfig",
    "serve_tools": "codetool.stages.serve.serve_tools.ServeToolsConfig",
    "report": "codetool.stages.report.ReportConfig",
    "dashboard": "codetool.stages.dashboard.settings.DashboardConfig",
    "compare": "codetool.stages.compare.settings.CompareConfig",
    "recheck": "codetool.stages.recheck.settings.RecheckConfig",
    "improve": "codetool.stages.improve.settings.ImproveConfig",
    "engine": "codetool.stages.engine.engine.EngineConfig",
}
"""Class that the class of a group without a Protocol, or of each of its parts, must be or be derived from."""
VALUE_SETTINGS = frozenset(
    "stage seed limit repeats fresh dry_run outputs concurrency figures reuse export ids shard".split()
)
"""Top-level settings that are values; all others are groups."""
MISSING_GROUP: Any = None
"""Value of a group that the chosen stage does not have; the stage's code does not use it."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class RunConfig:
    """All settings of a stage, as settings objects and plain values. `conf/config.yaml` explains each."""

    stage: str
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)]
    limit: Annotated[Annotated[int, Field(strict=True, ge=1)] | None, Operational]
    fresh: Annotated[bool, Operational]
    dry_run: Annotated[bool, Operational]
    outputs: Annotated[Path, Operational]
    concurrency: Annotated[int, Field(strict=True, ge=1), Operational]
    figures: Annotated[tuple[FigureFormat, ...], Operational]
    benchmark: SkipValidation[Benchmark]
    policy: SkipValidation[PolicyOption]
    prm: SkipValidation[PRMOption]
    reward: SkipValidation[Reward]
    search: SkipValidation[SearchStrategy]
    tools: SkipValidation[ToolsOption]
    executor: SkipValidation[ExecutorOption]
    budget: SkipValidation[Any]
    run_budget: Annotated[SkipValidation[Any], Operational]
    vllm: SkipValidation[Any]
    costs: Annotated[SkipValidation[Any], Operational]
    simulator: SkipValidation[Simulator]
    logger: Annotated[Mapping[str, SkipValidation[LoggerOption | LightningLogger]], Operational] = field(
        default_factory=dict
    )
    engine: Annotated[SkipValidation[Any], Operational] = None  # run folders of earlier versions have none
    # The following belong to some stages only, as `conf/stage/` says, and are None or empty for others.
    repeats: Annotated[Annotated[int, Field(strict=True, ge=1)], Operational] = 1
    ids: Annotated[Path | None, Operational] = None
    shard: Annotated[ShardSetting, Operational] = None
    reuse: Annotated[tuple[Path, ...], Operational] = ()
    export: Annotated[tuple[str, ...], Operational] = ()
    answer: SkipValidation[AnswerOption] = MISSING_GROUP
    judge: SkipValidation[Judge] = MISSING_GROUP
    collect: Annotated[SkipValidation[Any], Operational] = None
    train: SkipValidation[Any] = None
    objective: SkipValidation[Objective] = MISSING_GROUP
    tuning: SkipValidation[Any] = None
    trainer: SkipValidation[Any] = None
    optimizer: SkipValidation[Any] = None
    scheduler: SkipValidation[Any] = None
    callback: Mapping[str, SkipValidation[Any]] = field(default_factory=dict)
    evaluate_prm: Annotated[SkipValidation[Any], Operational] = None
    judge_stage: Annotated[SkipValidation[Any], Operational] = None
    serve_prm: Annotated[SkipValidation[Any], Operational] = None
    serve_tools: Annotated[SkipValidation[Any], Operational] = None
    report: Annotated[SkipValidation[Any], Operational] = None
    dashboard: Annotated[SkipValidation[Any], Operational] = None
    compare: Annotated[SkipValidation[Any], Operational] = None
    recheck: Annotated[SkipValidation[Any], Operational] = None
    improve: SkipValidation[Any] = None
    settings: dict[str, Any] = field(default_factory=dict)
    """The resolved configuration as plain data, which is hashed and written to `config.yaml`."""

    @field_validator("outputs", mode="before")
    @classmethod
    def _reject_empty(cls, outputs: Any) -> Any:
        if not str(outputs or "").strip():
            raise ValueError("name the folder that run folders are made in")
        return outputs

    @field_validator("figures", mode="before")
    @classmethod
    def _parse_formats(cls, formats: Any) -> Any:
        if isinstance(formats, str):
            return (formats,)
        if formats is None:
            raise ValueError("give a list of svg, pdf and png; [] writes no figures")
        return formats

    @field_validator("logger", mode="before")
    @classmethod
    def _reject_non_loggers(cls, loggers: Any) -> Any:
        for name, logger in loggers.items():
            if not callable(getattr(logger, "start", getattr(logger, "log_metrics", None))):
                raise ValueError(
                    f"{name} is no logger. Choose loggers by name, logger=[wandb,csv], and set their settings as "
                    f"logger.wandb.NAME=VALUE.{suggest_current_name(f'logger.{name}')}"
                )
        return loggers

    @field_validator("callback", mode="before")
    @classmethod
    def _reject_values(cls, callbacks: Any) -> Any:
        for name, callback in callbacks.items():
            if not hasattr(callback, "on_train_start"):
                raise ValueError(
                    f"{name} is no callback. Choose callbacks by name, callback=[checkpoint,early_stopping], or add "
                    "one of yours: +callback.mine._target_=my_package.MyCallback"
                )
        return callbacks

    @field_validator("export", mode="before")
    @classmethod
    def _parse_exports(cls, formats: Any, info: ValidationInfo) -> Any:
        return parse_formats(info.data.get("stage", ""), formats)

    @field_validator("reuse", mode="before")
    @classmethod
    def _to_tuple(cls, folders: Any) -> Any:
        return (folders,) if isinstance(folders, str) else tuple(folders or ())


def validate(config: DictConfig, built: dict[tuple[str, str], Any] | None = None) -> RunConfig:
    """Build the settings of a run. Raises ConfigError with every invalid setting of every group in one message.

    `built` is filled with the objects of all groups, for `check_settings` of configurations that differ in little.
    """
    parts = check_settings(config, {} if built is None else built)
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    settings = {str(key): value for key, value in container.items()}
    if secrets := list(find_secrets_in_settings(settings)):
        raise ConfigError("\n".join(dict.fromkeys(secrets)))
    return RunConfig(**parts, settings=settings)


def check_settings(config: DictConfig, built: dict[tuple[str, str], Any]) -> dict[str, Any]:
    """Build the objects of all groups, and return them by the group's name. Raises ConfigError as `validate` does.

    `built` keeps them by the settings of the group; what is in it is not built again.
    """
    parts: dict[str, Any] = {}
    problems: list[str] = []
    plain = OmegaConf.to_container(config, resolve=False)
    stripped = strip_operational_lists(plain)
    unmarked = config if stripped == plain else OmegaConf.create(stripped)
    for name in unmarked:
        try:
            key = str(name), _describe_settings(unmarked, str(name))
            if key in built:
                parts[str(name)] = built[key]
            elif group_problems := list(_find_problems(unmarked, str(name))):
                problems += group_problems
            else:
                parts[str(name)] = built[key] = _instantiate(unmarked, str(name))
        except (BuildError, OmegaConfBaseException) as error:
            problems += explain_instantiation(str(name), error)
    # A group that failed is missing too, which says nothing new.
    reported = {re.split(r"[.:=\[]", line)[0] for line in problems}
    problems += [line for line in _find_top_level_errors(parts) if re.split(r"[.:=\[]", line)[0] not in reported]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return parts


def _describe_settings(config: DictConfig, name: str) -> str:
    """Return the resolved settings of a group as text, the same for equal settings."""
    value = config[name]
    return repr(OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value)


def _instantiate(config: DictConfig, name: str) -> Any:
    value = config[name]
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    return build_settings(value, name)


def _find_problems(config: DictConfig, name: str) -> Iterator[str]:
    """Yield one line for every value and every `_target_` of a group that must not be instantiated."""
    value = config[name]
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    if name not in VALUE_SETTINGS and not isinstance(plain, Mapping):
        yield f"{name}={plain!r}: is a group of settings. Set one of them: {name}.NAME=VALUE"
        return
    yield from find_wrong_values(plain, name)
    yield from find_wrong_targets(plain, name, PROTOCOLS.get(name) or BASE_CLASSES.get(name) or NOT_A_FIELD)


def escape_interpolations(settings: Any) -> Any:
    """Return plain settings in which OmegaConf takes every `${` for text.

    Recorded settings are resolved already. What still looks like `${oc.env:NAME}` in a run folder must not be replaced
    by a variable of this machine.
    """
    if isinstance(settings, Mapping):
        return {name: escape_interpolations(item) for name, item in settings.items()}
    if isinstance(settings, list):
        return [escape_interpolations(item) for item in settings]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", settings) if isinstance(settings, str) else settings


def strip_operational_lists(settings: Any) -> Any:
    """Return plain settings without the lists `_operational_`, which only the identity uses."""
    if isinstance(settings, Mapping):
        return {name: strip_operational_lists(item) for name, item in settings.items() if name != OPERATIONAL_KEY}
    return [strip_operational_lists(item) for item in settings] if isinstance(settings, list) else settings


def _find_top_level_errors(parts: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for every invalid value at the top level, which no group's constructor checks."""
    try:
        TypeAdapter(RunConfig).validate_python(dict(parts))
    except ValidationError as error:
        for item in error.errors():
            name = name_place(item["loc"])
            yield (
                f"{name}: is missing" if item["type"] == "missing" else format_problem(name, item["input"], item["msg"])
            )
