"""stage=train: what it makes of words, when it goes on, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
import textwrap
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
from command_line import CommandLine
from rich.console import Console
from training_jobs import WORDS, choices, config, lines, policy_steps, process_file, transcripts_file

from codetool.errors import CodeToolError, ConfigError, MissingError
from codetool.model_types import Sampling
from codetool.process_data.policy_steps import save_policy_steps
from codetool.prompts import trained_prompt
from codetool.stages.train.train import train
from codetool.types import Task


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    tiny_models.save("llama", folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return process_file(tmp_path_factory.mktemp("data") / "process.jsonl")


def ran(model: Path, data: Path, outputs: Path, *words: str) -> str:
    """What a run says on standard error."""
    said = Console(file=io.StringIO(), width=200)
    named = dict(word.split("=", 1) for word in words if word.split("=")[0] in choices())
    assert train(config(model, data, outputs, *words), choices(**named), said).failed == 0
    assert isinstance(said.file, io.StringIO)
    return said.file.getvalue()


def folders(outputs: Path) -> list[Path]:
    return sorted(outputs.glob("train/*"))


@pytest.fixture(scope="module")
def finished(model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of one run."""
    outputs = tmp_path_factory.mktemp("outputs")
    ran(model, data, outputs)
    return outputs


def test_a_run_leaves_its_files(finished: Path) -> None:
    [folder] = folders(finished)
    assert folder.name.startswith("prm-qwen7b-lora-")
    names = {path.name for path in folder.iterdir()} - {".lock"}
    assert names == {
        "adapter", "checkpoints", "config.yaml", "log.txt", "loss.svg", "losses.jsonl", "metrics.json",
        "provenance.json",
        "validations.jsonl",
    }  # fmt: skip
    [first, *_] = lines(folder / "losses.jsonl")
    assert set(first) == {"step", "loss", "learning_rate", "tokens", "examples", "seconds"}
    [validation] = lines(folder / "validations.jsonl")
    assert {"validation_loss", "ece", "pairwise_accuracy"} < set(validation)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["tokens_seen"] == sum(line["tokens"] for line in lines(folder / "losses.jsonl"))
    assert metrics["metrics"]["validation_loss"] == validation["validation_loss"]
    assert (metrics["counts"]["tasks"], metrics["counts"]["validation_tasks"]) == (8, 2)


def test_the_card_tells_where_the_adapter_comes_from(finished: Path, model: Path, data: Path) -> None:
    from hashlib import sha256

    [folder] = folders(finished)
    card = (folder / "adapter" / "README.md").read_text()
    assert sha256(data.read_bytes()).hexdigest() in card
    [code] = json.loads((folder / "metrics.json").read_text())["code"]
    assert f"(source {code['sha256'][:8]}" in card
    assert f"base_model: {model}" in card and f"prm.path={folder}/adapter" in card


def test_the_metrics_are_those_of_the_weights_that_are_kept(model: Path, data: Path, tmp_path: Path) -> None:
    words = ("trainer.max_epochs=2", "optimizer.lr=1.0", "tuning.rank=2")
    ran(model, data, tmp_path, *words, "callback.checkpoint.mode=max")
    [folder] = folders(tmp_path)
    metrics = json.loads((folder / "metrics.json").read_text())
    losses = {line["step"]: line["validation_loss"] for line in lines(folder / "validations.jsonl")}
    assert min(losses.values()) < max(losses.values()) == metrics["metrics"]["validation_loss"]
    assert losses[metrics["weights_step"]] == max(losses.values())
    assert f"Of the validation at update {metrics['weights_step']}:" in (folder / "adapter/README.md").read_text()


def test_a_training_that_ends_before_its_first_validation_says_so(model: Path, data: Path, tmp_path: Path) -> None:
    said = ran(model, data, tmp_path, "trainer.max_steps=1", "train.max_tokens_per_batch=150", "tuning.rank=2")
    assert "validation: 8 examples of 2 tasks" in said
    [folder] = folders(tmp_path)
    assert "Nothing was validated" in (folder / "log.txt").read_text()
    assert json.loads((folder / "metrics.json").read_text())["metrics"] == {}


