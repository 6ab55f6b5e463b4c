"""Files of checkpoints: how they are written, read, and checked before training resumes from one."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins import TorchCheckpointIO

from codetool.errors import CodeToolError
from codetool.runs import damaged_lines
from codetool.runs.write_errors import explain_write_errors

log = logging.getLogger(__name__)

LAST = "last.ckpt"
"""File name of the checkpoint to resume from."""
CALLBACKS_KEY = "callbacks"
STOPPED_KEY = "stopped_early"
"""Key in the state of the run's callback: whether a callback has ended the training."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that writes checkpoints whole or not at all, and explains why a disk takes none."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write the checkpoint under another name and rename it. Raises WriteError."""
        file = Path(path)
        new_file = file.with_name(f"{file.name}.new")
        with explain_write_errors(file):
            # Lightning makes a removed folder anew, without the losses, and hides why a file cannot be created.
            tempfile.TemporaryFile(dir=file.parent).close()
            try:
                super().save_checkpoint(checkpoint, new_file, storage_options)
            except OSError:
                new_file.unlink(missing_ok=True)  # it only takes room
                raise
            new_file.replace(file)


def count_updates(checkpoint: Path) -> int:
    """Return the number of updates made before a checkpoint was written; 0 if the checkpoint does not exist."""
    return int(_read(checkpoint)["global_step"]) if checkpoint.exists() else 0


def is_stopped_early(checkpoint: Path) -> bool:
    """Return whether a callback, such as EarlyStopping, had ended the training when a checkpoint was written."""
    states = _read(checkpoint).get(CALLBACKS_KEY, {}).values() if checkpoint.exists() else ()
    return any(isinstance(state, Mapping) and state.get(STOPPED_KEY) for state in states)


def find_best_checkpoint(last: Path) -> Path:
    """Return the checkpoint that a ModelCheckpoint has kept as the best, or the last one if there is none."""
    folder = last.parent
    for state in _read(last).get(CALLBACKS_KEY, {}).values():
        best = Path(state.get("best_model_path") or "") if isinstance(state, Mapping) else Path()
        for file in (folder / best.name, best):  # the run folder may have been moved
            if best.name and file.is_file():
                return file
    return last


def relocate_state(state: dict[str, Any], folder: str) -> None:
    """Let the state of a ModelCheckpoint name the present folder of its files, in case the run has been moved."""
    state["dirpath"] = folder
    for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
        state[name] = str(Path(folder) / Path(state[name]).name) if state.get(name) else ""
    state["best_k_models"] = {
        str(Path(folder) / Path(file).name): score for file, score in state["best_k_models"].items()
    }


def set_damaged_checkpoint_aside(checkpoint: Path) -> None:
    """Rename a checkpoint file that cannot be read, and log a warning; training then starts from the beginning."""
    if not checkpoint.is_file():
        return
    try:
        count_updates(checkpoint)
    except Exception as error:  # whatever the bytes make of PyTorch's reader
        aside = checkpoint.with_name(checkpoint.name + damaged_lines.SUFFIX)
        checkpoint.replace(aside)
        reason = " ".join(str(error).split())[:200]
        log.warning("%s is damaged (%s). Moved to %s; training starts anew.", checkpoint, reason, aside.name)


def load_trained_weights(checkpoint: Path) -> dict[str, Any]:
    """Return the trained weights of a checkpoint, by their names in a `TrainableModel`.

    Raises CodeToolError if the checkpoint cannot be read.
    """
    try:
        return _load_trained_weights(checkpoint)
    except Exception as error:  # whatever the bytes make of PyTorch's reader
        reason = " ".join(str(error).split())[:200]
        raise CodeToolError(f"{checkpoint} is damaged ({reason}). fresh=true trains anew.") from error


def _load_trained_weights(checkpoint: Path) -> dict[str, Any]:
    if checkpoint.is_dir():  # DeepSpeed's
        from pytorch_lightning.utilities.deepspeed import convert_zero_checkpoint_to_fp32_state_dict

        merged_file = checkpoint.with_name(f"{checkpoint.name}.whole")
        content = convert_zero_checkpoint_to_fp32_state_dict(checkpoint, merged_file)
        merged_file.unlink()
    else:
        content = torch.load(checkpoint, map_location="cpu", weights_only=False)  # callbacks may have any state
    return {name.removeprefix("trained."): value for name, value in content["state_dict"].items()}


def _read(checkpoint: Path) -> Mapping[str, Any]:
    """Return the content of a checkpoint, without loading its tensors."""
    is_folder = checkpoint.is_dir()  # DeepSpeed's
    file = next(checkpoint.rglob("mp_rank_00_model_states.pt")) if is_folder else checkpoint
    content: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=False, mmap=not is_folder)
    return content
