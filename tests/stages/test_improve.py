"""stage=improve: rounds of collecting, training and evaluating, their resume, and when they end."""

from __future__ import annotations

import csv
import io
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from rich.console import Console
from trainable_stand_in import SKILLS_VARIABLE
from warm_process import ROOT, WarmProcess, run_warm

from codetool.config.compose_run import compose_run
from codetool.config.invocation import invoke
from codetool.config.stage_chain import gather_prefixed
from codetool.errors import ConfigError
from codetool.stages.improve import round_metrics, rounds
from codetool.stages.improve.improve import improve
from codetool.stages.improve.improve_job import select_dev_tasks, shuffle_tasks
from codetool.stages.improve.objective import list_objective_words
from codetool.stages.improve.part_words import Models, begin_with, distribute_words, use_models
from codetool.stages.improve.round_display import build_rounds_table
from codetool.stages.improve.rounds import find_best, should_stop
from codetool.stages.run_outcome import RunOutcome
from codetool.types import Answer, Task


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_models.save("llama", folder)
    return folder


def list_words(model: Path, outputs: Path, *words: str) -> list[str]:
    """The words of a command whose policy is scripted and trains a tiny model."""
    policy = [
        "policy=qwen7b",
        "policy_prompt@policy.prompt=compact",
        "policy._target_=trainable_stand_in.TrainableStandIn",
        f"policy.model={model}",
    ]
    searches = ["prm=none", "collect:search.n=2", "collect:search.depth=3", "evaluate:search=chain"]
    training = ["train.threads=1", "tuning.base_dtype=float32", "trainer.precision=32-true", "trainer.max_epochs=1"]
    sizes = ["improve.rounds=2", "improve.tasks=3", "improve.dev_tasks=4"]
    return ["stage=improve", *policy, *searches, *training, *sizes, "logger=none", f"outputs={outputs}", *words]


def run_improve(words: list[str], **cell: Any) -> tuple[RunOutcome, str]:
    """The outcome of a command, and what it said while it ran."""
    console = Console(file=io.StringIO(), width=200)
    with invoke(gather_prefixed(words)) as (config, choices):
        outcome = improve(config, choices, console, **cell)
    assert isinstance(console.file, io.StringIO)
    return outcome, console.file.getvalue()


