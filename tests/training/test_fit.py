"""Runs of tiny models: what resuming, accumulation, precision and sharing leave as it is."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from training_jobs import config, job, lines, policy_steps_file, process_file, transcripts_file

from codetool.errors import CodeToolError
from codetool.training import fit, run_training
from codetool.training.checkpoint_files import load_trained_weights
from codetool.training.initial_log_probabilities import INITIAL_FILE
from codetool.training.train_job import TrainJob
from codetool.training.trainer import build_trainer


@dataclass
class Watch:
    """Looks on, and sends a signal once so many updates are done."""

    stop_after: int = 0
    signal: signal.Signals = signal.SIGINT
    seen: list[int] = field(default_factory=list)
    stops: int = 0

    def updated(self, line: Mapping[str, float]) -> None:
        self.seen.append(int(line["step"]))
        if line["step"] == self.stop_after:
            os.kill(os.getpid(), self.signal)

    def validated(self, line: Mapping[str, float]) -> None:
        pass

    def stopping(self) -> None:
        self.stops += 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tiny_models.save("llama", folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return process_file(tmp_path_factory.mktemp("data") / "process.jsonl")


def ran(job: TrainJob, watch: Watch | None = None) -> list[float]:
    """The losses of a run."""
    run_training.run_training(job, watch or Watch(), None)
    return losses(job)


def updates(job: TrainJob) -> int:
    return job.data().count_updates(build_trainer(job.trainer))


def losses(job: TrainJob) -> list[float]:
    return [line["loss"] for line in lines(job.folder / "losses.jsonl")]


def validations(job: TrainJob) -> dict[int, float]:
    return {line["step"]: line["validation_loss"] for line in lines(job.folder / "validations.jsonl")}


@pytest.fixture(scope="module")
def words() -> tuple[str, ...]:
    return (
        "trainer.max_epochs=2",
        "tuning.dropout=0.1",
        "trainer.val_check_interval=0.5",
        "train.checkpoint_every_n_steps=2",
        "train.max_tokens_per_batch=150",
    )


@pytest.fixture(scope="module")
def whole(model: Path, data: Path, words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> TrainJob:
    """A run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    made: TrainJob = job(config(model, data, folder, *words), folder / "run")
    ran(made)
    return made