def test_the_same_words_say_that_it_is_finished(
    finished: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is finished already" in ran(model, data, finished, "train.threads=2")
    [folder] = folders(finished)
    assert f"use it: prm=qwen7b prm.path={folder}/adapter" in capsys.readouterr().out


def test_a_merged_model_is_added_to_a_finished_run(finished: Path, model: Path, data: Path) -> None:
    ran(model, data, finished, "train.save_merged=true")
    [folder] = folders(finished)
    assert (folder / "merged" / "model.safetensors").is_file() and (folder / "merged" / "README.md").is_file()
    assert "is finished already" in ran(model, data, finished, "train.save_merged=true")


def test_the_adapter_that_training_goes_on_from_is_part_of_the_identity(
    finished: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    [folder] = folders(finished)
    changed = Path(shutil.copytree(folder / "adapter", tmp_path / "changed"))
    config_file = changed / "adapter_config.json"
    config_file.write_text(config_file.read_text() + "\n")
    copied = shutil.copytree(folder / "adapter", tmp_path / "copied")
    starts = (folder / "adapter", copied, changed)
    found = [dry(model, data, tmp_path, f"tuning.init_adapter={start}") for start in starts]
    assert found[0] == found[1] != found[2] != dry(model, data, tmp_path)


@pytest.mark.parametrize(
    "words, said",
    [
        (
            ("tuning.init_adapter=nowhere",),
            "tuning.init_adapter=nowhere has no adapter_config.json.* or smollm2_policy",
        ),
        (("tuning.init_adapter=smollm2_policy", "tuning=full"), "tuning=full trains none.* prm.path=FOLDER/merged"),
        (("prm.path=ADAPTER",), "prm.path=null tuning.init_adapter="),
    ],
)
def test_a_start_that_cannot_be_is_refused(
    finished: Path, model: Path, data: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    [folder] = folders(finished)
    with pytest.raises(CodeToolError, match=said):
        ran(model, data, tmp_path, *(word.replace("ADAPTER", f"{folder}/adapter") for word in words))


def dry(model: Path, data: Path, outputs: Path, *words: str) -> str:
    """The folder that the words lead to."""
    said = ran(model, data, outputs, "dry_run=true", *words)
    return said.split("results: ")[1].split(" (")[0]


def test_what_changes_the_weights_changes_the_folder(model: Path, data: Path, tmp_path: Path) -> None:
    other = process_file(tmp_path / "other.jsonl", 9)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(data.read_bytes())
    base = dry(model, data, tmp_path)
    same = [
        ("train.threads=2",),
        ("figures=[pdf]",),
        ("train.checkpoint_every_n_steps=3",),
        ("train.gradient_checkpointing=true",),
        (
            "trainer=ddp",
            *WORDS[:2],
            "+trainer.profiler=simple",
            "callback=[checkpoint,lr_monitor]",
        ),  # one process on a CPU
    ]
    assert {dry(model, data, tmp_path, *words) for words in same} == {base}
    assert dry(model, copy, tmp_path) == base
    changes = [
        ("seed=1",), ("limit=5",), ("trainer.max_epochs=2",), ("trainer.max_steps=3",), ("optimizer.lr=1e-4",),
        ("optimizer=sgd",), ("scheduler=linear",), ("callback=[checkpoint,early_stopping]",), ("tuning.rank=8",),
        ("tuning.base_dtype=bfloat16",), ("trainer.precision=bf16-mixed",), ("trainer.devices=2",),
        ("trainer.accumulate_grad_batches=2",), ("prm.labels=[no,yes]",), ("train.labels=hard",),
    ]  # fmt: skip
    found = [dry(model, data, tmp_path, *words) for words in changes] + [dry(model, other, tmp_path)]
    assert len({base, *found}) == len(found) + 1
    assert not (tmp_path / "train").exists()


def test_the_trees_of_a_task_in_two_files_are_two(model: Path, tmp_path: Path) -> None:
    from codetool.stages.train import train_dataset

    files = [process_file(tmp_path / name) for name in ("one.jsonl", "two.jsonl")]
    settings = config(model, files[0], tmp_path, f"train.files=[{files[0]},{files[1]}]", "train.val_fraction=0.5")
    made = train_dataset.load_dataset(settings, model, train_dataset.encode_labels(settings, model))
    groups = Counter((each.task_id, each.group) for each in made.judged)
    assert set(groups.values()) == {2} and len(groups) == 2 * 2 * made.tasks[1]
    assert len(made.judged) == len(made.validation)


def test_data_with_another_prompt_are_told_of(
    model: Path, data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ran(model, data, tmp_path, "dry_run=true")
    assert "another prompt than the PRM" in caplog.text
    caplog.clear()
    ran(model, data, tmp_path, "dry_run=true", "prm.prompt.system=You judge the steps")
    assert "another prompt" not in caplog.text


@pytest.mark.parametrize(
    ("words", "unread"),
    [
        (("tuning=full",), ("tuning.rank=8", "tuning.alpha=8", "tuning.dropout=0.5", "tuning.modules=[q_proj]")),
        (("train.val_files=[OTHER]",), ("train.val_fraction=0.5",)),
        (("train.val_fraction=0",), ("trainer.val_check_interval=0.5", "callback=none")),
        (("train.target=policy",), ("policy_prompt@policy.prompt=compact", "prm=none")),
    ],
)
def test_what_is_not_read_leaves_the_folder(
    model: Path, data: Path, tmp_path: Path, words: tuple[str, ...], unread: tuple[str, ...]
) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(process_file(tmp_path / "all.jsonl").read_text().replace('"task_id":"t', '"task_id":"u'))
    words = tuple(word.replace("OTHER", str(other)) for word in words)
    if "train.target=policy" in words:
        data = transcripts_file(tmp_path / "transcripts.jsonl")
    assert {dry(model, data, tmp_path, *words, word) for word in unread} == {dry(model, data, tmp_path, *words)}


def test_a_dry_run_counts(model: Path, data: Path, tmp_path: Path) -> None:
    assert "32 examples of 8 tasks" in ran(model, data, tmp_path, "dry_run=true")
    assert "16 examples of 4 tasks" in ran(model, data, tmp_path, "dry_run=true", "limit=5")
    said = ran(model, data, tmp_path, "dry_run=true", "train.max_length=60")
    assert "left out: longer than train.max_length" in said


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("prm=none",), ConfigError, "Choose prm=smollm2"),
        (("prm=random",), ConfigError, "Choose prm=smollm2"),
        (("prm=pairwise",), ConfigError, "prm=pairwise compares two"),
        (("train.target=policy", "policy=openai"), ConfigError, "Choose policy=smollm2"),
        (("train.target=policy", "policy=replay"), ConfigError, "Choose policy=smollm2"),
        (("train.target=policy",), ConfigError, "Choose that, or name a transcripts.jsonl"),
        (
            ("train.target=policy", "objective=dpo"),
            ConfigError,
            "Choose that, or name a policy_steps.jsonl",
        ),
        (("objective=grpo",), ConfigError, "objective= is what a policy learns"),
        (("train.files=[]",), ConfigError, "train.files is not set"),
        (("train.files=[nowhere]",), MissingError, "nowhere is not there"),
        (("train.max_length=3",), ConfigError, "train.max_length"),
        (("prm.labels=[yes,indeed]",), ConfigError, "'indeed' is"),
        (("prm.sees_observation=true",), ConfigError, "do not hold what the steps did"),
        (("train.add_label_tokens=true",), ConfigError, "needs tuning=full"),
        (("train.add_label_tokens=true", "tuning=full"), ConfigError, "is a token of the model already"),
        (("train.save_merged=true", "tuning=full"), ConfigError, "no adapter to merge"),
        (("trainer.strategy=ddp_spawn", "trainer.devices=2"), ConfigError, "by fork or spawn, which cannot"),
        (("trainer=deepspeed", "trainer.accelerator=cpu"), MissingError, "pip install deepspeed"),
        (("tuning.modules=[nothing]",), ConfigError, "tuning.modules"),
    ],
)
def test_what_cannot_be_trained_is_told(
    model: Path, data: Path, tmp_path: Path, words: tuple[str, ...], error: type[CodeToolError], message: str
) -> None:
    taken = [word for word in words if word.startswith(("prm=", "policy="))]
    with pytest.raises(error, match=message.replace("(", r"\(")):
        if taken:
            from codetool.config.overrides import compose_all
            from codetool.config.run_config import validate

            [composed] = compose_all(["stage=train", f"train.files=[{data}]", f"outputs={tmp_path}", *words])
            train(validate(composed), choices(), Console(file=io.StringIO()))
        else:
            ran(model, data, tmp_path, *words)


def test_siblings_that_are_all_alike_are_told(model: Path, tmp_path: Path) -> None:
    alike = [replace(step, soft=0.5, hard=True, reward=None) for tree in policy_steps(3) for step in tree]
    save_policy_steps(tmp_path / "policy_steps.jsonl", [alike], Sampling(0.9, 0.95, 64))
    for objective, message in {
        "dpo": "no two siblings of 18 steps differ in objective.estimate=soft by more than "
        "objective.min_margin=0; sample more, search.n=4",
        "grpo": "all siblings have the same reward",
    }.items():
        with pytest.raises(ConfigError, match=message):
            ran(model, tmp_path / "policy_steps.jsonl", tmp_path, "train.target=policy", f"objective={objective}")
    assert not list(tmp_path.rglob("provenance.json"))  # no run has begun, also for loggers


def test_transcripts_are_no_process_data(model: Path, tmp_path: Path) -> None:
    file = transcripts_file(tmp_path / "transcripts.jsonl")
    with pytest.raises(ConfigError, match="Choose that, or name a process.jsonl"):
        ran(model, file, tmp_path)


def test_labels_that_no_adapter_can_teach_are_refused(data: Path, tmp_path: Path) -> None:
    import torch

    made = tiny_models.save("llama", tmp_path / "model")
    with torch.no_grad():
        made.get_input_embeddings().weight[260] *= 1e-4
    made.save_pretrained(tmp_path / "model")
    with pytest.raises(ConfigError, match="never trained on"):
        ran(tmp_path / "model", data, tmp_path)
    [stopped] = folders(tmp_path)
    assert "never trained on" in (stopped / "log.txt").read_text()
    assert not list(stopped.rglob("*.safetensors"))
    assert "it may do" in ran(tmp_path / "model", data, tmp_path, "tuning=full")


def test_qlora_names_the_package_that_it_needs(model: Path, data: Path, tmp_path: Path) -> None:
    from importlib.util import find_spec

    if find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(MissingError, match="pip install bitsandbytes"):
        ran(model, data, tmp_path, "tuning=qlora")


def test_a_stopped_command_goes_on(run: CommandLine, model: Path, data: Path) -> None:
    own = ["stage=train", "prm=qwen7b", f"prm.model={model}", f"train.files=[{data}]", "trainer.max_epochs=20", *WORDS]
    process = run.start(*own)
    until = time.monotonic() + 100
    while not list(run.outputs.glob("train/*/losses.jsonl")) or not lines(
        next(run.outputs.glob("train/*/losses.jsonl"))
    ):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in said and "Traceback" not in said
    assert not [
        line for line in said.splitlines() if "Lightning" in line or "GPU available" in line or "Warning" in line
    ]
    [folder] = folders(run.outputs)
    before = len(lines(folder / "losses.jsonl"))
    done = run(*own)
    assert done.returncode == 0
    steps = [line["step"] for line in lines(folder / "losses.jsonl")]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) > before
    used = next(line for line in done.stdout.splitlines() if line.startswith("use it: "))
    assert shlex.split(used)[2:4] == ["prm=qwen7b", f"prm.path={folder}/adapter"]


