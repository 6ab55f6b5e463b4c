"""Draw the cells of a sweep with Optuna, each from what the earlier ones have reached (`hydra/sweeper=optuna`).

The settings are those of Hydra's plug-in for Optuna, which wants an Optuna of 2022; this one uses the present one and
keeps what a sweep promises: cells that fail are named, and the same command goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from codetool.errors import ConfigError
from codetool.evaluation.metric_choice import MINIMIZED_METRICS, format_value, read_metrics
from codetool.runs import journal
from codetool.sweeps.cell import CellOutcome, read_objectives
from codetool.sweeps.distributions import format_override, read_distribution
from codetool.sweeps.grid import GridCell, is_cell_override, make_cell
from codetool.sweeps.launching import CellLauncher, read_count

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import Trial

RESULTS_FILE = "optimization_results.yaml"
"""File of the sweep's folder with the best values, as Hydra's plug-in for Optuna writes it."""
STAGE_OBJECTIVES = {
    "collect": "success", "train": "validation_loss", "evaluate_prm": "pairwise_accuracy", "evaluate": "success",
    "judge": "sopr",
}  # fmt: skip
"""The metric that is optimized if none is named, by the stage."""
MAX_DRAWS_PER_CELL = 5
"""Draws for each wanted cell after which a search ends that draws the same cells again: there may be no others."""
KNOWN_OBJECTIVES = frozenset({*STAGE_OBJECTIVES.values(), *MINIMIZED_METRICS})
"""Metrics that a cell can lack although others have them, such as one whose training validated nothing."""
DIRECTIONS = ("maximize", "minimize")


@dataclass(frozen=True)
class Objectives:
    """The metrics to optimize, and the direction of each."""

    names: tuple[str, ...]
    directions: tuple[str, ...]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], stage: str) -> Objectives:
        """Read `hydra.sweeper.objective` and `hydra.sweeper.direction`. Raises ConfigError if they do not fit."""
        names = _to_tuple(settings.get("objective") or STAGE_OBJECTIVES[stage])
        better = tuple("minimize" if name in MINIMIZED_METRICS else "maximize" for name in names)
        directions = _to_tuple(settings.get("direction") or better)
        if len(directions) != len(names) or not set(directions) <= set(DIRECTIONS):
            raise ConfigError(
                f"hydra.sweeper.direction={list(directions)}: should be maximize or minimize for each objective, "
                f"{', '.join(names)}."
            )
        return cls(names, directions)


def _to_tuple(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(getattr(each, "name", each)) for each in value)


def search_cells(
    overrides: Sequence[str], settings: Mapping[str, Any], objectives: Objectives, launcher: CellLauncher, name: str
) -> tuple[list[GridCell], list[CellOutcome], Study]:
    """Draw and run the cells of a search; return them with their outcomes, each once, and Optuna's study.

    Ends early if more cells have failed than `max_failure_rate` allows, or if no other cells are drawn. Raises
    ConfigError without anything to draw.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    own = list(filter(is_cell_override, overrides))
    distributions = {each.partition("=")[0]: found for each in own if (found := read_distribution(each)) is not None}
    if not distributions:
        raise ConfigError(
            "hydra/sweeper=optuna: nothing to draw. Give lists or ranges: search.width=1,2,4 search.n='range(1,5)'"
        )
    study = optuna.create_study(
        study_name=settings["study_name"] or name,
        storage=settings["storage"],
        sampler=settings["sampler"],
        directions=objectives.directions,
        load_if_exists=True,
    )
    cells: dict[GridCell, CellOutcome] = {}
    wanted, together, draws = read_count(settings, "n_trials"), read_count(settings, "n_jobs"), 0
    while len(cells) < wanted and draws < MAX_DRAWS_PER_CELL * wanted:
        trials = [study.ask(distributions) for _ in range(min(wanted - len(cells), together))]
        draws += len(trials)
        drawn = [_make_cell(own, trial) for trial in trials]
        new = [cell for cell in dict.fromkeys(drawn) if cell not in cells]
        cells |= dict(zip(new, launcher.launch(new), strict=True))
        failed = [_tell(study, trial, cells[cell], objectives) for trial, cell in zip(trials, drawn, strict=True)]
        if all(failed) and not set(objectives.names) <= KNOWN_OBJECTIVES:  # a mistyped name: no cell will have it
            _check_objectives(objectives, list(cells.values()))
        if sum(failed) / len(trials) > float(settings["max_failure_rate"]):
            break
    return list(cells), list(cells.values()), study


def _make_cell(overrides: Sequence[str], trial: Trial) -> GridCell:
    chosen = [format_override(override, trial.params) for override in overrides]
    swept = [
        word for word, override in zip(chosen, overrides, strict=True) if override.partition("=")[0] in trial.params
    ]
    return make_cell(chosen, swept)


def _tell(study: Study, trial: Trial, outcome: CellOutcome, objectives: Objectives) -> bool:
    """Tell the study what a cell has reached. Returns whether the cell failed."""
    from optuna.trial import TrialState

    values = read_objectives(outcome, objectives.names)
    if values is None:
        study.tell(trial, state=TrialState.FAIL)
    else:
        study.tell(trial, values)
    return values is None


def _check_objectives(objectives: Objectives, outcomes: Sequence[CellOutcome]) -> None:
    """Raise ConfigError if cells have ended well, and none has all metrics that are optimized."""
    ended_well = [outcome for outcome in outcomes if outcome.error is None]
    if ended_well and all(read_objectives(outcome, objectives.names) is None for outcome in ended_well):
        known = sorted({name for outcome in outcomes for name in read_metrics(outcome.metrics)})
        raise ConfigError(
            f"hydra.sweeper.objective={list(objectives.names)}: no cell has all these metrics. The cells have: "
            f"{', '.join(known)}."
        )


def write_best(folder: Path, study: Study, objectives: Objectives, outcomes: Sequence[CellOutcome]) -> list[str]:
    """Write the best values of a search, and return a line for each cell that no other beats in all objectives.

    Raises ConfigError if no cell has the metrics.
    """
    best = study.best_trials
    if not best:
        _check_objectives(objectives, outcomes)
        return []
    if len(objectives.names) == 1:
        content: dict[str, Any] = {"best_params": best[0].params, "best_value": best[0].value}
    else:
        content = {"solutions": [{"params": trial.params, "values": list(trial.values)} for trial in best]}
    journal.atomic_write(
        folder / RESULTS_FILE, [yaml.safe_dump({"name": "optuna", **content}, sort_keys=False).encode()]
    )
    lines = []
    for trial in best[:1] if len(objectives.names) == 1 else best:
        reached = [
            f"{name} {format_value(name, value)}" for name, value in zip(objectives.names, trial.values, strict=True)
        ]
        drawn = " ".join(f"{name}={value}" for name, value in trial.params.items())
        lines.append(f"best: {', '.join(reached)} with {drawn}")
    return list(dict.fromkeys(lines))
