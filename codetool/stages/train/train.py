"""stage=train: train a PRM on process data, or a policy on transcripts.

The folder's name depends on the model, the data and the training settings, so that the same command resumes a stopped
training; a finished one is not repeated.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from codetool.config.invocation import get_command
from codetool.config.run_config import RunConfig
from codetool.credentials.masking import mask_command
from codetool.errors import ConfigError
from codetool.models.locate import ModelFolders, compute_checksum
from codetool.prompts import trained_prompt
from codetool.runs.identity import Identity, select_identity_settings
from codetool.runs.plugin_code import compute_plugin_checksums
from codetool.runs.provenance import count_results_by_code, record_session
from codetool.stages import run_folder
from codetool.stages.evaluate.run import print_other_code, write_config
from codetool.stages.logged_run import TRAINING_AXIS, log_result, start_stage_loggers
from codetool.stages.run_log import log_to_file
from codetool.stages.train import model_card, train_dataset, trained_on, training_prompt
from codetool.stages.train.train_dataset import DataFile, EncodedLabels, TrainDataset
from codetool.stages.train.train_progress import TrainProgress
from codetool.stages.wandb_content import LOSSES, build_training_content
from codetool.tracking.run_loggers import RunLoggers

if TYPE_CHECKING:
    from codetool.training.module import MetricsFunction
    from codetool.training.train_job import TrainJob
    from codetool.training.trainer import Devices

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Run:
    """The checked inputs of a training."""

    config: RunConfig
    choices: Mapping[str, str]
    overrides: Sequence[str]
    base_model: ModelFolders
    start: Path | None
    """Folder of the adapter that training continues from; None for a new one."""
    labels: EncodedLabels | None
    sources: Sequence[DataFile]
    devices: Devices
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


def train(config: RunConfig, choices: Mapping[str, str], console: Console) -> int:
    """Train, write the model into the run folder, and return 0. Raises CodeToolError; KeyboardInterrupt if stopped."""
    run = _check_run(config, choices, console)
    identity = _compute_identity(run)
    path = run_folder.select_folder(_name_folder(run, identity), config.fresh)
    run.say(f"stage=train target={config.train.target} {_format_option(run)} tuning={choices['tuning']}")
    if config.dry_run:
        _run_dry(run, path)
        print_other_code(config, path, console)
        return 0
    with ExitStack() as stack:
        run_folder.lock_folder(path, stack, False, (LOSSES,))
        stack.enter_context(log_to_file(path / "log.txt", console, logging.INFO))
        stack.enter_context(record_session(path, identity, config.settings, get_command()))
        finished = _is_finished(path)
        if not finished:
            write_config(config, path)
        named = [config.train.target, choices[config.train.target], choices["tuning"]]
        loggers = stack.enter_context(start_stage_loggers(config, choices, path, named, TRAINING_AXIS))
        if not finished:
            _train(run, path, loggers)
        elif not (config.train.save_merged and _merge_again(run, path)):
            run.say(f"{path} is finished already; fresh=true trains anew.")
        _print_result(run, path)
        log_result(loggers, build_training_content(path, [*config.train.files, *config.train.val_files]))
    return 0


def _is_finished(path: Path) -> bool:
    """Return whether a run folder has its `metrics.json`, which is written last; log a warning if it is damaged."""
    file = path / model_card.METRICS
    try:
        json.loads(file.read_text(encoding="utf-8"))["metrics"]
    except FileNotFoundError:
        return False
    except (ValueError, TypeError, LookupError):
        log.warning("%s is damaged; it is written anew from the last checkpoint.", file)
        return False
    return True


def _check_run(config: RunConfig, choices: Mapping[str, str], console: Console) -> _Run:
    """Check all settings and return the run's inputs. Raises ConfigError and MissingError."""
    from hydra.core.hydra_config import HydraConfig

    base_model = train_dataset.find_base_model(config)
    labels = train_dataset.encode_labels(config, base_model.base)
    sources = train_dataset.check_sources(config)
    if config.train.save_merged and config.tuning.method == "full":
        raise ConfigError("train.save_merged=true: tuning=full makes a whole model, and there is no adapter to merge.")
    checksums = {f"{each.use} {number}": each.sha256 for number, each in enumerate(sources, start=1)}
    checksums[config.train.target] = base_model.checksum()
    if (start := train_dataset.find_initial_adapter(config)) is not None:
        checksums["tuning.init_adapter"] = compute_checksum(start)
    overrides = list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
    devices = config.trainer.find_devices()
    return _Run(config, choices, overrides, base_model, start, labels, sources, devices, checksums, console)


def _format_option(run: _Run) -> str:
    return f"{run.config.train.target}={run.choices[run.config.train.target]}"


def _compute_identity(run: _Run) -> Identity:
    """Return the identity of the trained weights: the model, the data and the training settings.

    Of the trainer only the precision, the sharding and the number of processes count; its other settings change at most
    the rounding.
    """
    config, target = run.config, run.config.train.target
    settings = select_identity_settings(config, run.choices, ("stage", "seed", "train", "tuning", target))
    plugins = compute_plugin_checksums(config.settings, settings)
    asked = ("model", "labels", "prompt") if target == "prm" else ("model",)  # a policy's prompt is in its transcripts
    settings[target] = {name: settings[target][name] for name in asked if name in settings[target]}
    settings["first tasks"] = config.limit
    strategy = config.trainer.strategy if config.trainer.strategy in ("fsdp", "deepspeed") else "ddp"
    settings["trainer"] = [config.trainer.precision, strategy, run.devices.count]
    return Identity(settings, {**run.checksums, **plugins})


