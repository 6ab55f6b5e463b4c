"""Read the exports of a collection by the libraries of other trainers, and take an update where there is a trainer.

    python run.py stage=collect … export=[trl_preference,trl_prompt_completion,trl_stepwise,verl,verifiers,…]
    python read_back.py RUN_FOLDER --tokenizer FOLDER --check trl

runs in an environment that has the library, which need not have CodeTool: the checks want different versions. Models
have random weights and two layers. The result of each check is written to `results/CHECK.json`, with versions and the
checksums of what was read; an assertion that fails leaves the file as it was. The results here are of six dev tasks of
tmdb_verified, exhaustively searched (n = 3) with the scripted policy of `tests/support/scripted_policy.py`.

- `trl` (trl 1.16): every row by datasets; DPOTrainer, RewardTrainer and SFTTrainer, one update each on one row.
- `prm` (trl up to 1.13, the last with PRMTrainer): one update of `trl.experimental.prm.PRMTrainer`.
- `verl` (verl 0.9): every row by `verl.utils.dataset.rl_dataset.RLHFDataset`.
- `verifiers` (verifiers 0.4): every episode by `read_episodes`, its branch, messages and reward.
- `verifiers_flat` (verifiers 0.1): every rollout by `load_outputs`.
- `llamafactory` (llamafactory 0.9.5): every row by its parser and converter of datasets.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("trl", "transformers", "datasets", "torch", "peft", "verl", "verifiers", "llamafactory")
DPO_START = math.log(2)
"""Loss of DPO before the first update, when policy and reference are the same."""


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines."""
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]]


def build_model(tokenizer: Any, *, head: str = "CausalLM", **settings: Any) -> Any:
    """Return a Llama of two small layers with random weights, from a folder, since DPOTrainer loads it once more."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=8192, pad_token_id=tokenizer.pad_token_id, **settings,
    )  # fmt: skip
    model_class, folder = getattr(transformers, f"LlamaFor{head}"), tempfile.mkdtemp()
    model_class(config).save_pretrained(folder)
    return model_class.from_pretrained(folder)


def load_tokenizer(folder: str) -> Any:
    """Return the tokenizer of a folder, with a token for padding."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def choose_shortest(data: Any) -> Any:
    """Return the shortest row of a dataset, enough for an update on a slow CPU."""
    return data.select([min(range(len(data)), key=lambda index: len(json.dumps(data[index])))])


TRAINING = {
    "per_device_train_batch_size": 1, "max_steps": 1, "logging_steps": 1, "save_strategy": "no", "report_to": "none",
    "use_cpu": True, "bf16": False, "disable_tqdm": True, "max_length": 4096, "gradient_checkpointing": False,
}  # fmt: skip


def train_once(trainer: Any) -> float:
    """Take one update, and return its loss."""
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 1 and math.isfinite(losses[0]), losses
    return float(losses[0])


def check_trl(exports: Path, tokenizer_folder: str) -> dict[str, Any]:
    """Train by DPO, as a reward model and by SFT."""
    from datasets import load_dataset
    from trl import DPOConfig, DPOTrainer, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
    from trl.data_utils import is_conversational

    tokenizer = load_tokenizer(tokenizer_folder)
    data, sizes = {}, {}
    for name in ("trl_preference", "trl_prompt_completion"):
        file = exports / name / "train.jsonl"
        data[name] = load_dataset("json", data_files=str(file), split="train", cache_dir=tempfile.mkdtemp())
        assert data[name].to_list() == read_lines(file) and is_conversational(data[name][0])
        sizes[name] = len(data[name])
    pairs, steps = (choose_shortest(data[name]) for name in ("trl_preference", "trl_prompt_completion"))
    dpo = train_once(
        DPOTrainer(
            build_model(tokenizer), args=DPOConfig(tempfile.mkdtemp(), **TRAINING), train_dataset=pairs,
            processing_class=tokenizer,
        )
    )  # fmt: skip
    assert abs(dpo - DPO_START) < 1e-3, dpo
    reward = train_once(
        RewardTrainer(
            build_model(tokenizer, head="SequenceClassification", num_labels=1),
            args=RewardConfig(tempfile.mkdtemp(), **TRAINING), train_dataset=pairs, processing_class=tokenizer,
        )
    )  # fmt: skip
    sft = SFTTrainer(
        build_model(tokenizer), args=SFTConfig(tempfile.mkdtemp(), **TRAINING), train_dataset=steps,
        processing_class=tokenizer,
    )  # fmt: skip
    first = sft.train_dataset[0]
    learned = [token for token, is_learned in zip(*_list_completion(first), strict=True) if is_learned]
    assert steps[0]["completion"][0]["content"] in tokenizer.decode(learned)
    assert steps[0]["prompt"][0]["content"][:40] not in tokenizer.decode(learned)
    return {"rows": sizes, "losses": {"dpo": dpo, "reward": reward, "sft": train_once(sft)}}


