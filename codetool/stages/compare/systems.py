"""Systems to compare: runs that differ in their seed alone are one, and its tasks have means over seeds and repeats."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from codetool.errors import ConfigError
from codetool.evaluation.error_taxonomy import is_internal
from codetool.evaluation.metric_choice import find_headline
from codetool.evaluation.metrics import AMOUNTS, TOKEN_METRICS, get_metric, is_share
from codetool.evaluation.repeated_results import average_repeats
from codetool.runs.identity import OPTION_KEY
from codetool.runs.repeats import find_task_id
from codetool.stages.compare.compared_runs import ComparedRun

UNNAMED_SETTINGS = ("seed", "benchmark", "stage", "recheck")
"""Settings that are the same for all systems, or repetitions."""
MAX_VALUE_CHARS = 24


@dataclass(frozen=True)
class System:
    """Runs with the same settings and different seeds."""

    label: str
    runs: Sequence[ComparedRun]
    settings: Mapping[str, str]
    """Settings in which it differs from other systems, by dotted name."""

    @cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics that any line has; `tokens`, their sum, before the tokens of policy and PRM."""
        lines = [line for run in self.runs for line in run.lines]
        named = (name for line in lines for name, value in line["metrics"].items() if value is not None)
        return list(
            dict.fromkeys(each for name in named for each in (("tokens", name) if name in TOKEN_METRICS else (name,)))
        )

    @cached_property
    def task_ids(self) -> frozenset[str]:
        """Ids of the tasks that any run has a result of."""
        return frozenset().union(*(run.task_ids for run in self.runs))

    def measure(self, metric: str) -> dict[str, float]:
        """Return the mean of each task's values over seeds and repeats.

        A task that failed internally counts 0 in a rate or share, and is left out of an amount.
        """
        values = [value for run in self.runs for line in run.lines for value in _read_value(line, metric)]
        return {str(task): mean for task, mean in average_repeats(values)}


def _read_value(line: Mapping[str, Any], metric: str) -> Iterator[tuple[str, float]]:
    value = get_metric(line["metrics"], metric)
    if is_internal(line):
        value = 0.0 if is_share(metric) else None
    if value is not None:
        yield find_task_id(line), float(value)


