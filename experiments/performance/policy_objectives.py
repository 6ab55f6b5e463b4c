"""Benchmark: updates of a policy by dpo and grpo on rollout trees, with our tree-packed passes and with TRL's trainers.

Usage: python experiments/performance/policy_objectives.py dpo|grpo [--trees 1] [--layers 4] [--every 5] [--rounds 3]

TRL is needed only here: `pip install trl` (written for 1.16; it installs datasets and pyarrow).

A Llama of two thirds of SmolLM2-135M's width, whose layers have four times the weights of its head, as SmolLM2's have,
with random weights in float32 and LoRA r = 16 on all linear layers learns the steps of synthetic trees
(synthetic_rollouts.py). The tokens are SmolLM2's, numbered anew for a smaller vocabulary. Both sides run in this
process, one thread, in turns, and start each round with the same adapter, which is not zero. A round of ours is an
update on all steps of whole trees, the reference's log-probabilities of dpo included; a round of TRL is an update on
every fifth pass of the same groups, four steps a pass, sorted by length so that there is little padding; these steps
have a tenth fewer tokens than the mean. Both count the CPU seconds from token lists to the optimizer's step;
tokenization, sampling and loading are not part of it. TRL keeps activations instead of recomputing them, which is
faster than its default, and neither logs nor saves.

- dpo: DPOTrainer's `training_step`. It computes the reference in every pass (`trl`); `trl_precomputed` is handed its
  log-probabilities, as from `precompute_ref_log_probs=True`, without the time that they took.
- grpo: GRPOTrainer's `training_step`, with the recorded completions, their log-probabilities and our advantages where
  it would generate and score. Our reward of a group and TRL's differ, the clipped loss of given advantages does not:
  `loss_type=grpo` is `token_weight=step`, each step's mean over its tokens.

Before the rounds, every pass of TRL is compared with ours on the same steps: the loss, and the adapter's gradient.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from policy_steps_to_learn import ROOM, SEED, Objective, Work, build_module, compute_reference, prepare_work
from torch import Tensor
from trl_policy_trainer import TRL

from codetool.training.batch import arrange_rows, build_batch

RESULTS = Path(__file__).parent / "results"
RATE = 1e-4


class Ours:
    """Our training module."""

    def __init__(self, work: Work) -> None:
        """Load the base model."""
        self.work, self.module = work, build_module(work.folder)
        self.module._step_loss = work.made.loss
        self.model = self.module.trained.model

    def compute_gradients(self, steps: Sequence[int] | None = None) -> tuple[float, int]:
        """Add the gradients of the loss of some steps, None for all; return it and the number of tokens computed."""
        examples = [e for e in self.work.made.examples if steps is None or e.targets[0].example_index in steps]
        assert self.work.made.loss is not None
        if self.work.made.loss.reads_initial:
            self.module.initial = compute_reference(self.module, examples)
        passes = arrange_rows([examples], "tree", ROOM)
        total, loss, tokens = sum(row.weight for rows in passes for row in rows), 0.0, 0
        for rows in passes:
            batch = build_batch(rows, total)
            part = self.module.compute_losses(batch).sum_weighted(batch, 0.0) / total
            part.backward()
            loss, tokens = loss + part.item(), tokens + batch.tokens.numel()
        return loss, tokens


def reset(model: Any, adapter: Mapping[str, Tensor]) -> list[Tensor]:
    """Give the adapter its first weights, and return the trained weights without gradients."""
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert weights.keys() == adapter.keys()
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(adapter[name])
            weight.grad = None
    return list(weights.values())


def compare_losses(ours: Ours, theirs: TRL, passes: Sequence[Sequence[tuple[int, int]]]) -> dict[str, Any]:
    """Return the losses of each pass of both sides, and how far they and the gradients are apart."""
    rows = []
    for groups in passes:
        own, other = reset(ours.model, ours.work.adapter), reset(theirs.model, theirs.work.adapter)
        loss, _ = ours.compute_gradients([i for group in groups for i in group])
        [expected], _ = theirs.compute_gradients([groups])
        first, second = (torch.cat([weight.grad.flatten() for weight in some]) for some in (own, other))
        rows.append((loss, expected, float((first - second).norm() / second.norm())))
    return {
        "ours": [round(loss, 6) for loss, _, _ in rows],
        "trl": [round(expected, 6) for _, expected, _ in rows],
        "largest_difference_of_losses": max(abs(loss - expected) for loss, expected, _ in rows),
        "largest_relative_difference_of_gradients": max(difference for _, _, difference in rows),
    }


def measure(side: Ours | TRL, passes: Any, steps: int) -> dict[str, Any]:
    """Return the figures of one update from the first weights."""
    weights = reset(side.model, side.work.adapter)
    optimizer = torch.optim.AdamW(weights, lr=RATE, weight_decay=0.0)
    wall, computing = time.perf_counter(), time.process_time()
    _, tokens = side.compute_gradients(passes)
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    computing = time.process_time() - computing
    return {
        "labelled_steps": steps,
        "tokens_computed": tokens,
        "seconds": round(time.perf_counter() - wall, 2),
        "cpu_seconds": round(computing, 2),
        "labelled_steps_per_cpu_second": round(steps / computing, 3),
    }


def run_rounds(ours: Ours, theirs: TRL, objective: Objective, every: int, rounds: int) -> dict[str, list[Any]]:
    """Measure the sides in turns."""
    found: dict[str, list[Any]] = {}
    passes = ours.work.select_passes(every)
    table = ours.module.initial
    if objective == "dpo":
        table = compute_reference(ours.module, ours.work.made.examples)
    for _ in range(rounds):
        found.setdefault("tree", []).append(measure(ours, None, len(ours.work.made.examples)))
        for side in ("trl", "trl_precomputed") if objective == "dpo" else ("trl",):
            if objective == "dpo":
                theirs.precompute_reference(table if side == "trl_precomputed" else None)
            found.setdefault(side, []).append(measure(theirs, passes, sum(len(g) * 2 for g in passes)))
        print(json.dumps({side: runs[-1] for side, runs in found.items()}), flush=True)
    return found


def main() -> None:
    """Compare the losses, measure the sides in turns, and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("objective", choices=("dpo", "grpo"))
    for name, default in (("--trees", 1), ("--layers", 4), ("--every", 5), ("--rounds", 3)):
        parser.add_argument(name, type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = prepare_work(options.objective, options.trees, Path(folder), options.layers)
        ours, theirs = Ours(work), TRL(options.objective, work)
        torch.set_num_threads(1)
        losses = compare_losses(ours, theirs, work.select_passes(options.every))
        print(json.dumps(losses), flush=True)
        found = run_rounds(ours, theirs, options.objective, options.every, options.rounds)
    report(options, work, losses, found)


def report(options: Any, work: Work, losses: Mapping[str, Any], found: Mapping[str, Sequence[Any]]) -> None:
    """Print and store the figures; our slowest round is compared with the fastest of the others."""
    speeds = {side: [run["labelled_steps_per_cpu_second"] for run in runs] for side, runs in found.items()}
    tokens = [(list(step.prompt), list(step.completion)) for _, step in sorted(work.steps.items())]
    prompts = [len(step.prompt) for step in work.steps.values()]
    figures = {
        "command": " ".join(["python experiments/performance/policy_objectives.py", *sys.argv[1:]]),
        "sizes": {name: getattr(options, name) for name in ("trees", "layers", "every", "rounds")}
        | {"labelled_steps": len(work.steps), "groups": len(work.groups), "mean_tokens_of_a_prompt":
           round(statistics.mean(prompts)), "mean_tokens_of_a_step": round(statistics.mean(len(c) for _, c in tokens))},
        "seed": SEED,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[1], 1),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "trl")},
        "sha256_of_tokens": hashlib.sha256(json.dumps(tokens).encode()).hexdigest(),
        "same_steps": losses,
        "sides": found,
        "tree_times_faster_than": {
            side: round(min(speeds["tree"]) / max(speeds[side]), 1) for side in speeds if side != "tree"
        },
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"policy_objectives_{options.objective}.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures["tree_times_faster_than"], indent=2))


if __name__ == "__main__":
    main()
