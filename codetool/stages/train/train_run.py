"""The checked inputs of a training, and the identity of its result."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from codetool.config.invocation import list_added_words
from codetool.config.run_config import RunConfig
from codetool.errors import ConfigError
from codetool.models.locate import ModelFolders, compute_checksum
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.stages.train import model_card, train_dataset
from codetool.stages.train.data_files import DataFile, check_sources
from codetool.stages.train.train_dataset import EncodedLabels, TrainDataset

if TYPE_CHECKING:
    from pytorch_lightning import Trainer

    from codetool.training.train_job import TrainJob

log = logging.getLogger(__name__)

VALIDATION_LOSS = "validation_loss"
"""Metric that callbacks monitor, and that there is none of without validation data."""


@dataclass(frozen=True)
class TrainRun:
    """The checked inputs of a training."""

    config: RunConfig
    choices: Mapping[str, str]
    overrides: Sequence[str]
    base_model: ModelFolders
    start: Path | None
    """Folder of the adapter that training continues from; None for a new one."""
    labels: EncodedLabels | None
    sources: Sequence[DataFile]
    trainer: Trainer
    """Lightning's trainer as the settings have it, which knows the processes of the training."""
    checksums: Mapping[str, str]
    console: Console

    @property
    def made(self) -> str:
        """Name of the trained model's folder."""
        return "model" if self.config.tuning.method == "full" else "adapter"

    def usage(self, path: Path, name: str) -> str:
        """Return the overrides that use one of the run's models."""
        return model_card.format_usage(self.config, self.choices, self.overrides, path / name)

    def say(self, line: str) -> None:
        """Print a line; log it instead once `log.txt` is open, which prints it too."""
        if logging.getLogger("codetool").handlers:
            log.info("%s", line)
        else:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def check_run(config: RunConfig, choices: Mapping[str, str], console: Console) -> TrainRun:
    """Check all settings and return the run's inputs. Raises ConfigError and MissingError."""
    from hydra.core.hydra_config import HydraConfig

    train_dataset.check_objective(config)
    base_model = train_dataset.find_base_model(config)
    labels = train_dataset.encode_labels(config, base_model.base)
    sources = check_sources(config)
    if config.train.save_merged and config.tuning.method == "full":
        raise ConfigError("train.save_merged=true: tuning=full makes a whole model, and there is no adapter to merge.")
    checksums = {f"{each.use} {number}": each.sha256 for number, each in enumerate(sources, start=1)}
    checksums[config.train.target] = base_model.checksum()
    if (start := train_dataset.find_initial_adapter(config)) is not None:
        checksums["tuning.init_adapter"] = compute_checksum(start)
    overrides = [*list_added_words(), *HydraConfig.get().overrides.task] if HydraConfig.initialized() else []
    trainer = check_trainer(config)
    return TrainRun(config, choices, overrides, base_model, start, labels, sources, trainer, checksums, console)


def check_trainer(config: RunConfig) -> Trainer:
    """Return Lightning's trainer. Raises ConfigError and MissingError for arguments that cannot be."""
    from codetool.training.optimization import check_optimization
    from codetool.training.trainer import build_trainer

    if config.tuning.method == "full" and config.tuning.base_dtype != "float32":
        raise ConfigError(
            f"tuning.base_dtype={config.tuning.base_dtype}: tuning=full trains all weights, and trained weights are "
            "float32. Compute in bfloat16 instead: trainer.precision=bf16-mixed."
        )
    check_optimization(config.optimizer, config.scheduler)
    return build_trainer(config.trainer)


def build_job(run: TrainRun, path: Path, material: TrainDataset) -> TrainJob:
    """Return the training, which writes to the run folder `path`."""
    from codetool.training.train_job import TrainJob

    return TrainJob(
        folder=path,
        base=run.base_model.base,
        start=run.start,
        settings=run.config.train,
        tuning=run.config.tuning,
        trainer=run.config.trainer,
        optimizer=run.config.optimizer,
        scheduler=run.config.scheduler,
        callbacks=run.config.callback,
        seed=run.config.seed,
        training=material.training,
        validation=material.validation,
        labels=run.labels.tokens if run.labels else None,
        step_loss=material.step_loss,
        vocabulary=run.labels.vocabulary if run.labels else 0,
    )


def check_labels(run: TrainRun) -> None:
    """Warn of labels that cost something, and refuse those that an adapter cannot teach."""
    if run.labels is None:
        return
    option: Any = run.config.prm
    words = list(option.labels)
    if run.labels.tokenizer is not None:
        log.warning(
            "prm.labels=%s become new tokens, which only the whole model in %s/ knows: no adapter, no server that adds "
            "LoRA to the base and no other copy of the base can be used with them.",
            words,
            run.made,
        )
        return
    from codetool.training.new_label_tokens import find_untrained_tokens

    if not (bad := find_untrained_tokens(run.base_model.base, run.labels.tokens)):
        return
    bad_words = [word for word, token in zip(words, run.labels.tokens, strict=True) if token in bad]
    said = f"prm.labels={words}: the model was never trained on {bad_words}, by the look of their embeddings"
    if run.config.tuning.method == "full":
        log.warning("%s; all weights are trained, so it may do.", said)
        return
    raise ConfigError(f"{said}. Choose ordinary words, prm.labels=[yes,no], or tuning=full, which trains them.")


def format_option(run: TrainRun) -> str:
    return f"{run.config.train.target}={run.choices[run.config.train.target]}"


def compute_identity(run: TrainRun) -> Identity:
    """Return the identity of the trained weights: the model, the data and the training settings.

    Of the trainer, the arguments count that its YAML file does not list as operational, the sharding, and the number of
    processes; the others change at most the rounding.
    """
    config, target = run.config, run.config.train.target
    blocks = ("stage", "seed", "train", "objective", "tuning", "optimizer", "scheduler", "callback", "trainer", target)
    settings = select_identity_settings(config, run.choices, blocks)
    plugins = compute_plugin_checksums(config.settings, settings)
    asked = ("model", "labels", "prompt") if target == "prm" else ("model",)  # a policy's prompt is in its transcripts
    settings[target] = {name: settings[target][name] for name in asked if name in settings[target]}
    if target == "prm" and getattr(config.prm, "sees_observation", False):
        settings[target]["sees_observation"] = True
    settings["first tasks"] = config.limit
    settings["trainer"] = _select_trainer_settings(run, settings["trainer"])
    if not config.train.validates:
        settings["callback"] = {
            name: callback
            for name, callback in settings.get("callback", {}).items()
            if callback.get("monitor") != VALIDATION_LOSS
        }
    return Identity(settings, {**run.checksums, **plugins})


def _select_trainer_settings(run: TrainRun, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the trainer that determine the weights; arguments that are null have no part in it."""
    left_out = {"_option_", "strategy"}
    if not run.config.train.validates:
        left_out |= {"val_check_interval", "check_val_every_n_epoch", "limit_val_batches"}
    selected = {name: value for name, value in settings.items() if value is not None and name not in left_out}
    strategy = run.config.settings["trainer"].get("strategy")
    same_as_one = strategy in ("auto", "ddp") or strategy is None
    return selected | {"strategy": "ddp" if same_as_one else strategy, "processes": run.trainer.world_size}