def group_runs(runs: Sequence[ComparedRun]) -> list[System]:
    """Return the systems in the order of their first runs, each with a label of its own."""
    groups: list[list[ComparedRun]] = []
    for run in runs:
        group = next((each for each in groups if _is_other_seed(run, each)), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    varied = _list_varied(groups)
    return [System(*each) for each in zip(_label_groups(groups, varied), groups, varied, strict=True)]


def _is_other_seed(run: ComparedRun, group: Sequence[ComparedRun]) -> bool:
    """Return whether a run differs from those of a group in its seed, and in nothing else."""
    return _describe_settings(run) == _describe_settings(group[0]) and run.seed not in {each.seed for each in group}


def _describe_settings(run: ComparedRun) -> str:
    identity = run.provenance.identity
    settings = {name: value for name, value in identity.settings.items() if name != "seed"}
    return json.dumps([settings, dict(identity.checksums), identity.version], sort_keys=True, default=str)


def _list_varied(groups: Sequence[Sequence[ComparedRun]]) -> list[dict[str, str]]:
    """Return the settings and checksums in which groups differ, for each group as text by dotted name."""
    flat = [dict(_flatten(group[0].hashed)) | _list_checksums(group[0]) for group in groups]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    varied = sorted((name for name in names if _varies(name, flat)), key=lambda name: "." in name)  # options first
    return [{name: _shorten(each[name]) for name in varied if name in each} for each in flat]


def _list_checksums(run: ComparedRun) -> dict[str, str]:
    checksums = run.provenance.identity.checksums
    return {f"sha256.{name}": value[:8] for name, value in checksums.items() if name != "benchmark"}


def _label_groups(groups: Sequence[Sequence[ComparedRun]], varied: Sequence[Mapping[str, str]]) -> list[str]:
    """Return as few settings as tell the groups apart, else the names of the folders."""
    chosen: list[str] = []
    for name in dict.fromkeys(name for settings in varied for name in settings):
        if _count_distinct(varied, [*chosen, name]) > _count_distinct(varied, chosen):
            chosen.append(name)
    if _count_distinct(varied, chosen) == len(groups):
        shown = _shorten_names(chosen)
        return [" ".join(f"{shown[name]}={each[name]}" for name in chosen if name in each) for each in varied]
    folders = [group[0].name for group in groups]
    return folders if len(set(folders)) == len(folders) else [str(group[0].folder) for group in groups]


def _count_distinct(settings: Sequence[Mapping[str, str]], names: Sequence[str]) -> int:
    return len({tuple(each.get(name) for name in names) for each in settings})


def _shorten_names(names: Sequence[str]) -> dict[str, str]:
    """Return the last part of each dotted name, the whole name if two share it."""
    last = [name.rpartition(".")[2] for name in names]
    return {name: part if last.count(part) == 1 else name for name, part in zip(names, last, strict=True)}


def _varies(name: str, flat: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a setting differs among the groups whose option has it; the option itself if any differ."""
    values = {json.dumps(settings[name], sort_keys=True, default=str) for settings in flat if name in settings}
    return len(values) > 1 or ("." not in name and 0 < sum(name in settings for settings in flat) < len(flat))


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each setting by its dotted name; the option of a group by the name of the group."""
    for name, value in settings.items():
        if not prefix and name in UNNAMED_SETTINGS:
            continue
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield (prefix.rstrip(".") if name == OPTION_KEY else f"{prefix}{name}"), value


def _shorten(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 1]}…"


def choose_baseline(systems: Sequence[System], wanted: str | None) -> System:
    """Return the system that a folder, a folder's name, a label or a number names. Raises ConfigError for another."""
    if wanted is None:
        return systems[0]
    for number, system in enumerate(systems, start=1):
        folders = {run.folder for run in system.runs}
        if (
            wanted in (system.label, str(number), *(run.name for run in system.runs))
            or Path(wanted).resolve() in folders
        ):
            return system
    named = "; ".join(f"{number}: {system.label}" for number, system in enumerate(systems, start=1))
    raise ConfigError(f"compare.baseline={wanted}: is none of the compared runs. Name one by number or label: {named}")


def choose_headline(systems: Sequence[System]) -> str:
    """Return the metric by which systems are compared first. Raises ConfigError if they have none in common."""
    common = set.intersection(*(set(system.metrics) for system in systems))
    if (name := find_headline(common)) is None:
        raise ConfigError("compare.runs: the runs have no rate or share in common, such as success or scep.")
    return name


def list_metrics(first: System, second: System) -> list[str]:
    """Return the metrics that both systems have, rates and shares before amounts."""
    common = [name for name in first.metrics if name in second.metrics]
    return sorted(common, key=lambda name: (not is_share(name), name in AMOUNTS))


def drop_other_judges(systems: Sequence[System]) -> tuple[list[System], str | None]:
    """Return the systems without the verdicts of judges, if those differ, and a line that says so."""
    judges = {json.dumps(run.hashed.get("judge"), sort_keys=True, default=str) for each in systems for run in each.runs}
    if len(judges) < 2 or not any({"sopr", "sowr"} & set(system.metrics) for system in systems):
        return list(systems), None
    return [replace(each, runs=list(map(_drop_verdicts, each.runs))) for each in systems], (
        "sopr and sowr are left out: the answers were judged by different judges, or some were not judged. Judge all "
        "by the same one: stage=recheck, or stage=judge."
    )


def _drop_verdicts(run: ComparedRun) -> ComparedRun:
    lines = [
        {**line, "metrics": {name: value for name, value in line["metrics"].items() if name not in ("sopr", "sowr")}}
        for line in run.lines
    ]
    return replace(run, lines=lines)
