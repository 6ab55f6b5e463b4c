"""Benchmark: LoRA training on rollout trees, with our three batching modes and with TRL's SFTTrainer.

Usage: python experiments/performance/tree_training.py [--trees 2] [--every 6] [--tokens 2500] [--threads 2]

TRL is needed only here: `pip install trl` (written for 1.16; it installs datasets and pyarrow).

SmolLM2-135M in bfloat16 with LoRA r = 16 on all linear layers learns one label token after each judged step. The data
are whole trees with n = 2 and depth 5 (synthetic_rollouts.py). `tree` trains on all their nodes, one tree per update.
The other modes take several times as long, so they train on every sixth node, which has the same length distribution,
with four nodes per update and forward pass; `tree_same` trains on exactly these nodes in the same updates, to compare
losses. TRL gets the same tokens, a loss on the label only, and its own defaults except for what both sides must share
(learning rate, no schedule, order). `trl_kept` stores the activations that TRL recomputes by default, and
`trl_padding_free` concatenates the examples of a batch. Each side runs in its own process; loading is not included in
the times, optimizer steps are.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from codetool.training.sft_examples import SFTExample, Target

RESULTS = Path(__file__).parent / "results"
OURS = ("tree", "packed", "padded", "tree_same")
THEIRS = ("trl", "trl_kept", "trl_padding_free")
ORDER = ("tree", "trl_kept", "packed", "trl", "tree_same", "padded", "trl_padding_free", "tree")
AN_UPDATE = 4
"""Examples of one update of all but `tree`."""
RATE = 1e-3
RANK, ALPHA = 16, 32


def workload(trees: int) -> dict[str, Any]:
    """Return the nodes of the trees as tokens, the tokens of the labels, and their lengths."""
    from synthetic_rollouts import examples

    from codetool.config.overrides import compose_all
    from codetool.config.run_config import validate
    from codetool.models.chat_template import ChatTokenizer
    from codetool.models.smollm2 import ensure_smollm2
    from codetool.stages.train.prm_targets import read_targets
    from codetool.training.sft_examples import build_prm_examples

    chat, made = ChatTokenizer(ensure_smollm2()), examples(trees)
    prompt = validate(compose_all(["stage=collect"])[0]).collect.prompt
    read = [list(build_prm_examples(tree, prompt, chat, read_targets(tree, "label"))) for tree in made]
    steps = [len(chat.tokenize(node.step)) for tree in made for node in tree]
    starts = [len(chat.encode([dict(message) for message in tree[0].prefix])) for tree in made]
    return {
        "labels": [chat.tokenize(label)[0] for label in ("yes", "no")],
        "trees": [[(each.tokens, each.targets[0].label_prob) for each in tree] for tree in read],
        "sizes": {
            "nodes": [len(tree) for tree in made],
            "tokens_before_the_first_step": starts,
            "mean_tokens_of_a_step": round(sum(steps) / len(steps)),
            "mean_tokens_of_a_prompt": round(sum(len(e.tokens) for t in read for e in t) / sum(map(len, read))),
        },
    }


def updates(work: dict[str, Any], side: str, every: int) -> list[list[SFTExample]]:
    """Return the examples of each update."""
    trees = [
        [SFTExample(f"{i}", tuple(tokens), (Target(len(tokens) - 1, label_prob=share),)) for tokens, share in tree]
        for i, tree in enumerate(work["trees"])
    ]
    if side == "tree":
        return trees
    some = [each for tree in trees for each in tree][::every]
    count = len(some) // AN_UPDATE
    return [some[i : count * AN_UPDATE : count] for i in range(count)]


def ours(side: str, work: dict[str, Any], every: int, room: int) -> dict[str, Any]:
    """Run our training module, update by update."""
    import torch

    from codetool.config.overrides import compose_all
    from codetool.config.run_config import validate
    from codetool.models.smollm2 import ensure_smollm2
    from codetool.training.batch import Batching, arrange_rows, build_batch
    from codetool.training.module import SFT

    tuning = validate(compose_all(["stage=train", f"tuning.rank={RANK}", f"tuning.alpha={ALPHA}"])[0]).tuning
    batching: Batching = cast(Batching, "tree" if side == "tree_same" else side)
    module = SFT(str(ensure_smollm2()), asdict(tuning), {}, {}, 1, labels=work["labels"], loss="vocabulary")
    module.configure_model()
    module.train()
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
    module.losses(build_batch(arrange_rows([[_warm()]], "tree", room)[0], 1.0)).sum().backward()
    optimizer.zero_grad()
    losses, computed, clock = [], 0, _Clock()
    for examples in updates(work, side, every):
        passes = arrange_rows([examples], batching, room)
        loss = 0.0
        for rows in passes:
            made = build_batch(rows, float(len(examples)))
            part = module.losses(made).sum() / made.total_weight
            part.backward()
            loss += part.item()
            computed += made.tokens.numel()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    return clock.figures(sum(map(len, updates(work, side, every))), computed, losses)


def trl(side: str, work: dict[str, Any], every: int, room: int) -> dict[str, Any]:
    """Run TRL's trainer on the same examples in the same updates."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from codetool.models.smollm2 import ensure_smollm2

    rows = []
    for each in (each for examples in updates(work, side, every) for each in examples):
        label = work["labels"][0 if each.targets[0].label_prob else 1]
        rows.append({"input_ids": [*each.tokens, label], "completion_mask": [0] * len(each.tokens) + [1]})
    lengths = [len(row["input_ids"]) for row in rows]
    batches = [lengths[i : i + AN_UPDATE] for i in range(0, len(lengths), AN_UPDATE)]
    padded = sum(len(some) * max(some) for some in batches)
    clock = _Clock()

    class Started(TrainerCallback):  # type: ignore[misc, unused-ignore]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            clock.stop()

    own: dict[str, Any] = {} if side == "trl" else {"gradient_checkpointing": False}
    own |= {"padding_free": True} if side == "trl_padding_free" else {}
    settings = SFTConfig(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=AN_UPDATE, num_train_epochs=1, learning_rate=RATE,
        lr_scheduler_type="constant", max_length=None, completion_only_loss=True, bf16=True, use_cpu=True,
        logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True, train_sampling_strategy="sequential",
        **own,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(ensure_smollm2(), dtype=torch.bfloat16),
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(ensure_smollm2()),
        peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
        callbacks=[Started()],
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return clock.figures(len(rows), sum(lengths) if side == "trl_padding_free" else padded, losses)


class _Clock:
    """Wall and CPU seconds since the start."""

    def __init__(self) -> None:
        self._stopped: tuple[float, float] | None = None
        self.start()

    def start(self) -> None:
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self._stopped = time.perf_counter() - self._began[0], time.process_time() - self._began[1]

    def figures(self, examples: int, tokens: int, losses: Sequence[float]) -> dict[str, Any]:
        if self._stopped is None:
            self.stop()
        seconds, computing = self._stopped or (0.0, 0.0)
        return {
            "labelled_steps": examples,
            "tokens_computed": tokens,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(computing, 1),
            "labelled_steps_per_second": round(examples / seconds, 3),
            "labelled_steps_per_cpu_second": round(examples / computing, 3),
            "tokens_computed_per_second": round(tokens / seconds),
            "peak_memory_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1),
            "losses": [round(loss, 4) for loss in losses],
        }


def _warm() -> SFTExample:
    return SFTExample("warm", tuple(range(100, 164)), (Target(63, label_prob=1.0),))


def main() -> None:
    """Run the sides one after the other, print and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--trees", 2), ("--every", 6), ("--tokens", 2500), ("--threads", 2)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--sides", nargs="*", default=list(ORDER), choices=(*OURS, *THEIRS))
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        import torch

        torch.set_num_threads(options.threads)
        torch.manual_seed(0)
        run: Callable[..., dict[str, Any]] = ours if options.side in OURS else trl
        print(json.dumps(run(options.side, json.loads(options.work.read_text()), options.every, options.tokens)))
        return
    sizes = {name: getattr(options, name) for name in ("trees", "every", "tokens", "threads")}
    work = workload(options.trees)
    found: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.json"
        file.write_text(json.dumps(work))
        for side in options.sides:
            words = ["--side", side, "--work", str(file)]
            words += [word for name, value in sizes.items() for word in (f"--{name}", str(value))]
            done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
            if done.returncode:
                print(f"{side} failed: {done.stderr[-1500:]}", file=sys.stderr)
                continue
            found.setdefault(side, []).append(json.loads(done.stdout.splitlines()[-1]))
            print(side, json.dumps(found[side][-1]), flush=True)
    report(sizes, work["sizes"], found)


def report(sizes: dict[str, int], lengths: dict[str, Any], found: dict[str, list[dict[str, Any]]]) -> None:
    """Print and store the figures; if a side ran several times, its slowest run counts in the ratios."""
    import torch

    speeds = {side: min(run["labelled_steps_per_second"] for run in runs) for side, runs in found.items()}
    computing = {side: min(run["labelled_steps_per_cpu_second"] for run in runs) for side, runs in found.items()}
    figures = {
        "command": "python experiments/performance/tree_training.py",
        "sizes": sizes | lengths,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
        "torch": torch.__version__,
        "sides": found,
        "tree_times_faster_than": {
            side: {"seconds": round(speeds["tree"] / speeds[side], 1),
                   "cpu_seconds": round(computing["tree"] / computing[side], 1)}
            for side in speeds if side not in ("tree", "tree_same") and "tree" in speeds
        },
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tree_training.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures["tree_times_faster_than"], indent=2))


if __name__ == "__main__":
    main()