def test_a_training_on_pairs_of_siblings_learns_and_resumes(model: Path, data: Path, tmp_path: Path) -> None:
    words = ("train.loss=pairs", "trainer.accumulate_grad_batches=2", "optimizer.lr=2e-2", "trainer.max_epochs=3")
    undisturbed = job(config(model, data, tmp_path, *words), tmp_path / "undisturbed")
    expected = ran(undisturbed)
    assert expected[-1] < 0.9 * expected[0]
    assert all(0 < loss < 2 for loss in validations(undisturbed).values()) and validations(undisturbed)
    stopped = job(config(model, data, tmp_path, *words), tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        ran(stopped, Watch(2))
    assert ran(stopped) == pytest.approx(expected, abs=1e-6)


OBJECTIVES = {
    "dpo": ("objective=dpo", "objective.beta=1.0"),
    "grpo": ("objective=grpo", "objective.kl_weight=0.1"),
}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_on_steps_learns_and_resumes_with_equal_weights(
    model: Path, tmp_path: Path, objective: str
) -> None:
    data = policy_steps_file(tmp_path / "policy_steps.jsonl")
    words = ("train.target=policy", *OBJECTIVES[objective], "optimizer.lr=1e-2", "trainer.max_epochs=2",
             "tuning.dropout=0.1", "train.checkpoint_every_n_steps=1")  # fmt: skip
    undisturbed = job(config(model, data, tmp_path, *words), tmp_path / "undisturbed")
    expected = ran(undisturbed)
    assert objective != "dpo" or expected[-1] < expected[0] == pytest.approx(math.log(2), abs=0.1)
    metrics = {"dpo": {"reward_margin", "accuracy", "kl"}, "grpo": {"clip_share", "kl", "entropy", "groups_left_out"}}
    for name in ("losses", "validations"):
        assert all(metrics[objective] <= line.keys() for line in lines(undisturbed.folder / f"{name}.jsonl"))
    stopped = job(config(model, data, tmp_path, *words), tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        ran(stopped, Watch(2))
    (stopped.checkpoints / INITIAL_FILE).write_bytes(b"no numbers")  # of the initial policy: they are computed again
    assert ran(stopped) == expected
    before, after = (load_trained_weights(each.checkpoints / "last.ckpt") for each in (undisturbed, stopped))
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(("after", "number"), [(3, signal.SIGINT), (7, signal.SIGTERM)])
def test_a_signal_ends_it_after_the_update_and_it_goes_on_as_if_nothing_had_been(
    whole: TrainJob, model: Path, data: Path, words: tuple[str, ...], tmp_path: Path, after: int, number: signal.Signals
) -> None:
    made = job(config(model, data, tmp_path, *words), tmp_path / "run")
    watch = Watch(after, number)
    with pytest.raises(KeyboardInterrupt):
        ran(made, watch)
    assert watch.seen[-1] == after + 1 or watch.seen[-1] == after
    assert watch.stops == 1
    again = Watch()
    assert ran(made, again) == pytest.approx(losses(whole), abs=1e-6)
    assert again.seen[0] == watch.seen[-1] + 1
    assert validations(made) == pytest.approx(validations(whole), abs=1e-6)


def test_it_goes_on_from_the_end_of_an_epoch_into_a_longer_one(model: Path, data: Path, tmp_path: Path) -> None:
    settings = config(
        model, data, tmp_path, "trainer.max_epochs=3", "tuning.dropout=0.1", "train.max_tokens_per_batch=180"
    )
    made, undisturbed = (job(settings, tmp_path / name, seed=3) for name in ("run", "whole"))
    passes = [len(made.data().passes(epoch)) for epoch in range(3)]
    assert passes == [5, 6, 5], "the first epoch has to be the shorter one"
    for last in (5, 8, 11):  # two ends of epochs, and the middle of one that began after such an end
        watch = Watch(last - 1)
        with pytest.raises(KeyboardInterrupt):
            ran(made, watch)
        assert watch.seen[-1] == last
    assert ran(made) == pytest.approx(ran(undisturbed), abs=1e-6)
    assert validations(made) == pytest.approx(validations(undisturbed), abs=1e-6)


def test_a_run_that_has_left_out_updates_is_none_that_is_finished(
    model: Path, data: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    made = job(config(model, data, tmp_path, *words), tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        ran(made, Watch(3))
    state = torch.load(made.checkpoints / "last.ckpt", weights_only=False)
    progress = state["loops"]["fit_loop"]["epoch_progress"]["current"]
    progress["processed"] = progress["completed"] = 2  # as if both epochs were over
    torch.save(state, made.checkpoints / "last.ckpt")
    with pytest.raises(CodeToolError, match=rf"after 4 updates, where {updates(made)} were to be made.*fresh=true"):
        ran(made)


def test_a_signal_before_the_first_update_ends_it_without_more_ado(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(fit, "TrainingLog", interrupted)  # the first thing done once signals are listened to
    with pytest.raises(KeyboardInterrupt):
        ran(job(config(model, data, tmp_path), tmp_path / "run"))


def test_a_kill_costs_the_updates_since_the_last_checkpoint(
    whole: TrainJob, model: Path, data: Path, words: tuple[str, ...], tmp_path: Path
) -> None:
    made = job(config(model, data, tmp_path, *words), tmp_path / "run")
    child = os.fork()
    if not child:  # a process that dies at its fifth update, one after a checkpoint
        ran(made, Watch(5, signal.SIGKILL))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert len(losses(made)) == 5
    again = Watch()
    assert ran(made, again) == pytest.approx(losses(whole), abs=1e-6)
    assert again.seen[0] == 5


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_killed_training_with_an_objective_on_steps_resumes(model: Path, tmp_path: Path, objective: str) -> None:
    data = policy_steps_file(tmp_path / "policy_steps.jsonl")
    words = ("train.target=policy", *OBJECTIVES[objective], "trainer.max_epochs=4", "train.checkpoint_every_n_steps=1")
    expected = ran(job(config(model, data, tmp_path, *words), tmp_path / "undisturbed"))
    made = job(config(model, data, tmp_path, *words), tmp_path / "killed")
    child = os.fork()
    if not child:
        ran(made, Watch(3, signal.SIGKILL))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert 0 < len(losses(made)) < len(expected)
    assert ran(made) == pytest.approx(expected, abs=1e-6)


def test_learning_rate_rises_and_falls_over_all_epochs(whole: TrainJob) -> None:
    rates = [line["learning_rate"] for line in lines(whole.folder / "losses.jsonl")]
    assert max(rates) == whole.optimizer.keywords["lr"]
    assert rates[-1] < 0.1 * max(rates)
    assert len(rates) == updates(whole)


def test_validations_end_each_epoch_and_the_best_is_kept(whole: TrainJob) -> None:
    assert list(validations(whole))[1::2] == [updates(whole) // 2, updates(whole)]
    assert sorted(file.name for file in whole.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_a_finished_run_does_nothing_more(whole: TrainJob) -> None:
    watch = Watch()
    ran(whole, watch)
    assert not watch.seen


def test_checkpoints_hold_the_trained_weights_alone(whole: TrainJob) -> None:
    assert all("lora_" in name for name in load_trained_weights(whole.checkpoints / "last.ckpt"))


def test_patience_ends_training_early(model: Path, data: Path, tmp_path: Path) -> None:
    words = (
        "trainer.max_epochs=8",
        "callback=[checkpoint,early_stopping]",
        "callback.early_stopping.patience=1",
        "optimizer.lr=1.0",
        "tuning=full",
    )
    made = job(config(model, data, tmp_path, *words), tmp_path / "run")
    assert len(ran(made)) < updates(made)
    *before, last = validations(made).values()
    assert last >= min(before)
    watch = Watch()
    ran(made, watch)
    assert not watch.seen


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_checkpointed_activations_change_nothing(model: Path, data: Path, tmp_path: Path, tuning: str) -> None:
    found = [
        ran(job(config(model, data, tmp_path, f"tuning={tuning}", "optimizer.lr=1e-3", *more), tmp_path / name))
        for name, more in (("kept", ()), ("again", ("train.gradient_checkpointing=true",)))
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_the_same_update_has_the_same_loss_however_it_is_batched(model: Path, data: Path, tmp_path: Path) -> None:
    found = [
        ran(
            job(
                config(
                    model,
                    data,
                    tmp_path,
                    f"train.batching={batching}",
                    "trainer.accumulate_grad_batches=1000",
                    "trainer.max_epochs=2",
                ),
                tmp_path / batching,
            )
        )
        for batching in ("padded", "packed", "tree")
    ]
    assert len(found[0]) == 2
    assert found[0] == pytest.approx(found[1], abs=1e-5) and found[0] == pytest.approx(found[2], abs=1e-5)


@pytest.mark.parametrize(
    "own", [("tuning=lora", "tuning.base_dtype=bfloat16"), ("tuning=full", "trainer.precision=bf16-mixed")]
)
def test_bfloat16_learns_with_small_steps_too(model: Path, data: Path, tmp_path: Path, own: tuple[str, ...]) -> None:
    words = (*own, "optimizer.lr=1e-5", "trainer.max_epochs=2")
    made = job(config(model, data, tmp_path, *words), tmp_path / "run")
    ran(made)
    before = dict(made.load().named_parameters())
    for name, weight in load_trained_weights(made.checkpoints / "last.ckpt").items():
        assert weight.dtype == before[name].dtype
        assert (weight != before[name]).any(), name


@pytest.mark.parametrize(
    ("words", "update", "kept"),
    [
        (("optimizer.lr=1e25",), 2, ["last.ckpt"]),
        (("optimizer.lr=1e25", "trainer.val_check_interval=1"), 1, []),
        (  # the loss of its last update is finite, the gradient is not
            (
                "optimizer.lr=1e8",
                "trainer.accumulate_grad_batches=1000",
                "trainer.max_epochs=2",
                "train.val_fraction=0",
            ),
            2,
            ["last.ckpt"],
        ),
    ],
)
def test_a_run_that_diverges_ends_there(
    model: Path, data: Path, tmp_path: Path, words: tuple[str, ...], update: int, kept: list[str]
) -> None:
    words = ("tuning=full", "scheduler.warmup_ratio=0", "train.checkpoint_every_n_steps=1", *words)
    made = job(config(model, data, tmp_path, *words, "trainer.precision=32-true"), tmp_path / "run")
    with pytest.raises(CodeToolError, match=rf"at update {update} the loss .* Lower optimizer.lr=1e\+"):
        ran(made)
    assert [math.isfinite(loss) for loss in losses(made)] == [True]
    assert [file.name for file in made.checkpoints.iterdir()] == kept


def test_all_modules_are_in_training(model: Path, data: Path, tmp_path: Path) -> None:
    trained = job(config(model, data, tmp_path), tmp_path / "run").load()
    assert all(module.training for module in trained.modules())


def test_a_policy_learns_its_transcripts(model: Path, tmp_path: Path) -> None:
    file = transcripts_file(tmp_path / "transcripts.jsonl")
    words = ("train.target=policy", "trainer.max_epochs=6", "optimizer.lr=1e-2")
    found = ran(job(config(model, file, tmp_path, *words), tmp_path / "run"))
    assert found[-1] < 0.5 * found[0]
