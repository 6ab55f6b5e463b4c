"""What every benchmark in conf/benchmark promises, found by the files there."""

from pathlib import Path

import pytest
import restbench_stand_in
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import DictConfig

from codetool.interfaces import Benchmark

CONF = Path(__file__).parents[2] / "conf"
NAMES = sorted(file.stem for file in (CONF / "benchmark").glob("*.yaml"))
SHIPPED = {"tmdb_verified"}
STAND_IN = "tmdb with a stand-in's files"
CASES = [pytest.param(name, marks=() if name in SHIPPED else pytest.mark.data) for name in NAMES] + [STAND_IN]


@pytest.fixture(params=CASES, scope="module")
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        if request.param != STAND_IN:
            return compose(overrides=[f"+benchmark={request.param}", "+tools={}"])
        folder = tmp_path_factory.mktemp("data")
        restbench_stand_in.write(folder)
        return compose(overrides=["+benchmark=tmdb", f"benchmark.folder={folder}", "+tools={}"])


@pytest.fixture(scope="module")
def benchmark(config):
    return instantiate(config.benchmark)


@pytest.fixture(scope="module")
def tasks(benchmark):
    return benchmark.tasks()


def test_it_is_a_benchmark(benchmark):
    assert isinstance(benchmark, Benchmark) and benchmark.max_observation_chars > 0


def test_ids_are_unique_and_queries_not_empty(tasks):
    assert len({task.id for task in tasks}) == len(tasks) > 0
    assert all(task.query and task.query == task.query.strip() for task in tasks)


def test_every_gold_endpoint_is_offered(tasks):
    for task in tasks:
        assert set(task.gold) <= {tool.endpoint for tool in task.tools}, task.id


def test_tools_have_unique_names_and_servers(tasks):
    for task in tasks:
        assert len({tool.name for tool in task.tools}) == len(task.tools) > 0
        assert all(tool.server.startswith("http") and not tool.server.endswith("/") for tool in task.tools)


def test_no_answer_is_never_right(benchmark, tasks):
    assert not any(benchmark.check(task, None) for task in tasks)
    assert not any(benchmark.check(task, "") for task in tasks)


def test_preambles_run(tasks):
    for preamble in {task.preamble for task in tasks}:
        exec(preamble, {})


def test_tasks_and_checksum_stay_the_same(benchmark, tasks, config):
    assert instantiate(config.benchmark).tasks() == tasks
    assert benchmark.checksum() == instantiate(config.benchmark).checksum()
    assert len(bytes.fromhex(benchmark.checksum())) == 32


@pytest.mark.parametrize("name", ["tmdb", "tmdb_verified"])
def test_the_film_benchmarks_choose_the_replica(name):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(config_name="config", overrides=[f"benchmark={name}"])
    assert config.tools.replica._target_ == "codetool.tmdb.replica.TMDBReplica"
    assert instantiate(config.tools.replica).as_of.isoformat() == "2024-06-01"