def read_rounds(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def test_two_rounds_run_to_the_end_keep_the_best_and_resume_where_they_were_stopped(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(SKILLS_VARIABLE, "60,90,90")
    words = list_words(model, tmp_path / "outputs")
    stages, load_stage = list[str](), rounds.load_stage

    def load_and_stop(name: str) -> Any:
        stages.append(name)
        if stages == ["evaluate", "collect", "train"]:
            raise KeyboardInterrupt
        return load_stage(name)

    monkeypatch.setattr(rounds, "load_stage", load_and_stop)
    with pytest.raises(KeyboardInterrupt):
        run_improve(words)
    outcome, said = run_improve(words)
    assert stages[3:] == ["collect", "train", "evaluate"] * 2  # round 0 is not evaluated again
    records = read_rounds(outcome.folder)
    success = [record["evaluation"]["success"]["value"] for record in records]
    assert [record["round"] for record in records] == [0, 1, 2] and success[1] > success[0]
    best = 1 if success[1] >= success[2] else 2
    adapter = outcome.folder / records[best]["models"]["policy"]
    assert (adapter / "adapter_model.safetensors").is_file()
    printed = capsys.readouterr().out
    assert f"best: round {best}" in printed and f"policy.path={adapter}" in printed and "against round 0" in printed
    assert f"policy.path={adapter}" in outcome.usage and outcome.metrics is not None
    assert outcome.metrics["metrics"]["success"] == records[best]["evaluation"]["success"]
    assert "--- round 1 of 2: train, policy on 1 folder (finished already: collect)" in said
    assert "--- round 1 of 2: collect" not in said and "round 2: success on dev" in said
    assert said.count("finished already: ") == 1 + said.count("finished already: 0")
    assert (outcome.folder / "success.svg").is_file()
    drawn = [json.loads((outcome.folder / f"round-{k}" / "tasks.json").read_text()) for k in (1, 2)]
    assert len({*drawn[0], *drawn[1]}) == 6  # no task twice
    trained = json.loads(next(outcome.folder.glob("round-2/train/*/provenance.json")).read_text())
    assert "tuning.init_adapter" in trained["checksums"]  # of round 1

    stages.clear()
    again, said = run_improve(words)
    assert stages == [] and again.folder == outcome.folder and "finished already: 2" in said
    assert read_rounds(outcome.folder) == records


@pytest.mark.parametrize(
    ("successes", "rounds_left", "patience", "reason", "best"),
    [
        ([0.5], 3, 2, None, 0),
        ([0.5, 0.5], 3, 2, None, 0),
        ([0.5, 0.5, 0.4], 3, 2, "has not risen for 2 rounds", 0),
        ([0.5, 0.6, 0.6], 3, 2, None, 1),
        ([0.5, 0.6, 0.6, 0.7], 3, 1, "all 3 rounds are done", 3),
        ([0.5, 0.6, 0.5], 9, 1, "improve.patience=1", 1),
        ([0.5, 0.4], 1, 2, "the one round is done", 0),
        ([], 3, 1, None, None),
    ],
)
def test_rounds_end_when_success_no_longer_rises_and_the_earliest_best_is_kept(
    successes: list[float], rounds_left: int, patience: int, reason: str | None, best: int | None
) -> None:
    records = [{"round": number, "evaluation": {"success": {"value": value}}} for number, value in enumerate(successes)]
    said = should_stop(records, rounds_left, patience)
    assert said is None if reason is None else reason in str(said)
    if best is not None:
        assert find_best(records)["round"] == best


def test_a_round_without_anything_to_learn_leaves_the_policy_and_counts_as_no_rise(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SKILLS_VARIABLE, "0")
    outcome, said = run_improve(list_words(model, tmp_path, "improve.patience=1"))
    first, second = read_rounds(outcome.folder)
    assert "no transcripts to train the policy on; it stays as it is" in said
    assert second["models"] == {} and second["evaluation"] == first["evaluation"] and "training" not in second
    assert second["collection"]["groups_with_spread"] == 0 and second["difference"]["value"] == 0


def test_settings_go_to_the_parts_that_read_them_and_a_prefix_names_one() -> None:
    words = gather_prefixed(
        [
            "stage=improve", "seed=3", "search.n=4", "prm=smollm2", "optimizer.lr=1e-4", "collect:search.depth=2",
            "prm.threads=2",
            "train_prm:optimizer.lr=1e-5", "train:trainer.max_epochs=2", "evaluate:search=chain", "outputs=o",
        ]
    )  # fmt: skip
    assert words[-1].startswith("improve.parts=[") and not any(word.startswith("collect:") for word in words)
    settings = compose_run(*words).improve
    parts = distribute_words(settings, words, [])
    assert parts.collect == ["stage=collect", "benchmark.split=train", "seed=3", "search.n=4", "search.depth=2"]
    common = ["seed=3", "prm=smollm2", "optimizer.lr=1e-4", "prm.threads=2"]
    assert parts.train[1:] == [*common, "trainer.max_epochs=2"]
    assert parts.train_prm[1:] == [*common, "optimizer.lr=1e-5"]
    own = ["seed=3", "prm=smollm2", "prm.threads=2", "search=chain"]  # not search.n, a setting of another search
    assert parts.evaluate[1:] == ["benchmark.split=dev", *own]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("improve.rounds=0", "improve.rounds=0: should be greater than 0"),
        ("improve.prm=train", "improve.prm=train: train.target=prm: prm= names no model that can be trained"),
        ("improve.objective=ppo", "improve.objective='ppo': should be"),
        ("improve.reward.errors=0.1", "improve.objective=sft learns from checked answers alone"),
        ("objective=dpo", "choose it with improve.objective"),
        ("limit=3", "limit=3: stage=improve sets it"),
        ("collect:ids=x.json", "ids=x.json: stage=improve sets it"),
        ("evalute:search=chain", "'evalute' is no part of a round"),
        ("improve.parts=[foo]", "improve.parts=[foo]: settings of parts have prefixes here. Write these so too: coll"),
        (
            "train.loss=pairs",
            "train.loss=pairs: only train.target=prm reads it, and not policy. improve.prm=train",
        ),
        ("train:train.labels=hard", "train:train.labels=hard: only train.target=prm reads it, and not policy."),
        (
            "train_prm:optimizer.lr=1e-5",
            "train_prm:optimizer.lr=1e-5: no PRM is trained. improve.prm=train trains",
        ),
        ("collect:search.widht=2", "collect: search.widht=2: no such option"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_anything_runs(
    model: Path, tmp_path: Path, word: str, said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        run_improve(list_words(model, tmp_path / "outputs", word))
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "outputs").exists()


def test_a_part_of_a_round_is_named_before_its_setting() -> None:
    with pytest.raises(ConfigError, match="'foo:a=1' is no setting of a part. Write it without improve.parts"):
        compose_run("stage=improve", "improve.parts=['foo:a=1']")
    with pytest.raises(ConfigError, match="'collect:a' is no setting of a part"):
        compose_run("stage=improve", "improve.parts=['collect:a']")


def test_each_split_must_have_enough_tasks_and_no_task_is_trained_and_evaluated_on() -> None:
    tasks = [Task(f"t{number}", "", (), answer=Answer("text", "x")) for number in range(10)]
    settings = compose_run("stage=improve", "improve.rounds=2", "improve.tasks=3", "improve.dev_tasks=4").improve
    dev_tasks = select_dev_tasks(settings, tasks)
    drawn = shuffle_tasks([task.id for task in tasks], dev_tasks, settings, 0)
    assert sorted(drawn) == [f"t{number}" for number in range(4, 10)] != drawn
    assert drawn != shuffle_tasks([task.id for task in tasks], dev_tasks, settings, 1)
    with pytest.raises(ConfigError, match=r"with improve\.rounds=2 that is 6 tasks, and benchmark\.split=train has 5"):
        shuffle_tasks([task.id for task in tasks[:9]], dev_tasks, settings, 0)
    with pytest.raises(ConfigError, match=r"improve\.dev_tasks=4: improve\.dev_split=dev has 3 tasks"):
        select_dev_tasks(settings, tasks[:3])
    with pytest.raises(ConfigError, match="none of its tasks has an answer to check"):
        select_dev_tasks(settings, [replace(task, answer=None) for task in tasks])


@pytest.mark.parametrize(
    "policy",
    [
        ["policy=openai", "policy.model=m", "policy.base_url=http://127.0.0.1:1/v1"],
        ["policy=qwen7b", "policy.backend=endpoint", "policy.base_url=http://127.0.0.1:1/v1"],
    ],
)
def test_a_policy_whose_weights_are_elsewhere_is_refused(tmp_path: Path, policy: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"names no model that can be trained|serves weights of its own"):
        run_improve(["stage=improve", *policy, f"outputs={tmp_path}", "logger=none"])


def test_a_dry_run_prints_rounds_tasks_and_estimates_and_writes_nothing(model: Path, tmp_path: Path) -> None:
    _, said = run_improve(list_words(model, tmp_path / "outputs", "dry_run=true"))
    assert "rounds: at most 2, finished already: 0" in said and "tasks: 3 of 700 train tasks a round" in said
    assert "--- collect, trees of a round, 2 times:" in said and "--- evaluate, an evaluation on dev, 3 times:" in said
    assert said.count("expected for") == 2 and not (tmp_path / "outputs").exists()


def test_models_of_a_round_take_the_place_of_those_before(tmp_path: Path) -> None:
    adapter, whole = tmp_path / "adapter", tmp_path / "whole"
    adapter.mkdir()
    whole.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    words = ["stage=train", "policy.path=old"]
    assert begin_with(words, "policy", None, None, "previous") == ["stage=train", "policy.path=null"]
    assert begin_with(words, "policy", adapter, None, "base") == ["stage=train", "policy.path=null"]
    continued = ["stage=train", "policy.path=null", f'tuning.init_adapter="{adapter}"']
    assert begin_with(words, "policy", None, adapter, "previous") == continued
    assert begin_with(words, "policy", adapter, None, "previous") == continued
    assert begin_with(words, "policy", None, whole, "previous") == ["stage=train", f'policy.path="{whole}"']
    assert begin_with(words, "policy", whole, adapter, "base") == ["stage=train", f'policy.path="{whole}"']
    embedded = begin_with(words, "prm", Path("embedded"), None, "previous")[-1]
    assert embedded.startswith("tuning.init_adapter=") and embedded.endswith('smollm2_prm"')

    newest = Models(policy=adapter, prm=whole)
    used = [f'policy.path="{adapter}"', f'prm.path="{whole}"']
    assert use_models(["stage=evaluate", "prm.path=old"], newest, is_guided=True)[1:] == used
    assert use_models(["stage=collect"], newest, is_guided=False)[1:] == used[:1]  # grown without a PRM


def test_an_objective_and_the_terms_of_the_reward_become_settings_of_the_training() -> None:
    def list_for(*words: str) -> list[str]:
        return list_objective_words(compose_run("stage=improve", *words).improve)

    assert list_for() == ["objective=sft"] and list_for("improve.objective=dpo") == ["objective=dpo"]
    grpo = ["improve.objective=grpo", "improve.reward.answer=2", "improve.reward.errors=0.5"]
    assert list_for(*grpo) == ["objective=grpo", "objective.error_penalty=0.25"]
    assert list_for(*grpo, "improve.reward.length=0.1")[-1] == "objective.length_penalty=0.05"
    compose_run("stage=train", "train.target=policy", *list_for(*grpo, "improve.reward.length=0.1"))


def test_kl_and_entropy_of_a_training_are_those_of_its_last_updates(tmp_path: Path) -> None:
    lines = [{"step": step, "loss": 1.0, "kl": step / 10, "entropy": 2.0} for step in range(1, 21)]
    (tmp_path / "losses.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "metrics.json").write_text('{"loss": 0.5, "updates": 20}')
    measured = round_metrics.measure_training(tmp_path)
    assert measured == {"loss": 0.5, "updates": 20, "kl": pytest.approx(1.95), "entropy": 2.0}


def test_a_collection_is_measured_by_its_groups_and_the_certainty_of_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = {"task_id": "a", "multiplicity": 1, "soft": 0.5}
    lines = [
        example | {"group": "0", "soft": 1.0}, example | {"group": "0", "soft": 0.0},  # differ
        example | {"group": "1"}, example | {"group": "1"},  # do not
        example | {"group": "2", "multiplicity": 3},  # three candidates, one program
        example | {"group": "3"},  # one candidate is no group
        example | {"group": "0", "task_id": "b"},
    ]  # fmt: skip
    (tmp_path / "process.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (tmp_path / "summary.json").write_text('{"solved_trees": 1, "transcripts": 2, "examples": 7}')
    (tmp_path / "metrics.json").write_text('{"metrics": {"duplicates": {"value": 0.25}}}')
    measured = round_metrics.measure_collection(tmp_path, [])
    assert (measured["groups"], measured["groups_with_spread"], measured["duplicates"]) == (3, 1 / 3, 0.25)
    assert measured["log_probability"] is None and measured["entropy"] is None and measured["solved"] == 1
    drawn = [{"log_probability": value, "tokens_out": 4} for value in (-3.0, -1.0, None)]
    monkeypatch.setattr(round_metrics.TreeFile, "read_trees", lambda file, task_ids: [{"nodes": drawn}])
    told = round_metrics.measure_collection(tmp_path, ["a"])
    assert (told["log_probability"], told["entropy"]) == (-0.5, 0.5)  # nats a token
    flat = round_metrics.flatten_metrics({"round": 1, "collection": measured, "models": {"policy": "x"}})
    assert flat["collection/groups_with_spread"] == 1 / 3 and "collection/log_probability" not in flat


@pytest.mark.slow
def test_a_loop_killed_in_each_of_its_parts_comes_to_the_same_rounds(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "support"))
    monkeypatch.setenv(SKILLS_VARIABLE, "60,80,90")
    search = ["prm=qwen7b", f"prm.model={model}", "prm.labels=[yes,no]", "evaluate:prm=none", "improve.prm=train"]
    sizes = ["train.checkpoint_every_n_steps=1", "trainer.max_epochs=2", "improve.tasks=4"]

    def list_command(outputs: Path) -> list[str]:
        return [sys.executable, "run.py", *list_words(model, outputs, *search, *sizes)]

    whole = run_warm(list_command(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    [expected] = (tmp_path / "whole" / "improve").iterdir()
    folder = tmp_path / "killed" / "improve" / expected.name
    for begun in (
        "round-0/evaluate/*/results.jsonl", "round-1/collect/*/results.jsonl", "round-1/train/prm-*/losses.jsonl",
        "round-1/train/policy-*/losses.jsonl", "round-1/evaluate/*/results.jsonl", "round-2/collect/*/candidates.jsonl",
    ):  # fmt: skip
        process = WarmProcess(list_command(tmp_path / "killed"))
        while process.poll() is None and not any(file.stat().st_size for file in folder.glob(begun)):
            time.sleep(0.005)
        assert process.poll() is None, f"it ended before {begun}: {process.communicate()[1][-2000:]}"
        process.kill()
        process.communicate()
    resumed = run_warm(list_command(tmp_path / "killed"))
    assert resumed.returncode == 0, resumed.stderr
    assert read_rounds(folder) == read_rounds(expected)
    assert [record["round"] for record in read_rounds(folder)] == [0, 1, 2]
    assert (folder / "success.svg").read_bytes() == (expected / "success.svg").read_bytes()


@pytest.mark.slow
def test_a_sweep_compares_the_best_rounds_of_its_cells(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "support"))
    monkeypatch.setenv(SKILLS_VARIABLE, "60,90")
    words = list_words(model, tmp_path, "improve.rounds=1", "improve.tasks=10", "improve.objective=sft,dpo,grpo")
    swept = run_warm([sys.executable, "run.py", "-m", *words])
    assert swept.returncode == 0, swept.stderr
    [table] = (tmp_path / "sweeps").glob("*/cells.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["improve.objective"] for row in rows] == ["sft", "dpo", "grpo"]
    folders = sorted((tmp_path / "improve").iterdir())
    assert len(folders) == 3
    trained = [read_rounds(folder)[1]["training"] for folder in folders]
    assert all(each["updates"] for each in trained) and sum("kl" in each for each in trained) == 2  # dpo and grpo
    best = [json.loads((folder / "metrics.json").read_text())["metrics"]["success"]["value"] for folder in folders]
    assert sorted(float(row["success"]) for row in rows) == sorted(best)


def test_the_table_writes_huge_and_tiny_divergences_as_powers_of_ten() -> None:
    records = [
        {"round": number, "evaluation": {"success": {"value": 0.5}}, "training": {"kl": kl}}
        for number, kl in enumerate((10084558.6, 0.00004, 0.25, 0.0))
    ]
    table = build_rounds_table(records, 0)
    [cells] = [list(column.cells) for column in table.columns if column.header == "KL"]
    assert cells == ["1.0e+07", "4.0e-05", "0.250", "0.000"]