def _name_folder(run: _Run, identity: Identity) -> Path:
    """Return the folder of the result."""
    target = run.config.train.target
    name = f"{target}-{run.choices[target]}-{run.choices['tuning']}-{identity.digest}"
    return run.config.outputs / "train" / name


def _run_dry(run: _Run, path: Path) -> None:
    material = train_dataset.load_dataset(run.config, run.base_model.base, run.labels)
    _announce(run, material, _build_job(run, path, material).updates())
    state = "finished" if (path / model_card.METRICS).is_file() else "begun" if path.is_dir() else "not there"
    run.say(f"results: {path} ({state})")


def _announce(run: _Run, material: TrainDataset, updates: int) -> None:
    tokens = [sum(len(each.tokens) for each in some) for some in (material.training, material.validation)]
    run.say(
        f"{len(material.training):,} examples of {material.tasks[0]:,} tasks, {tokens[0]:,} tokens; to validate "
        f"{len(material.validation):,} of {material.tasks[1]:,}, {tokens[1]:,} tokens; {updates:,} updates"
    )
    if material.too_long:
        run.say(f"{material.too_long:,} examples are longer than train.max_length or the model's context: left out")


def _build_job(run: _Run, path: Path, material: TrainDataset) -> TrainJob:
    from codetool.training.train_job import TrainJob

    return TrainJob(
        folder=path,
        base=run.base_model.base,
        start=run.start,
        settings=run.config.train,
        tuning=run.config.tuning,
        trainer=run.config.trainer,
        devices=run.devices,
        seed=run.config.seed,
        training=material.training,
        validation=material.validation,
        labels=run.labels.tokens if run.labels else None,
        vocabulary=run.labels.vocabulary if run.labels else 0,
    )


def _train(run: _Run, path: Path, loggers: RunLoggers) -> None:
    """Train to the end, and write all that a finished run has; `metrics.json` is last and says that it is."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # every file is here; nothing should be asked about
    material = train_dataset.load_dataset(run.config, run.base_model.base, run.labels)
    _look_at_labels(run)
    job = _build_job(run, path, material)
    updates = job.updates()
    _announce(run, material, updates)
    run.say(f"results: {path}")
    from codetool.training.launcher import launch_training as train_in_processes

    with TrainProgress(updates, run.console) as progress:
        train_in_processes(job, progress, _measure(material), loggers.to_lightning())
    _export(run, job, path, material)


def _look_at_labels(run: _Run) -> None:
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


def _measure(material: TrainDataset) -> MetricsFunction:
    from codetool.evaluation.prm_metrics import compute_headline_metrics

    def measure(scores: Mapping[int, float]) -> Mapping[str, float]:
        numbers = sorted(scores)
        return compute_headline_metrics(
            [material.judged[number] for number in numbers], [scores[number] for number in numbers]
        )

    return measure


def _export(run: _Run, job: TrainJob, path: Path, material: TrainDataset) -> None:
    from codetool.training import export
    from codetool.training.train_job import BEST, LAST

    best = job.checkpoints / BEST
    checkpoint = best if best.exists() else job.checkpoints / LAST
    tokenizer = run.labels.tokenizer if run.labels else None
    made = export.export(job, checkpoint, model_card.name_base_model(run.config, run.base_model), tokenizer)
    counts = {
        "examples": len(material.training),
        "validation_examples": len(material.validation),
        "tasks": material.tasks[0],
        "validation_tasks": material.tasks[1],
        "left_out": material.too_long,
    }
    folders = [made, export.export_merged(job, made)] if run.config.train.save_merged else [made]
    content = {**model_card.collect_metrics(path, counts), "code": count_results_by_code(path)}
    for folder in folders:
        _write_companion_files(run, path, folder, content)
    model_card.write_metrics(path, content, run.config.figures)


def _write_companion_files(run: _Run, path: Path, folder: Path, content: Mapping[str, Any]) -> None:
    """Write the files beside the weights: the prompt, the tasks trained on, and the model card."""
    if (prompt := training_prompt.find_training_prompt(run.config, run.sources)) is not None:
        trained_prompt.save_prompt_record(folder, prompt)
    command = "python run.py " + shlex.join(mask_command(run.overrides))
    usage = run.usage(path, folder.name)
    settings = run.config.train
    trained_on.write_training_tasks(
        folder,
        *train_dataset.list_task_ids(run.config),
        [*settings.files, *settings.val_files],
        [
            earlier
            for path in (run.start, run.base_model.base)
            if path and (earlier := trained_on.read_training_tasks(path))
        ],
    )
    model_card.write_card(folder, run.config, run.base_model, run.sources, content, command, usage)


def _merge_again(run: _Run, path: Path) -> bool:
    """Write the merged model if it is missing, and return whether it was."""
    from codetool.training import export

    if (path / export.MERGED).is_dir():
        return False
    job = _build_job(run, path, TrainDataset([], [], [], (0, 0), 0))
    folder = export.export_merged(job, path / export.ADAPTER)
    _write_companion_files(run, path, folder, json.loads((path / model_card.METRICS).read_text()))
    return True


def _print_result(run: _Run, path: Path) -> None:
    """Print the metrics, the folder, and the overrides that use the trained model."""
    content = json.loads((path / model_card.METRICS).read_text())
    out = Console()
    found = {**content["metrics"], "loss at the end": content["loss"]}
    lines = ["  ".join(f"{name} {value:.4g}" for name, value in found.items()), f"files in {path}"]
    names = [run.made, "merged"] if (path / "merged").is_dir() else [run.made]
    lines += [f"use it: {run.usage(path, name)}" for name in names]
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
