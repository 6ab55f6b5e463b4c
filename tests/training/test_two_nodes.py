"""Trainings of two processes: two machines by torchrun on loopback, and Lightning's own launcher on one machine."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from rich.console import Console
from stand_in_slurm import install, read_scripts
from training_jobs import WORDS, choices, lines, process_file

from codetool.config.overrides import compose_all
from codetool.config.run_config import validate
from codetool.stages.train.train import train
from codetool.training.checkpoint_files import load_trained_weights

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words of a training of eight updates by two processes."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny_models.save("llama", folder / "model")
    data = process_file(folder / "process.jsonl")
    words = ("trainer.max_epochs=2", "train.max_tokens_per_batch=150")
    return ["stage=train", "prm=qwen7b", f"prm.model={folder}/model", f"train.files=[{data}]", *WORDS, *words]


def start(words: list[str], *launcher: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, *launcher, "run.py", *words]
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, start_new_session=True, **streams)


def start_node(node: int, port: int, words: list[str]) -> subprocess.Popen[str]:
    launcher = ("-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={node}")
    return start(words, *launcher, "--master-addr=127.0.0.1", f"--master-port={port}")


def finish(process: subprocess.Popen[str]) -> str:
    said, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return said + errors


@pytest.fixture(scope="module")
def alone(own: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The result of the same updates by one process."""
    outputs = tmp_path_factory.mktemp("alone")
    train_alone(own, outputs)
    return result(outputs)


def train_alone(words: list[str], outputs: Path) -> None:
    """Make the same updates in this process."""
    settings = validate(compose_all([*words, f"outputs={outputs}", "trainer.accumulate_grad_batches=2"])[0])
    train(settings, choices(), Console(file=io.StringIO()))


def result(outputs: Path) -> tuple[list[float], list[float], dict[str, torch.Tensor]]:
    """The losses, validation losses and trained weights of the one run in the outputs."""
    [folder] = outputs.glob("train/*")
    assert not [file for file in folder.iterdir() if file.name.startswith("process")]
    losses = [line["loss"] for line in lines(folder / "losses.jsonl")]
    validations = [line["validation_loss"] for line in lines(folder / "validations.jsonl")]
    assert (folder / "metrics.json").is_file()
    return losses, validations, load_trained_weights(folder / "checkpoints" / "last.ckpt")


def compare(found: Any, expected: Any) -> None:
    assert found[0] == pytest.approx(expected[0], abs=1e-5) and len(found[0]) == 8
    assert found[1] == pytest.approx(expected[1], abs=1e-5)
    assert found[2].keys() == expected[2].keys()
    for name, weight in found[2].items():
        assert weight.numpy() == pytest.approx(expected[2][name].numpy(), abs=1e-4), name


def test_two_nodes_make_the_updates_of_one_process_and_only_one_writes(
    own: list[str], alone: Any, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    words = [*own, f"outputs={tmp_path}/two", "trainer=ddp", "trainer.devices=1", "trainer.num_nodes=2"]
    first, second = (start_node(node, port, words) for node in (0, 1))
    assert "use it: prm=qwen7b" in finish(first)
    said = finish(second)
    assert "results:" not in said and "use it" not in said
    compare(result(tmp_path / "two"), alone)
    environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # as Lightning's documentation has it
    first, second = (start(words, NODE_RANK=node, **environment) for node in ("0", "1"))
    assert "is finished already" in finish(first)
    finish(second)


def test_two_nodes_of_slurm_make_the_updates_of_one_process(own: list[str], alone: Any, tmp_path: Path) -> None:
    """The script of the documentation, with one process on each node."""
    script, environment = tmp_path / "train.sbatch", os.environ | install(tmp_path / "slurm")
    small = ["--ntasks-per-node=8", "--ntasks-per-node=1", "--gpus-per-node=8", "--mem=8G", "trainer.devices=8"]
    text = read_scripts()[1].replace(*small[:2]).replace(*small[2:4]).replace(small[4], "trainer.devices=1")
    text = text.replace("trainer=fsdp", "trainer=ddp").replace("train.files=[outputs/collect/FOLDER]", "")
    script.write_text(f"{text.rstrip()} {shlex.join([*own, f'outputs={tmp_path}/two'])}\n")
    subprocess.run(["sbatch", "--wait", script], cwd=ROOT, env=environment, check=True, timeout=200)
    compare(result(tmp_path / "two"), alone)
    [said] = (tmp_path / "slurm").glob("slurm-*.out")
    assert said.read_text().count("use it: prm=qwen7b") == 1


def test_lightnings_launcher_shards_stops_and_goes_on(own: list[str], tmp_path: Path) -> None:
    whole = [*own, "tuning=full", *WORDS[:2], "optimizer.lr=1e-3"]
    train_alone(whole, tmp_path / "one")
    words = [*whole, f"outputs={tmp_path}/two", "trainer=fsdp", "trainer.devices=2"]
    process = start(words)
    until = time.monotonic() + 60
    while not [line for file in tmp_path.glob("two/train/*/losses.jsonl") for line in lines(file)]:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, said = process.communicate(timeout=60)
    if process.returncode:  # it had not made its last update yet
        assert process.returncode == 130 and said.count("Stopped.") == 1 and "Traceback" not in said
        finish(start(words))
    compare(result(tmp_path / "two"), result(tmp_path / "one"))


FAILING = """
import os
from pytorch_lightning import Callback

class Fails(Callback):
    def on_train_batch_end(self, trainer, *others):
        if trainer.global_rank == 1 and trainer.global_step == 2 and "NO_LUCK" in os.environ:
            raise ValueError("no luck with " + os.environ["NO_LUCK"])
"""


def test_a_process_that_fails_ends_all_and_is_told_of_in_one_message(own: list[str], tmp_path: Path) -> None:
    (tmp_path / "failing_callback.py").write_text(FAILING)
    words = [*own, f"outputs={tmp_path}/out", "trainer=ddp", "trainer.devices=2"]
    words += ["+callback.mine._target_=failing_callback.Fails"]
    process = start(words, PYTHONPATH=str(tmp_path), NO_LUCK="sk-abcdefghijklmnopqrstuvwx")
    _, said = process.communicate(timeout=60)
    [record] = tmp_path.glob("out/train/*/failed-process.json")
    told = f"Rank 1 of the training failed: ValueError: no luck with [secret] (its traceback: {record})."
    last = said.splitlines()[-1]
    assert process.returncode == 1 and last == f"error: {told} The same command continues from the last checkpoint."
    assert told in (record.parent / "log.txt").read_text()
    failure = json.loads(record.read_text())["message"]["extraInfo"]
    assert "in on_train_batch_end" in failure["py_callstack"] and "sk-" not in record.read_text()
    finish(start(words, PYTHONPATH=str(tmp_path)))
    assert not record.exists() and (record.parent / "metrics.json").is_file()