def _list_completion(row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return the tokens of a row that SFTTrainer has tokenized, and which of them are learned."""
    if "completion_mask" in row:
        return row["input_ids"], row["completion_mask"]
    return row["input_ids"], [int(label != -100) for label in row["labels"]]


def check_prm(exports: Path, tokenizer_folder: str) -> dict[str, Any]:
    """Train a classifier of steps, and count the labels that the trainer finds."""
    from datasets import load_dataset
    from trl.experimental.prm import PRMConfig, PRMTrainer

    tokenizer = load_tokenizer(tokenizer_folder)
    file = exports / "trl_stepwise" / "train.jsonl"
    paths = load_dataset("json", data_files=str(file), split="train", cache_dir=tempfile.mkdtemp())
    assert paths.to_list() == read_lines(file)
    trainer = PRMTrainer(
        build_model(tokenizer, head="TokenClassification", num_labels=2),
        args=PRMConfig(tempfile.mkdtemp(), **TRAINING | {"max_length": 4096}), train_dataset=paths,
        processing_class=tokenizer,
    )  # fmt: skip
    labels = [[label for label in row["labels"] if label != -100] for row in trainer.train_dataset]
    assert labels == [[int(label) for label in row["labels"]] for row in paths]
    return {
        "rows": {"trl_stepwise": len(paths)}, "labels": sum(map(len, labels)), "losses": {"prm": train_once(trainer)},
    }  # fmt: skip


def check_verl(exports: Path, tokenizer_folder: str) -> dict[str, Any]:
    """Read the prompts as verl's trainers do."""
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset

    file = exports / "verl" / "train.jsonl"
    config = OmegaConf.create({"max_prompt_length": 8192, "truncation": "error", "filter_overlong_prompts_workers": 1})
    tasks = RLHFDataset(str(file), load_tokenizer(tokenizer_folder), config)
    rows = read_lines(file)
    assert len(tasks) == len(rows)
    for index, row in enumerate(rows):
        item = tasks[index]
        assert item["raw_prompt"] == row["prompt"] and item["index"] == row["extra_info"]["index"]
        assert item["data_source"] == row["data_source"] and item["reward_model"] == row["reward_model"]
        json.loads(item["reward_model"]["ground_truth"] or "null")
    return {"rows": {"verl": len(rows)}}


def check_verifiers(exports: Path, _: str) -> dict[str, Any]:
    """Read the episodes as verifiers' own commands do."""
    from verifiers.v1 import WireTrace
    from verifiers.v1.utils.trace_store import read_episodes

    rows = read_lines(exports / "verifiers" / "traces.jsonl")
    episodes = read_episodes(exports / "verifiers", WireTrace)
    assert len(episodes) == len(rows)
    rewards = 0.0
    for episode, row in zip(episodes, rows, strict=True):
        [trace] = episode.traces
        [branch] = trace.branches
        nodes = row["traces"][0]["nodes"]
        assert [(m.role, m.content) for m in branch.messages] == [tuple(node["message"].values()) for node in nodes]
        assert [node.sampled for node in branch.nodes] == [node["sampled"] for node in nodes]
        assert trace.reward == row["traces"][0]["rewards"]["success"]["score"] and trace.num_turns == sum(
            node["sampled"] for node in nodes
        )
        assert episode.group is not None and episode.group.id == row["task"]["data"]["id"]
        assert trace.task.data.model_extra == {"answer": row["task"]["data"]["answer"]}
        rewards += trace.reward
    return {"rows": {"verifiers": len(rows)}, "sum_of_rewards": rewards}


def check_verifiers_flat(exports: Path, _: str) -> dict[str, Any]:
    """Read the rollouts as verifiers 0.1 reads an evaluation that it goes on with."""
    from verifiers.types import RolloutOutput
    from verifiers.utils.save_utils import load_outputs

    rows = read_lines(exports / "verifiers" / "results.jsonl")
    outputs = load_outputs(exports / "verifiers")
    assert outputs == rows and all(isinstance(output, RolloutOutput) for output in outputs)
    return {"rows": {"verifiers": len(rows)}, "sum_of_rewards": sum(output["reward"] for output in outputs)}


def check_llamafactory(exports: Path, _: str) -> dict[str, Any]:
    """Read the pairs, and the training records of export=reference, as LLaMA-Factory aligns datasets."""
    from datasets import load_dataset

    # LLaMA-Factory imports it for audio, which these data have none of; it needs the CUDA build of torch
    sys.modules["torchaudio"] = ModuleType("torchaudio")
    sys.modules["torchaudio"].__spec__ = ModuleSpec("torchaudio", None)
    from llamafactory.data.converter import get_dataset_converter
    from llamafactory.data.parser import get_dataset_list

    sizes = {}
    for folder in (exports / "llamafactory_preference", exports.parent / "reference" / "rm_train_data"):
        [name] = json.loads((folder / "dataset_info.json").read_text())
        [attributes] = get_dataset_list([name], str(folder))
        file = folder / attributes.dataset_name
        data = load_dataset("json", data_files=str(file), split="train", cache_dir=tempfile.mkdtemp())
        convert = get_dataset_converter(attributes.formatting, attributes, None)
        rows = json.loads(file.read_text())
        assert len(data) == len(rows)
        for row, example in zip(rows, data, strict=True):
            aligned = convert(example)
            turns = [turn["value"] for turn in row["conversations"]]
            replies = [row["chosen"]["value"], row["rejected"]["value"]] if attributes.ranking else [turns.pop()]
            assert [turn["content"] for turn in aligned["_prompt"]] == turns
            assert [turn["content"] for turn in aligned["_response"]] == replies and aligned["_system"] == row["system"]
        sizes[name] = len(rows)
    return {"rows": sizes}


CHECKS: dict[str, Callable[[Path, str], dict[str, Any]]] = {
    "trl": check_trl,
    "prm": check_prm,
    "verl": check_verl,
    "verifiers": check_verifiers,
    "verifiers_flat": check_verifiers_flat,
    "llamafactory": check_llamafactory,
}


def list_versions() -> dict[str, str]:
    """Return the versions of the libraries that the check has imported."""
    imported = [name for name in LIBRARIES if name in sys.modules]
    return {"python": platform.python_version()} | {name: version(name) for name in imported}


def main() -> None:
    """Run a check, print its result and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of stage=collect with the folder exports")
    parser.add_argument("--check", choices=CHECKS, required=True)
    parser.add_argument("--tokenizer", default="", help="folder of a tokenizer with a chat template")
    options = parser.parse_args()
    exports = options.run / "exports"
    found = CHECKS[options.check](exports, options.tokenizer)
    read = [file for name in found["rows"] for file in sorted((exports / name).glob("*.json*"))]
    result = {
        "command": f"python experiments/exports/read_back.py RUN_FOLDER --check {options.check}",
        "versions": list_versions(),
        **found,
        "sha256": {str(file.relative_to(exports)): hashlib.sha256(file.read_bytes()).hexdigest() for file in read},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{options.check}.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
