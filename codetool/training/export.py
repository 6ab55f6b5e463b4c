"""Export the trained weights as a PEFT adapter or as a Hugging Face model folder."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from tokenizers import Tokenizer

from codetool.errors import CodeToolError
from codetool.models.lora import merge_adapter
from codetool.runs.write_errors import explain_write_errors
from codetool.training.checkpoint_files import load_trained_weights
from codetool.training.train_job import TrainJob

ADAPTER, MODEL, MERGED = "adapter", "model", "merged"
"""Names of folders in the run's folder: a LoRA adapter, a fully trained model, a base model with a merged adapter."""
COPIED_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model",
    "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "generation_config.json",
)  # fmt: skip
"""Files of a model folder that training does not change and the export copies."""


def export(job: TrainJob, checkpoint: Path, base_name: str, tokenizer: Tokenizer | None) -> Path:
    """Write the trained adapter or model to a folder and return it. The folder appears complete or not at all.

    The weights are bfloat16, or float32 if the base and the computation were. `base_name` is recorded in an adapter as
    the name of its base model; `tokenizer` is the tokenizer if it has new tokens, else None. Raises CodeToolError if
    the checkpoint does not match the run.
    """
    is_full_model = job.tuning.method == "full"
    folder = job.folder / (MODEL if is_full_model else ADAPTER)
    trained = _load_with_weights(job, load_trained_weights(checkpoint))
    with _write_folder(folder) as working_folder:
        if is_full_model:
            _save_model(trained.unwrapped, job, working_folder, tokenizer)
        else:
            _save_adapter(trained.model, job, base_name, working_folder)
    return folder


def export_merged(job: TrainJob, adapter: Path) -> Path:
    """Write the base model with the adapter merged into its weights to a folder, and return the folder."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder = job.folder / MERGED
    model = AutoModelForCausalLM.from_pretrained(job.base, dtype="auto", local_files_only=True)
    weights = model.state_dict()
    merge_adapter(weights, adapter)
    model.load_state_dict(weights)
    with _write_folder(folder) as working_folder:
        model.save_pretrained(working_folder)
        _copy_tokenizer_files(job.base, working_folder)
    return folder


def _load_with_weights(job: TrainJob, weights: dict[str, Any]) -> Any:
    """Return the model with its trained weights, on the CPU."""
    from dataclasses import replace

    tuning = job.tuning if job.tuning.method == "full" else replace(job.tuning, method="lora")  # never in 4 bits here
    trained = replace(job, tuning=tuning).load()
    mismatch = trained.load_state_dict(weights, strict=False)
    absent = {name for name, weight in trained.named_parameters() if weight.requires_grad} & set(mismatch.missing_keys)
    if mismatch.unexpected_keys or absent:
        weight_name = [*mismatch.unexpected_keys, *absent][0]
        raise CodeToolError(
            f"{job.checkpoints} is not of this run: {weight_name} does not fit. fresh=true starts over."
        )
    return trained


def _save_adapter(model: Any, job: TrainJob, base_name: str, folder: Path) -> None:
    import torch

    config = model.peft_config["default"]
    config.base_model_name_or_path = base_name
    if not isinstance(config.target_modules, str):  # a set, which every process would write in another order
        config.target_modules = sorted(config.target_modules)
    if not job.keeps_float32:
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = weight.data.to(torch.bfloat16)
    model.save_pretrained(folder, save_embedding_layers=False)  # to look whether they changed, PEFT would ask the hub


def _save_model(model: Any, job: TrainJob, folder: Path, tokenizer: Tokenizer | None) -> None:
    import torch

    model.config.use_cache = True
    if not job.keeps_float32:
        model.to(torch.bfloat16)
    model.save_pretrained(folder)
    _copy_tokenizer_files(job.base, folder)
    if tokenizer is not None:
        tokenizer.save(str(folder / "tokenizer.json"))


def _copy_tokenizer_files(base: Path, folder: Path) -> None:
    for name in COPIED_FILES:
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)


@contextmanager
def _write_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` at the end of the context, complete.

    Raises WriteError, without leaving a part, if the disk does not take it.
    """
    working_folder = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(working_folder, ignore_errors=True)
    with explain_write_errors(folder):
        try:
            working_folder.mkdir()
            yield working_folder
            shutil.rmtree(folder, ignore_errors=True)
            working_folder.rename(folder)
        except SafetensorError as error:  # its message is of Rust: `I/O error: No space left on device (os error 28)`
            shutil.rmtree(working_folder, ignore_errors=True)
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else None, str(error)) from error
        except OSError:
            shutil.rmtree(working_folder, ignore_errors=True)
            raise
