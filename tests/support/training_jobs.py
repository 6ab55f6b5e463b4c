"""Small training runs: process examples by the dozen, and jobs on them."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from codetool.config.overrides import compose_all
from codetool.config.run_config import RunConfig, validate
from codetool.model_types import PolicyStep, ProcessExample, Sampling
from codetool.process_data import examples, transcripts
from codetool.process_data.policy_steps import save_policy_steps
from codetool.process_data.transcripts import Transcript

WORDS = (
    "tuning.base_dtype=float32",
    "trainer.precision=32-true",
    "train.threads=1",
    "train.max_tokens_per_batch=300",
    "train.val_fraction=0.2",
    "logger=none",
)


def process_file(file: Path, tasks: int = 10) -> Path:
    """A file of four steps a task, two after each of two prefixes."""
    draw = random.Random(0)
    steps = []
    for task in range(tasks):
        for group in ("root", "1"):
            asked = f"Question {task}: who directed it? " * draw.randint(1, 3) + "find the film" * (group == "1")
            prefix = ({"role": "system", "content": "You judge the steps"}, {"role": "user", "content": asked})
            for child in (1, 2):
                soft = draw.choice([0, 0.25, 0.5, 1])
                name = str(child) if group == "root" else f"1-{child}"
                label = draw.choice([True, False])
                steps.append(
                    ProcessExample(
                        task_id=f"t{task}", node_id=name, group=group, prefix=prefix,
                        step=f"print({draw.randint(0, 99)})", executed=True, soft=soft, hard=float(soft > 0),
                        latent=soft * 0.9, label=label, multiplicity=draw.randint(1, 3),
                    )
                )  # fmt: skip
    examples.save_examples(file, steps)
    return file


def transcripts_file(file: Path, tasks: int = 8) -> Path:
    """A file of transcripts with two assistant messages each."""
    turns = [
        [
            {"role": "user", "content": f"Question {task}: who directed it?"},
            {"role": "assistant", "content": f"##Step 1: find the film {task}."},
            {"role": "user", "content": "603"},
            {"role": "assistant", "content": "[All Finished]"},
        ]
        for task in range(tasks)
    ]
    transcripts.save_transcripts(file, [Transcript(f"t{i}", tuple(each), (0, 1, 0, 1)) for i, each in enumerate(turns)])
    return file


def policy_steps(tasks: int = 6) -> list[list[PolicyStep]]:
    """Trees of two steps after each path, two deep; half of the forks are told apart by success."""
    draw = random.Random(1)
    trees = []
    for number in range(tasks):
        asked = ({"role": "user", "content": f"Question {number}: who directed it? " * draw.randint(1, 3)},)
        steps = []
        for group in ("0", "1", "2"):
            after = () if group == "0" else (
                {"role": "assistant", "content": f"##Step 1: way {group}"}, {"role": "user", "content": "603"},
            )  # fmt: skip
            for child in (1, 2):
                soft = draw.choice([0.0, 0.5, 1.0])
                steps.append(
                    PolicyStep(
                        task_id=f"t{number}", node_id=str(child) if group == "0" else f"{group}-{child}", group=group,
                        prompt=(*asked, *after), completion=f"##Step: print({draw.randint(0, 99)})\n",
                        ending="[Step 1 Finished]", executed=draw.random() < 0.7, finished=group != "0", soft=soft,
                        hard=soft > 0, reward=None if group == "0" else float(draw.random() < 0.5),
                        multiplicity=draw.randint(1, 3), tree=number,
                    )
                )  # fmt: skip
        trees.append(steps)
    return trees


def policy_steps_file(file: Path, tasks: int = 6) -> Path:
    """A file of such trees."""
    save_policy_steps(file, policy_steps(tasks), Sampling(0.9, 0.95, 64))
    return file


def config(model: Path, data: Path, outputs: Path, *words: str) -> RunConfig:
    """The settings of a run that trains a PRM, unless the words say otherwise."""
    target = "policy" if "train.target=policy" in words else "prm"
    own = [f"{target}=qwen7b", f"{target}.model={model}", f"train.files=[{data}]", f"outputs={outputs}"]
    [composed] = compose_all(["stage=train", *WORDS, *own, *words])
    return validate(composed)


def choices(**others: str) -> dict[str, str]:
    own = {"tuning": "lora", "optimizer": "adamw", "scheduler": "cosine", "experiment": "none"}
    return {"prm": "qwen7b", "policy": "qwen7b", **own} | others


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def job(config: RunConfig, folder: Path, **changes: Any) -> Any:
    """The job that the settings come to, in a folder made for it."""
    from codetool.stages.train import train_dataset as material
    from codetool.training.train_job import TrainJob

    found = material.find_base_model(config)
    labels = material.encode_labels(config, found.base)
    made = material.load_dataset(config, found.base, labels)
    (folder / "checkpoints").mkdir(parents=True)
    whole = TrainJob(
        folder=folder, base=found.base, start=material.find_initial_adapter(config), settings=config.train,
        tuning=config.tuning, trainer=config.trainer, optimizer=config.optimizer, scheduler=config.scheduler,
        callbacks=config.callback, seed=config.seed, training=made.training,
        validation=made.validation, labels=labels.tokens if labels else None,
        vocabulary=labels.vocabulary if labels else 0, step_loss=made.step_loss,
    )  # fmt: skip
    return replace(whole, **changes)
