"""Chains of stages: what each of them gets from the command line and from the stages before it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_models
from chat_server import ChatServer
from command_line import read_lines, read_metrics
from rich.console import Console

from codetool.config.config_sources import initialize_hydra
from codetool.config.stage_chain import parse_chain, select_overrides
from codetool.errors import CodeToolError, ConfigError
from codetool.stages.run_outcome import RunOutcome
from codetool.stages.run_overrides import check_chain, link_outcomes, run_overrides

CHAIN = "stage=[collect,train,evaluate]"
STAGES = ["collect", "train", "evaluate"]


def run_chain(*words: str) -> dict[str, RunOutcome]:
    return run_overrides(words, [], Console(file=io.StringIO()))


def test_an_override_goes_to_the_stages_that_read_it_and_a_prefix_names_one() -> None:
    words = [
        CHAIN,
        "search.n=3",
        "train.val_fraction=0.5",
        "prm=smollm2",
        "evaluate:search=beam",
        "tuning=lora",
        "limit=2",
    ]
    with initialize_hydra():
        assert select_overrides([*words, "prm_prompt@collect.prompt=compact"], STAGES) == {
            "collect": ["stage=collect", "search.n=3", "limit=2", "prm_prompt@collect.prompt=compact"],
            "train": ["stage=train", "train.val_fraction=0.5", "prm=smollm2", "tuning=lora", "limit=2"],
            "evaluate": ["stage=evaluate", "search.n=3", "prm=smollm2", "search=beam", "limit=2"],
        }
        assert "prm=oracle" in select_overrides([CHAIN, "collect:prm=oracle"], STAGES)["collect"]
        assert "prm=smollm2" in select_overrides([*words, "train.target=policy"], STAGES)["collect"]


def test_a_stage_uses_what_earlier_ones_made_unless_the_user_names_something_else() -> None:
    made = {
        "collect": RunOutcome(Path("out/collect/a b")),
        "train": RunOutcome(Path("out/train/c"), usage=["prm=smollm2", "prm.path=out/train/c/adapter"]),
    }
    trained = link_outcomes("train", ["stage=train"], [CHAIN], {"collect": made["collect"]})
    assert trained == ["stage=train", 'train.files=["out/collect/a b"]']
    own = ["stage=train", "train.files=[mine]"]
    assert link_outcomes("train", own, [CHAIN, "train.files=[mine]"], {"collect": made["collect"]}) == own
    words = link_outcomes("evaluate", ["stage=evaluate", "prm=smollm2", "limit=1"], [CHAIN], made)
    assert words == ["stage=evaluate", "limit=1", "prm=smollm2", "prm.path=out/train/c/adapter"]
    oracle = ["stage=evaluate", "prm=oracle"]
    assert link_outcomes("evaluate", oracle, [CHAIN, "evaluate:prm=oracle"], made) == oracle


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage=[collect,trian]"], "'trian' is no stage of a chain. Allowed: collect, train"),
        (["stage=[collect]"], "wants two stages or more"),
        (["stage=[train,train]"], "each once"),
        (["evaluate:search=beam"], "no chain is chosen"),
        ([CHAIN, "evalute:search=beam"], "'evalute' is no stage of a chain. Allowed: collect, train"),
        (["evalute:search=beam"], "Did you mean evaluate?"),
        ([CHAIN, "judge:seed=1"], "stage=judge is no part of the chain"),
        ([CHAIN, "serve_prm.port=1"], "only stage=serve_prm reads it, and not collect, train, evaluate"),
        (["stage=[train,judge]", "search.n=2"], "evaluate and improve read it, and not train, judge"),
        (
            [CHAIN, "train.val_fraction=2", "evaluate:search.width=0"],
            "stage=train: train.val_fraction=2: should be less than 1",
        ),
        (["stage=[evaluate,judge]"], "stage=judge: judge.model is not set"),
        (
            ["stage=[collect,train]", "prm=none"],
            "stage=train: train.target=prm: prm= names no model",
        ),
        ([CHAIN, "serach=beam"], "Did you mean search?"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_chain(words)
        check_chain(words, [])
    assert said in str(error.value)


@pytest.fixture
def chain_words(tmp_path: Path, policy: ChatServer) -> Callable[..., list[str]]:
    """The words of a chain of a scripted policy and a tiny PRM."""

    def make(*words: str) -> list[str]:
        endpoint = [
            "policy=openai",
            "policy.model=m",
            f"policy.base_url={policy.url}",
            "benchmark.split=dev",
            "limit=2",
        ]
        return [*endpoint, "logger=none", f"outputs={tmp_path / 'outputs'}", *words]

    return make


@pytest.mark.slow
def test_a_chain_trains_on_what_it_collected_and_goes_on_where_it_was_stopped(
    tmp_path: Path, chain_words: Callable[..., list[str]], policy: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_models.save("llama", tmp_path / "model")
    training = ("prm=qwen7b", f"prm.model={tmp_path / 'model'}", "train.threads=1", "trainer.precision=32-true")
    words = chain_words("stage=[collect,train,evaluate_prm]", "collect:search.n=2", *training, "train.val_fraction=0.5")
    with monkeypatch.context() as stopped:
        stopped.setattr("codetool.stages.train.train._train", _raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run_chain(*words)
    asked = len(policy.requests)
    outcomes = run_chain(*words)
    assert len(policy.requests) == asked  # nothing is collected again
    collected, trained, measured = (outcomes[stage].folder for stage in ("collect", "train", "evaluate_prm"))
    assert f"train.files=[{str(collected)!r}" in (trained / "provenance.json").read_text().replace('\\"', "'")
    assert (trained / "adapter" / "adapter_model.safetensors").is_file()
    assert str(trained / "adapter") in (measured / "config.yaml").read_text()
    assert len(read_lines(measured, "scores")) == len(read_lines(collected, "process"))
    assert read_metrics(measured)["metrics"]


def _raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_no_stage_goes_on_from_one_with_failed_tasks(
    chain_words: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def load(name: str) -> Callable[..., RunOutcome]:
        ran.append(name)
        return lambda *_, **__: RunOutcome(Path("out"), failed=3)

    monkeypatch.setattr("codetool.stages.run_overrides.load_stage", load)
    with pytest.raises(CodeToolError, match="stage=collect: 3 tasks failed internally, so the stages after it do not"):
        run_chain(*chain_words(CHAIN))
    assert ran == ["collect"]


def test_a_dry_run_of_a_chain_says_what_is_not_there_yet(chain_words: Callable[..., list[str]], tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=300)
    run_overrides(chain_words(CHAIN, "dry_run=true"), [], console)
    assert isinstance(console.file, io.StringIO)
    assert "stage=train: waits for stage=collect: " in console.file.getvalue()
    assert not (tmp_path / "outputs").exists()