def test_a_trained_policy_says_how_it_is_used(run: CommandLine, model: Path, tmp_path: Path) -> None:
    of_policy = ("policy=qwen7b", f"policy.model={model}", "policy_prompt@policy.prompt=compact")
    words = ("stage=train", "train.target=policy", *of_policy)
    done = run(*words, f"train.files=[{transcripts_file(tmp_path / 'transcripts.jsonl')}]", *WORDS)
    assert done.returncode == 0, done.stderr
    [folder] = folders(run.outputs)
    used = shlex.split(next(line for line in done.stdout.splitlines() if line.startswith("use it: ")))[2:]
    expected = {"policy=qwen7b", f"policy.path={folder}/adapter", f"policy.model={model}", words[-1]}
    assert set(used[used.index("policy=qwen7b") :]) == expected
    assert run(*used, "dry_run=true").returncode == 0


@pytest.mark.slow
def test_two_processes_by_command_line(run: CommandLine, model: Path, data: Path) -> None:
    words = ("stage=train", "prm=qwen7b", f"prm.model={model}", f"train.files=[{data}]", "trainer=fsdp", *WORDS)
    done = run(*words)
    assert done.returncode == 0, done.stderr
    [folder] = folders(run.outputs)
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert not list(folder.glob("process-*")) and os.environ.get("LOCAL_RANK") is None


