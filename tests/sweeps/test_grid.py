"""What a multirun's words come to, before any cell runs."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import initialize_config_dir

from codetool.config.overrides import CONF
from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.runs.identity import find_marked_settings
from codetool.sweeps.grid import expand_grid, name_sweep
from codetool.sweeps.sweep import run_sweep


@pytest.fixture
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.mark.usefixtures("hydra")
def test_cells_are_every_combination_the_last_word_varying_fastest() -> None:
    grid = expand_grid(["search=beam", "search.width=1,2", "search.n=range(2,4)", "hydra/launcher=joblib"])
    assert [cell.label for cell in grid] == [
        "search.width=1 search.n=2",
        "search.width=1 search.n=3",
        "search.width=2 search.n=2",
        "search.width=2 search.n=3",
    ]
    assert grid[0].overrides == ("search=beam", "search.width=1", "search.n=2")  # the launcher is no cell's
    assert expand_grid(["hydra.searchpath=[a,b]", "limit=1"])[0].overrides == ("hydra.searchpath=[a,b]", "limit=1")


@pytest.mark.usefixtures("hydra")
def test_a_value_that_is_listed_twice_is_one_cell() -> None:
    assert [cell.label for cell in expand_grid(["search=greedy,beam,greedy"])] == ["search=greedy", "search=beam"]


@pytest.mark.usefixtures("hydra")
@pytest.mark.parametrize(
    ("word", "values"),
    [
        ("search=glob(b*)", ["beam", "best_of_n"]),
        ("search.n=choice(2,4)", ["2", "4"]),
        ("policy.base_url=http\\://a,http\\://b", ["http://a", "http://b"]),
        ("policy.source=[a,b],[c]", ["[a,b]", "[c]"]),
        ("limit=null,3", ["null", "3"]),
    ],
)
def test_what_varies_is_shown_as_it_was_meant(word: str, values: list[str]) -> None:
    name = word.split("=")[0]
    assert [cell.swept for cell in expand_grid([word])] == [{name: value} for value in values]


@pytest.mark.usefixtures("hydra")
def test_a_wider_grid_in_another_order_is_the_same_sweep_and_another_question_is_not() -> None:
    marks = find_marked_settings(dict.fromkeys(("limit", "concurrency", "dry_run", "outputs")), RunConfig)
    name = name_sweep(["search=beam", "search.width=1,2", "limit=5"], None, marks)
    assert name.startswith("beam-by-width-")
    assert name_sweep(["search.width=1,2,3", "search=beam", "concurrency=4"], None, marks) == name
    assert name_sweep(["search=beam", "search.width=1,2", "seed=1"], None, marks) != name
    assert name_sweep(["search=beam", "search.width=1,2", "search.n=1,2"], None, marks) != name
    assert name_sweep(["search.width=1,2"], "paper", marks) == "paper"
    measured = ["stage=evaluate_prm", "prm=random,oracle"]
    names = [name_sweep([*measured, f"evaluate_prm.runs=[{run}]"], None, marks) for run in "ab"]
    assert names[0] != names[1]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["search=beam,chain", "search.width=1,2"], "search.width=1: no such option. search has: depth"),
        (["search.width=range(0,3)"], "search.width=0: should be greater than 0"),
        (["search.width=1,2", "search.n=choice(1,0)"], "search.n=0: should be greater than 0"),
        (["search=glob(zz*)"], "search=glob(zz*): no value fits"),
        (["search.n=interval(1,2)"], "search.n=interval(1,2): an interval has no list of values"),
        (["fresh=true,false"], "fresh cannot vary within a sweep"),
        (["hydra/launcher=basic,joblib"], "hydra/launcher cannot vary within a sweep"),
        (["hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0"),
        (["stage=serve_tools"], "-m runs stage=collect, train, evaluate_prm, evaluate, judge, improve only"),
        (["stage=evaluate,collect"], "Stages that follow each other are a list, stage=[collect,train]"),
        (["hydra/sweeper=basic"], "hydra/sweeper=grid takes its place"),
        (["hydra/sweeper=bayes"], "hydra/sweeper has no option 'bayes'. Allowed: "),
        (["hydra/launcher=slurm"], "hydra/launcher has no option 'slurm'"),
        (["hydra.sweeper.params={search.width: '0,1'}"], "search.width=0: should be greater than 0"),
        (["hydra.sweeper.max_batch_size=-1"], "hydra.sweeper.max_batch_size=-1: should be a whole number above 0"),
        (["hydra.sweeper._target_=os.system"], "hydra.sweeper._target_=os.system: is no sweeper"),
    ],
)
def test_what_is_wrong_is_said(wrong: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        run_sweep([*wrong, f"outputs={tmp_path / 'outputs'}", "dry_run=true"])
    assert said in str(error.value)
    assert not (tmp_path / "outputs").exists()


def test_a_sweep_that_is_running_is_left_alone_and_a_dry_run_of_it_touches_nothing(tmp_path: Path) -> None:
    words = ["search.width=1,2", f"outputs={tmp_path}", "search=beam", "policy=replay", "policy.source=[nowhere]"]
    marks = find_marked_settings(dict.fromkeys(("limit", "concurrency", "dry_run", "outputs")), RunConfig)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        [name] = {name_sweep(words, None, marks), name_sweep([*words, "dry_run=true"], None, marks)}
    folder = tmp_path / "sweeps" / name
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("of the other")
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match=f"sweep {name} is running"):
            run_sweep(words)
        run_sweep([*words, "dry_run=true"])
    assert {path.name: path.read_text() for path in folder.iterdir()} == {".lock": "", "plan.json": "of the other"}
