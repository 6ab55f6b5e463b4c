"""Every option of `prm=` that needs no server, and the rule that all of them keep."""

import random
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from no_servers import NO_SERVERS

from codetool.interfaces import PRMOption
from codetool.prm.random import RandomPRM
from codetool.types import Execution, Node, Step, Task

CONF = Path(__file__).parents[2] / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "prm").glob("*.yaml"))
NEEDED = {"remote": ["prm.base_url=http://127.0.0.1:1", "prm.model=m"], "oracle": ["+benchmark=tmdb_verified"]}
TASK = Task(id="t", query="who?", tools=())
STEPS = [Step(text=f"step {place}", code="", finished=False) for place in range(20)]


def node(text):
    return Node(id="1", parent=Node(id="0"), depth=1, step=Step(text, "", False), execution=Execution("ok", "seen"))


def option(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose(overrides=["+seed=3", f"+prm={name}", *NEEDED.get(name, [])]).prm, _convert_="all")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_composes_and_is_a_prm_option(name):
    assert isinstance(option(name), PRMOption)


async def test_none_is_the_absent_prm():
    async with option("none").open(NO_SERVERS) as prm:
        assert prm is None


async def test_random_takes_the_seed_of_the_run():
    assert option("random").seed == 3


async def test_random_is_one_probability_for_each_candidate():
    async with option("random").open(NO_SERVERS) as prm:
        scores = await prm.score(TASK, [], STEPS)
    assert len(set(scores.values)) == len(STEPS)
    assert all(0 <= value < 1 for value in scores.values)
    assert scores.tokens == 0


async def test_random_does_not_depend_on_company_or_order():
    prm, shuffled = RandomPRM(seed=0), random.Random(0).sample(STEPS, len(STEPS))
    together = dict(zip(STEPS, (await prm.score(TASK, [node("a")], STEPS)).values, strict=True))
    alone = {step: (await prm.score(TASK, [node("a")], [step])).values[0] for step in shuffled}
    assert alone == together


async def test_random_differs_by_seed_task_path_and_step():
    places = [
        (seed, task, path, step)
        for seed in (0, 1)
        for task in ("a", "b")
        for path in ([], [node("x")], [node("x"), node("y")])
        for step in STEPS[:2]
    ]
    values = {
        (await RandomPRM(seed=seed).score(Task(task, "", ()), path, [step])).values for seed, task, path, step in places
    }
    assert len(values) == len(places)