AT_ONCE = "raise SystemExit('no luck')"
LATER = """
import sys, threading, time
def fail():
    while not getattr(sys.modules.get('torch.distributed'), 'is_initialized', bool)():
        time.sleep(0.01)
    print('SystemExit: no luck', file=sys.stderr, flush=True)
    os._exit(1)
threading.Thread(target=fail, daemon=True).start()
"""


@pytest.mark.slow
@pytest.mark.parametrize("fails", [AT_ONCE, LATER], ids=["at once", "once the processes have met"])
def test_a_process_that_fails_is_told_of_and_the_same_command_goes_on(
    run: CommandLine, model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """The first process ends by itself where the others cannot be met, and by its own error where they are gone."""
    (tmp_path / "shadow").mkdir()
    second = "import os\nif os.environ.get('LOCAL_RANK') == '1':\n" + textwrap.indent(fails, "    ")
    (tmp_path / "shadow" / "sitecustomize.py").write_text(second)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    words = ("stage=train", "prm=qwen7b", f"prm.model={model}", f"train.files=[{data}]", "trainer=ddp", *WORDS)
    done = run(*words, "trainer.devices=2")
    told = "error: Rank 1 of the training ended with exit code 1; what it said is above. The same command continues"
    assert done.returncode == 1 and "no luck" in done.stderr and told in done.stderr
    assert "Traceback" not in done.stderr.partition(told)[2] and "zombies" not in done.stderr
    monkeypatch.delenv("PYTHONPATH")
    again = run(*words, "trainer.devices=2")
    assert again.returncode == 0, again.stderr


def test_the_prompt_that_the_data_were_written_with_lies_beside_the_adapter(
    model: Path, data: Path, tmp_path: Path
) -> None:
    made = config(model, data, tmp_path).prm
    [system, _] = made.prompt.prefix_messages(Task("", "", ()), ())
    own = tmp_path / "process.jsonl"
    own.write_text(data.read_text().replace(json.dumps("You judge the steps"), json.dumps(system["content"])))
    ran(model, own, tmp_path)
    [folder] = folders(tmp_path)
    assert trained_prompt.load_prompt_record(folder / "adapter") == trained_prompt.describe_prompt(made.prompt)


def test_data_of_another_prompt_leave_the_adapter_without_one(finished: Path) -> None:
    [folder] = folders(finished)
    assert trained_prompt.load_prompt_record(folder / "adapter") is None


def damaged_copy(finished: Path, outputs: Path) -> Path:
    """A copy of a finished run whose summary and last checkpoint are cut off, with a loss written 30 times."""
    shutil.copytree(finished, outputs)
    [folder] = folders(outputs)
    for file in (folder / "metrics.json", folder / "checkpoints" / "last.ckpt"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    losses = (folder / "losses.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "losses.jsonl").write_bytes(b"".join([losses[0]] * 30 + losses))
    return folder


def test_a_damaged_checkpoint_costs_a_new_training_and_no_traceback(
    finished: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    folder = damaged_copy(finished, tmp_path / "outputs")
    said = ran(model, data, tmp_path / "outputs")
    assert "last.ckpt is damaged (" in said and "Moved to last.ckpt.damaged; training starts anew." in said
    assert "metrics.json is damaged; it is written anew" in said
    [whole] = folders(finished)
    for name in ("losses.jsonl", "validations.jsonl"):
        without_time = [[{**line, "seconds": 0} for line in lines(each / name)] for each in (folder, whole)]
        assert without_time[0] == without_time[1]
    assert json.loads((folder / "metrics.json").read_text())["metrics"]
    name = "adapter/adapter_model.safetensors"
    assert (folder / name).read_bytes() == (whole / name).read_bytes()


def test_a_damaged_loss_is_one_message(finished: Path, model: Path, data: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "outputs")
    [folder] = folders(tmp_path / "outputs")
    (folder / "metrics.json").unlink()
    with (folder / "losses.jsonl").open("ab") as file:
        file.write(b"\0\0\0\n")
    with pytest.raises(ConfigError, match=r"losses\.jsonl: 1 line is damaged: .*Restore the file from a copy"):
        ran(model, data, tmp_path / "outputs")


def test_a_checkpoint_without_its_losses_is_one_message(
    finished: Path, model: Path, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "outputs")
    [folder] = folders(tmp_path / "outputs")
    (folder / "metrics.json").unlink()
    (folder / "losses.jsonl").unlink()
    with pytest.raises(
        ConfigError, match=r"losses\.jsonl holds 0 of the \d+ losses until the last checkpoint\. Restore"
    ):
        ran(model, data, tmp_path / "outputs")
