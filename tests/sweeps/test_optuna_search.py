"""A search with Optuna over the cells of a sweep, whose function stands in for a stage."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from codetool.config.run_config import RunConfig
from codetool.errors import CodeToolError, ConfigError
from codetool.stages.run_outcome import RunOutcome
from codetool.sweeps.distributions import read_distribution
from codetool.sweeps.sweep import run_sweep

pytest.importorskip("optuna", reason="the extra optuna is not installed: pip install -e '.[optuna]'")

Reach = Callable[[Any], dict[str, float]]
RANGES = ("search.width=range(1,8)", "search.n=range(1,8)")


@pytest.fixture
def run_toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, list[tuple[int, int]]]]:
    """Runs a sweep whose cells reach what a function of their search says; returns the failures and the cells run."""

    def run(reach: Reach, *words: str) -> tuple[int, list[tuple[int, int]]]:
        ran: list[tuple[int, int]] = []

        def stage(config: RunConfig, *_: object, **__: object) -> RunOutcome:
            search: Any = config.search
            ran.append((search.width, search.n))
            metrics = {name: {"value": value, "low": None, "high": None} for name, value in reach(search).items()}
            return RunOutcome(tmp_path / "evaluate", metrics={"metrics": metrics})

        monkeypatch.setattr("codetool.stages.run_overrides.load_stage", lambda _: stage)
        failed = run_sweep(["hydra/sweeper=optuna", "search=beam", f"outputs={tmp_path}", "figures=[]", *words])
        return failed, ran

    return run


def read_results(outputs: Path) -> dict[str, Any]:
    [file] = outputs.glob("sweeps/*/optimization_results.yaml")
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


def peak(search: Any) -> dict[str, float]:
    return {"success": 1 - ((search.width - 5) ** 2 + (search.n - 3) ** 2) / 100, "tokens_out": float(search.n)}


def test_it_finds_the_best_cell_and_draws_the_same_again(run_toy: Any, tmp_path: Path) -> None:
    failed, ran = run_toy(peak, *RANGES, "hydra.sweeper.n_trials=6")
    results = read_results(tmp_path)
    assert failed == 0 and len(ran) == len(set(ran)) == 6
    assert results["best_value"] == max(peak(type("S", (), {"width": w, "n": n}))["success"] for w, n in ran) >= 0.9
    [table] = tmp_path.glob("sweeps/optuna-*/cells.csv")
    assert len(list(csv.DictReader(table.read_text().splitlines()))) == len(ran)
    assert run_toy(peak, *RANGES, "hydra.sweeper.n_trials=6")[1] == ran


@pytest.mark.parametrize(
    ("override", "low", "high", "log"),
    [
        ("search.n=range(1,8)", 1, 7, False),  # the end of a range is no value, as in a grid
        ("search.n=range(1,8,3)", 1, 7, False),
        ("evaluate:search.n=int(interval(1,8))", 1, 8, False),
        ("optimizer.lr=tag(log,interval(1e-5,1e-3))", 1e-5, 1e-3, True),
        ("policy.temperature=range(0.5,1.0,0.25)", 0.5, 0.75, False),
    ],
)
def test_ranges_and_intervals_have_hydras_meaning(override: str, low: float, high: float, log: bool) -> None:
    distribution: Any = read_distribution(override)
    assert (distribution.low, distribution.high, distribution.log) == (low, high, log)
    assert isinstance(distribution.low, type(low))


def test_a_loss_is_minimized_over_an_interval(run_toy: Any, tmp_path: Path) -> None:
    def loss(search: Any) -> dict[str, float]:
        return {"loss": abs(search.width - 2) + 0.5}

    words = ("search.width=int(interval(1,6))", "hydra.sweeper.objective=loss", "hydra.sweeper.n_trials=10")
    _, ran = run_toy(loss, *words)
    assert read_results(tmp_path) == {"name": "optuna", "best_params": {"search.width": 2}, "best_value": 0.5}
    assert {width for width, _ in ran} <= set(range(1, 7))


def test_several_objectives_give_the_cells_that_no_other_beats(run_toy: Any, tmp_path: Path) -> None:
    words = ("hydra.sweeper.objective=[success,tokens_out]", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")
    run_toy(peak, *RANGES, *words)
    values = [solution["values"] for solution in read_results(tmp_path)["solutions"]]
    assert len(values) > 1
    assert not any(a[0] >= b[0] and a[1] < b[1] for a in values for b in values)  # more success at fewer tokens


def test_a_cell_that_fails_is_named_and_stops_no_other(run_toy: Any, tmp_path: Path) -> None:
    def broken(search: Any) -> dict[str, float]:
        if search.width > 2:
            raise CodeToolError("too wide")
        return peak(search)

    failed, ran = run_toy(broken, "search.width=1,2,3", "hydra.sweeper.n_trials=4")  # there are three
    assert (failed, sorted(ran)) == (1, [(1, 2), (2, 2), (3, 2)])
    assert read_results(tmp_path)["best_params"] == {"search.width": "2"}


def test_a_mistyped_objective_ends_the_search_after_its_first_cell(run_toy: Any) -> None:
    cells: list[dict[str, float]] = []

    def reach(search: Any) -> dict[str, float]:
        cells.append(peak(search))
        return cells[-1]

    with pytest.raises(ConfigError, match="no cell has all these metrics. The cells have: success"):
        run_toy(reach, *RANGES, "hydra.sweeper.objective=sucess", "hydra.sweeper.n_trials=5")
    assert len(cells) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["search.width=2"], "nothing to draw"),
        ([*RANGES, "hydra.sweeper.objective=[success,loss]", "hydra.sweeper.direction=maximize"], "for each objective"),
        ([*RANGES, "hydra.sweeper.n_jobs=0"], "hydra.sweeper.n_jobs=0: should be a whole number above 0"),
        (["search.width=range(0,4)"], "search.width=0: should be greater than 0"),
        (["search.n=interval(4,2)"], "is no interval"),
        ([*RANGES, "hydra.sweeper.sampler._target_=os.system"], "is no sampler of Optuna"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], said: str, run_toy: Any) -> None:
    with pytest.raises(ConfigError) as error:
        run_toy(peak, *words, "hydra.sweeper.n_trials=2")
    assert said in str(error.value)
