"""A study: one question, the cells that answer it, and the folders of their runs.

`NAME/study.yaml` holds the question, the cells with their options of `run.py`, the differences to report and the curves
to draw. Every cell is a `python run.py …`, and its result is a run folder like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from hydra import compose
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator
from rich.console import Console
from subsampling import Subsample

from codetool.config.config_sources import initialize_hydra
from codetool.config.invocation import get_chosen_options
from codetool.config.override_errors import get_key
from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.errors import ConfigError, MissingError
from codetool.runs.bounded_input import parse_yaml, read_text
from codetool.runs.identity import Identity
from codetool.stages.evaluate.reuse import has_same_draws
from codetool.stages.evaluate.run import run
from codetool.stages.evaluate.run_identity import compute_identity

STUDIES = Path(__file__).parent
STUDY_FILE, CONFIG_FILE = "study.yaml", "config.yaml"
TRAINED_PRM = "prm=smollm2"
BEST_OF_N = "search=best_of_n"
Split = Literal["dev", "test"]


class Cell(BaseModel):
    """One configuration of the study."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    """What the cell does, for the table."""
    options: tuple[str, ...] = ()
    """Its options of `run.py`."""
    subsample: Subsample | None = None
    """What stands in place of options in a cell that runs nothing, but reads the chains of another cell."""
    sampled: bool = True
    """Whether candidates are drawn at random. If not, the first seed's run stands for all seeds."""

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if bool(self.options) == (self.subsample is not None):
            raise ValueError("a cell has either options or subsample")
        return self

    @property
    def uses_prm(self) -> bool:
        """Whether the trained PRM of the repository scores its steps."""
        return TRAINED_PRM in self.options


class Study(BaseModel):
    """What `study.yaml` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    question: str
    split: Split = "dev"
    """Split of `tmdb_verified`; choices are made on dev."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] = (0,)
    timing: NonNegativeInt = 0
    """Number of tasks on which each cell is timed; 0 times none."""
    options: tuple[str, ...] = ()
    """Options of `run.py` for every cell."""
    cells: Annotated[dict[str, Cell], Field(min_length=1)]
    """In the order in which they run: those that answer the question first."""
    differences: tuple[tuple[str, str], ...] = ()
    """Pairs of cells whose paired difference, first minus second, is reported."""
    curves: dict[str, tuple[str, ...]] = {}
    """Lines of the figure: the cells of each, in order of their cost."""
    equal_compute: str | None = None
    """The curve to which all other cells are compared at equal tokens; None compares none."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        named = {name for pair in self.differences for name in pair} | {
            n for line in self.curves.values() for n in line
        }
        named |= {cell.subsample.cell for cell in self.cells.values() if cell.subsample}
        if unknown := sorted(named - self.cells.keys()):
            raise ValueError(f"{', '.join(unknown)}: no such cell. There are: {', '.join(self.cells)}")
        for name, cell in self.cells.items():
            if cell.subsample and BEST_OF_N not in self.cells[cell.subsample.cell].options:
                raise ValueError(f"{name}: {cell.subsample.cell} has no chains; it must have the option {BEST_OF_N}")
        if self.equal_compute is not None and self.equal_compute not in self.curves:
            raise ValueError(f"equal_compute: {self.equal_compute} is none of the curves {', '.join(self.curves)}")
        return self


def load_study(name: str, studies: Path = STUDIES) -> Study:
    """Read a study by the name of its folder. Raises MissingError for an unknown name, ConfigError for a wrong file."""
    file = studies / name / STUDY_FILE
    if not file.is_file():
        known = sorted(path.parent.name for path in studies.glob(f"*/{STUDY_FILE}"))
        raise MissingError(f"{name}: no such study. There are: {', '.join(known)}")
    content = parse_yaml(read_text(file))
    try:
        return Study.model_validate({"name": name, **content})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{file}: {where}{': ' if where else ''}{first['msg']}") from error


@dataclass(frozen=True)
class Plan:
    """A study with the choices of the command line."""

    study: Study
    split: str
    limit: int | None
    seeds: tuple[int, ...]
    outputs: Path
    policy: Path | None = None
    """Folder of the policy's adapter; None takes the repository's."""
    prm: Path | None = None
    """Folder of the PRM's adapter; None takes the repository's."""
    cells: tuple[str, ...] = ()
    """Names of the cells to run; empty runs all."""
    options: tuple[str, ...] = ()
    """Further options of `run.py`, for every cell."""

    @property
    def chosen(self) -> dict[str, Cell]:
        """The cells to run, by name."""
        return {name: cell for name, cell in self.study.cells.items() if not self.cells or name in self.cells}

    @property
    def run_cells(self) -> dict[str, Cell]:
        """The cells with a run of their own that the chosen cells are or read, by name."""
        read = {cell.subsample.cell for cell in self.chosen.values() if cell.subsample}
        return {
            name: cell
            for name, cell in self.study.cells.items()
            if not cell.subsample and (name in self.chosen or name in read)
        }

    def list_options(self, cell: Cell, seed: int) -> list[str]:
        """Return the options of a cell for `run.py`; those of the command line replace the study's."""
        ours = ["benchmark=tmdb_verified", f"benchmark.split={self.split}", "policy=smollm2"]
        ours += [*self.study.options, *cell.options, f"seed={seed}", f"outputs={self.outputs}"]
        ours += [f"limit={self.limit}"] if self.limit else []
        ours += [f"policy.path={self.policy}"] if self.policy else []
        ours += [f"prm.path={self.prm}"] if self.prm and cell.uses_prm else []
        given = {get_key(option) for option in self.options}
        return [*(option for option in ours if get_key(option) not in given), *self.options]


@dataclass(frozen=True)
class CellRun:
    """A cell with a seed."""

    name: str
    cell: Cell
    seed: int
    options: tuple[str, ...]
    folder: Path
    """Its run folder, which may not exist yet."""
    identity: Identity | None = None
    """Identity of the run; None for results written by hand."""

    @property
    def label(self) -> str:
        """Name of the run in messages."""
        return f"{self.name}, seed {self.seed}"


def plan_runs(plan: Plan) -> list[CellRun]:
    """Return all runs in order: all cells with the first seed, then with the next one.

    A deterministic cell is run with the first seed only, and the run that a subsample reads is among them even if its
    cell was not chosen. Raises CodeToolError if a cell could not start.
    """
    return [
        _plan_run(name, cell, seed, plan.list_options(cell, seed))
        for place, seed in enumerate(plan.seeds)
        for name, cell in plan.run_cells.items()
        if cell.sampled or place == 0
    ]


def find_shared_folders(run: CellRun, outputs: Path) -> list[Path]:
    """Return the run folders below `outputs`, of any study, whose candidates this run would draw again."""
    if run.identity is None or not run.cell.sampled:
        return []
    folders = sorted(file.parent for file in outputs.glob(f"evaluate/*/{CONFIG_FILE}"))
    return [folder for folder in folders if folder != run.folder and has_same_draws(run.identity, folder)]


def _plan_run(name: str, cell: Cell, seed: int, options: Sequence[str]) -> CellRun:
    """Return the run of these options with the folder that `run.py` would use."""
    overrides = [*options, "dry_run=true"]
    config = validate(compose_all(overrides)[0])
    with initialize_hydra(()):
        hydra = compose("config", overrides, return_hydra_config=True).hydra
    choices = get_chosen_options(hydra)
    folder = run(config, choices, Console(quiet=True)).folder
    return CellRun(name, cell, seed, tuple(options), folder, compute_identity(config, choices))
