"""Every engine gives the same result: workers in threads stand in for those on other machines."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import read_lines, read_metrics, strip_seconds
from in_process import evaluate_run, prepare_run, scripted
from scripted_policy import scripted_server
from worker_stand_ins import ThreadEngineConfig

from codetool.errors import UnreachableError
from codetool.stages.engine.ray_engine import require_address, select_environment


@pytest.fixture(scope="module")
def policy() -> Iterator[ChatServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture(scope="module")
def local(policy: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate_run(tmp_path_factory.mktemp("local"), *scripted(policy), "limit=4", "search.n=2").folder


def check_equal(folder: Path, other: Path) -> None:
    for name in ("results", "trees"):
        assert strip_seconds(read_lines(folder, name)) == strip_seconds(read_lines(other, name))
    assert sorted(map(str, read_lines(folder, "candidates"))) == sorted(map(str, read_lines(other, "candidates")))


@pytest.mark.parametrize("dies_after", [float("inf"), 3], ids=["undisturbed", "lost worker"])
def test_workers_give_what_this_process_gives(
    local: Path, policy: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_after: float
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")  # a worker removes it
    engine = ThreadEngineConfig(first_dies_after=dies_after)
    folder = evaluate_run(tmp_path, *scripted(policy), "limit=4", "search.n=2", engine=engine).folder
    assert folder.name == local.name  # the engine is no part of a result's identity
    check_equal(folder, local)
    asked, before = read_metrics(folder)["spent"]["policy"], read_metrics(local)["spent"]["policy"]
    if dies_after > 3:
        assert {name: asked[name] for name in ("requests", "tokens_out")} == {
            name: before[name] for name in ("requests", "tokens_out")
        }
        assert read_metrics(folder)["tools"] == read_metrics(local)["tools"]
        assert "tools: " in (folder / "log.txt").read_text()
    else:
        assert "was lost (the worker died)" in (folder / "log.txt").read_text()


def test_what_a_worker_needs_can_be_pickled(tmp_path: Path, policy: ChatServer) -> None:
    config, *_ = prepare_run(tmp_path, *scripted(policy))
    sent: Any = pickle.loads(pickle.dumps((config, config.benchmark.tasks()[:2])))
    assert sent == (config, config.benchmark.tasks()[:2])


def test_workers_get_the_keys_that_the_settings_name_and_nothing_of_wandb() -> None:
    environment = {
        "MY_KEY": "k" * 20, "WANDB_API_KEY": "w" * 20, "https_proxy": "http://p:1", "HOME": "/r", "HF_TOKEN": "h" * 9,
    }  # fmt: skip
    settings = {"policy": {"key_env": "MY_KEY"}, "logger": {"wandb": {}}}
    assert set(select_environment(settings, environment)) == {"MY_KEY", "https_proxy", "HF_TOKEN"}


def test_an_address_without_a_cluster_is_one_message_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreachableError, match=r"engine.address=127.0.0.1:9: nothing answers there \(.*refused"):
        require_address("127.0.0.1:9")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    require_address("auto")  # Ray says that there is none
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9\n")  # of a cluster that has died
    with pytest.raises(UnreachableError, match=r"engine.address=auto \(127.0.0.1:9\): nothing answers there"):
        require_address("auto")
