"""What users of Lightning expect: the trainer's arguments, callbacks, loggers, optimizers, and checkpoints to load."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import tiny_models
import torch
from doc_commands import ROOT
from pytorch_lightning.loggers.logger import DummyLogger
from training_jobs import config, job, lines, process_file

from codetool.errors import ConfigError
from codetool.training.checkpoint_files import find_best_checkpoint
from codetool.training.module import SFT
from codetool.training.run_training import run_training
from codetool.training.train_job import TrainJob
from codetool.training.trainer import silence_lightning

WORDS = ("train.max_tokens_per_batch=150",)
DIVERGING = ("optimizer.lr=0.3", "scheduler=constant", "callback.checkpoint.mode=max")


class Nobody:
    def updated(self, line: Any) -> None: ...
    def validated(self, line: Any) -> None: ...
    def stopping(self) -> None: ...


class KeepingLogger(DummyLogger):
    """A Lightning logger that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.points: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None
        self.points.append((step, dict(metrics)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tiny_models.save("llama", folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return process_file(tmp_path_factory.mktemp("data") / "process.jsonl")


def trained(model: Path, data: Path, folder: Path, *words: str, loggers: Any = ()) -> TrainJob:
    made: TrainJob = job(config(model, data, folder, *WORDS, *words), folder / "run")
    run_training(made, Nobody(), None, loggers)
    return made


def losses(made: TrainJob) -> list[dict[str, Any]]:
    return lines(made.folder / "losses.jsonl")


@pytest.fixture(scope="module")
def two_epochs(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainJob:
    """A training that keeps the highest validation loss, which is that of its second epoch."""
    words = ("trainer.max_epochs=2", *DIVERGING)
    return trained(model, data, tmp_path_factory.mktemp("two"), *words)


def test_max_steps_is_the_number_of_updates_over_as_many_epochs_as_it_takes(
    model: Path, data: Path, tmp_path: Path
) -> None:
    made = losses(trained(model, data, tmp_path, "trainer.max_steps=11", "scheduler=linear"))
    assert [line["step"] for line in made] == list(range(1, 12))  # an epoch has 8
    assert made[-1]["learning_rate"] == pytest.approx(1e-3 / 10)  # the schedule ends with the last update


def test_lightning_takes_the_arguments_that_the_documentation_names_in_its_text(
    model: Path, data: Path, tmp_path: Path
) -> None:
    from codetool.stages.train.train_run import check_trainer

    words = re.findall(r"`(\+?trainer\.\w+=[\w.]+)`", (ROOT / "docs/train_a_prm.md").read_text())
    assert {"trainer.max_steps=100", "+trainer.min_epochs=2"} <= set(words)
    check_trainer(config(model, data, tmp_path, *words))


def test_a_shell_loads_a_checkpoint_and_validates_it_with_any_trainer(two_epochs: TrainJob) -> None:
    best = find_best_checkpoint(two_epochs.checkpoints / "last.ckpt")
    recorded = [line["validation_loss"] for line in lines(two_epochs.folder / "validations.jsonl")]
    assert best.name == "best.ckpt" and recorded[0] < recorded[1]
    module = SFT.load_from_checkpoint(best, weights_only=True)
    with silence_lightning():
        trainer = lightning.Trainer(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False)
        [found] = trainer.validate(module, two_epochs.data(), verbose=False)
    assert found["validation/validation_loss"] == pytest.approx(recorded[1], abs=1e-6)


def test_the_best_validation_is_still_known_where_the_run_has_been_moved(
    two_epochs: TrainJob, model: Path, data: Path, tmp_path: Path
) -> None:
    words = ("trainer.max_epochs=3", *DIVERGING)
    made: TrainJob = job(config(model, data, tmp_path, *WORDS, *words), tmp_path / "run")
    shutil.copytree(two_epochs.folder, made.folder, dirs_exist_ok=True)
    before = (made.checkpoints / "best.ckpt").read_bytes()
    run_training(made, Nobody(), None)
    validations = [line["validation_loss"] for line in lines(made.folder / "validations.jsonl")]
    assert max(validations) == validations[1] and len(validations) == 3
    assert (made.checkpoints / "best.ckpt").read_bytes() == before


def test_a_callback_of_the_users_own_ends_training_for_good(model: Path, data: Path, tmp_path: Path) -> None:
    words = ("+callback.mine._target_=own_callbacks.StepLimit", "+callback.mine.steps=3", "trainer.max_epochs=4")
    made = trained(model, data, tmp_path, *words)
    assert len(losses(made)) == 3
    assert [line["step"] for line in lines(made.folder / "validations.jsonl")] == [3]  # Lightning validates at the end
    run_training(made, Nobody(), None)
    assert len(losses(made)) == 3


def test_loggers_get_every_update_and_validation_at_its_step(model: Path, data: Path, tmp_path: Path) -> None:
    logger = KeepingLogger()
    words = ("trainer.max_epochs=2", "callback=[checkpoint,lr_monitor]", "trainer.accumulate_grad_batches=2")
    made = trained(model, data, tmp_path, *words, loggers=[logger])
    for name, key in (("train/loss", "loss"), ("train/learning_rate", "learning_rate")):
        logged = {step: point[name] for step, point in logger.points if name in point}
        assert logged == pytest.approx({line["step"]: line[key] for line in losses(made)}, abs=1e-6)
    validated = {
        step: point["validation/validation_loss"]
        for step, point in logger.points
        if "validation/validation_loss" in point
    }
    recorded = {line["step"]: line["validation_loss"] for line in lines(made.folder / "validations.jsonl")}
    assert validated == pytest.approx(recorded, abs=1e-6)
    assert all(point["train/grad_norm"] > 0 for _, point in logger.points if "train/loss" in point)
    assert sum("lr-AdamW" in point for _, point in logger.points) >= len(losses(made))


def test_the_update_after_which_a_signal_ends_the_training_is_logged(model: Path, data: Path, tmp_path: Path) -> None:
    class Stop(Nobody):
        def updated(self, line: Any) -> None:
            if line["step"] == 3:
                os.kill(os.getpid(), signal.SIGINT)

    made: TrainJob = job(config(model, data, tmp_path, *WORDS), tmp_path / "run")
    first, second = KeepingLogger(), KeepingLogger()
    with pytest.raises(KeyboardInterrupt):
        run_training(made, Stop(), None, [first])
    run_training(made, Nobody(), None, [second])
    logged = [step for logger in (first, second) for step, point in logger.points if "train/loss" in point]
    assert logged == [line["step"] for line in losses(made)]


@pytest.mark.parametrize(
    "words",
    [
        ("optimizer=sgd", "scheduler=constant"),
        ("optimizer=adafactor", "scheduler=linear"),
        ("scheduler._target_=torch.optim.lr_scheduler.OneCycleLR", "~scheduler.warmup_ratio", "+scheduler.max_lr=1e-3"),
        ("trainer.gradient_clip_algorithm=value", "+trainer.profiler=simple", "trainer.limit_train_batches=0.5"),
    ],
)
def test_optimizers_schedulers_and_arguments_of_others_train(
    model: Path, data: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    made = trained(model, data, tmp_path, "trainer.max_steps=2", *words)
    assert len(losses(made)) == 2
    before = dict(made.load().named_parameters())
    state = torch.load(made.checkpoints / "last.ckpt", weights_only=True)["state_dict"]
    changed = [name for name, weight in state.items() if (weight != before[name.removeprefix("trained.")]).any()]
    assert changed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("trainer.max_stepz=1",), r"trainer.max_stepz=1: no such option.* Did you mean trainer.max_steps\?"),
        (
            ("+trainer.max_step=1",),
            "Trainer has no argument of this name. Did you mean max_steps or max_time",
        ),
        (("trainer.barebones=true",), r"the library has it.* Add it: \+trainer.barebones=true"),
        (("+trainer.logger=false",), "trainer.logger: loggers are chosen with logger="),
        (("trainer.max_epochs=many",), "trainer.max_epochs='many': should be a valid integer"),
        (("trainer.precision=bf16-true",), "Did you mean tuning.base_dtype=bfloat16"),
        (("trainer.precision=8",), "trainer.precision=8: should be 64, 32 or 16, or .*bf16-mixed"),
        (("trainer.val_check_interval=1.5",), "trainer: .*val_check_interval"),
        (("trainer.strategy=dpp",), "trainer: .*dpp"),
        (("trainer.max_epochs=-1",), "training would never end. Set trainer.max_steps"),
        (("trainer.max_epochs=0",), "training would make no update"),
        (("trainer.accelerator=gpu",), "PyTorch sees no GPU here"),
        (("tuning=full", "tuning.base_dtype=bfloat16"), "tuning=full trains all weights"),
        (("callback=[checkpoint,early_stop]",), "callback has no option 'early_stop'.* Did you mean early_stopping"),
        (("callback.early_stopping.patience=1",), r"Choose it with .* callback=\[early_stopping,"),
        (("+callback.checkpoint.save_top=2",), "ModelCheckpoint has no argument .* Did you mean save_top_k"),
        (("+callback.checkpoint.every_n_epochs=1", "+callback.checkpoint.every_n_train_steps=1"), "mutually exclusive"),
        (("+callback.mine=5",), r"callback: mine is no callback.* \+callback.mine._target_="),
        (("+callback.mine._target_=torch.optim.SGD",), "is no Callback"),
        (("callback=early_stopping", "train.val_fraction=0"), "no data to validate on"),
        (
            ("callback=early_stopping", "callback.early_stopping.monitor=val_loss"),
            "callback: Early stopping conditioned",
        ),
        (("callback=lr_monitor",), "callback: .*LearningRateMonitor.* no logger"),
        (("optimizer.lrr=1",), r"optimizer.lrr=1: no such option.*Did you mean optimizer.lr\?"),
        (("+optimizer.weight_deca=1",), r"AdamW has no argument .* Did you mean weight_decay"),
        (("optimizer.lr=-1",), "optimizer: Invalid learning rate: -1"),
        (("scheduler.warmup_ratio=1",), "scheduler: warmup_ratio=1.*should be 0 up to"),
        (("optimizer._partial_=false",), "should be true"),
    ],
)
def test_what_lightning_would_refuse_is_one_message(
    model: Path, data: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    from codetool.errors import CodeToolError
    from codetool.stages.train.train_run import check_trainer

    with pytest.raises(CodeToolError, match=message) as caught:
        settings = config(model, data, tmp_path, *words)
        check_trainer(settings)
        run_training(job(settings, tmp_path / "run"), Nobody(), None)
    assert isinstance(caught.value, ConfigError) or "GPU" in message
    assert "\n" not in str(caught.value)


def test_slurms_signal_saves_the_update_and_queues_the_job_again(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Signal(Nobody):
        def updated(self, line: Any) -> None:
            if line["step"] == 3:
                os.kill(os.getpid(), signal.SIGUSR1)

    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f"#!/bin/sh\necho $@ > {tmp_path}/asked\n")
    scontrol.chmod(0o755)
    slurm = {"NTASKS": "1", "JOB_ID": "4711", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    made: TrainJob = job(config(model, data, tmp_path, *WORDS), tmp_path / "run")
    with pytest.raises(KeyboardInterrupt), caplog.at_level("INFO"):
        run_training(made, Signal(), None)
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    assert "SLURM job 4711 is queued again" in caplog.text
    assert [line["step"] for line in losses(made)] == [1, 2, 3, 4]
    run_training(made, Nobody(), None)
    assert len(losses(made)) == 8
