"""Cells of the ablation: the options of each cell and the folder of its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra import compose
from rich.console import Console

from codetool.config.config_sources import initialize_hydra
from codetool.config.invocation import get_chosen_options
from codetool.config.override_errors import get_key
from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.stages.evaluate.run import run


@dataclass(frozen=True)
class Cell:
    """One search configuration."""

    name: str
    title: str
    """What it does, for the table."""
    words: tuple[str, ...]
    """Its options of `run.py`."""
    judged: bool = False
    """Whether the trained PRM is asked."""
    sampled: bool = True
    """Whether candidates are drawn. If not, they are those of no other cell, and the same for every seed."""


CHAIN = ("search=chain", "prm=none", "policy.temperature=0")
GREEDY = ("search=greedy", "search.n=4")
BEAM = ("search=beam", "search.width=2", "search.n=4")
CELLS = (
    Cell("chain", "one candidate a step, temperature 0", CHAIN, sampled=False),
    Cell("full", "greedy, n = 4, both rewards", (*GREEDY, "prm=smollm2"), judged=True),
    Cell("without_latent", "greedy, n = 4, on the spot alone", (*GREEDY, "prm=none", "reward=without_latent")),
    Cell("without_spot", "greedy, n = 4, PRM alone", (*GREEDY, "prm=smollm2", "reward=without_spot"), judged=True),
    Cell("oracle", "greedy, n = 4, both rewards, a PRM that knows the solution", (*GREEDY, "prm=oracle")),
    Cell("beam", "beam 2 × 4, both rewards", (*BEAM, "prm=smollm2"), judged=True),
)
"""In the order in which they run: the most telling first."""


@dataclass(frozen=True)
class Plan:
    """Settings shared by all cells."""

    split: str
    limit: int | None
    seeds: tuple[int, ...]
    outputs: Path
    policy: Path | None
    """Folder of the policy's adapter; None takes the repository's."""
    prm: Path | None
    """Folder of the PRM's adapter; None takes the repository's."""
    cells: tuple[Cell, ...] = CELLS
    words: tuple[str, ...] = ()
    """Further options of `run.py`, for every cell."""

    def options(self, cell: Cell, seed: int) -> list[str]:
        """Return the options of a cell for `run.py`."""
        ours = ["benchmark=tmdb_verified", f"benchmark.split={self.split}", "policy=smollm2", *cell.words]
        ours += [f"seed={seed}", f"outputs={self.outputs}"]
        ours += [f"limit={self.limit}"] if self.limit else []
        ours += [f"policy.path={self.policy}"] if self.policy else []
        ours += [f"prm.path={self.prm}"] if self.prm and cell.judged else []
        given = {get_key(word) for word in self.words}
        return [*(word for word in ours if get_key(word) not in given), *self.words]


@dataclass(frozen=True)
class CellRun:
    """A cell with a seed."""

    cell: Cell
    seed: int
    options: tuple[str, ...]
    folder: Path
    """Its run folder, there or not."""

    @property
    def name(self) -> str:
        """Name of the run in messages."""
        return f"{self.cell.name}, seed {self.seed}"


def runs(plan: Plan) -> list[CellRun]:
    """Return all runs in order: all cells with the first seed, then with the next one.

    A deterministic cell is run with the first seed only. Raises CodeToolError if a cell could not start.
    """
    made = []
    for place, seed in enumerate(plan.seeds):
        for cell in plan.cells:
            if cell.sampled or place == 0:
                options = plan.options(cell, seed)
                made.append(CellRun(cell, seed, tuple(options), folder_of(options)))
    return made


def folder_of(options: Sequence[str]) -> Path:
    """Return the run folder that `run.py` would use. Raises CodeToolError for invalid options."""
    overrides = [*options, "dry_run=true"]
    config = validate(compose_all(overrides)[0])
    with initialize_hydra(()):
        hydra = compose("config", overrides, return_hydra_config=True).hydra
    return run(config, get_chosen_options(hydra), Console(quiet=True)).folder
