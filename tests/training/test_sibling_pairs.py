"""The pairwise loss: which siblings are compared, that they stand in one pass, and what the loss comes to."""

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch
import training_jobs

from codetool.errors import ConfigError
from codetool.model_types import ProcessExample
from codetool.process_data import examples
from codetool.process_data.examples import number_trees
from codetool.stages.train.prm_targets import choose_targets
from codetool.training.batch import arrange_rows, build_batch
from codetool.training.packing import pack_examples
from codetool.training.prm_losses import PassLosses, combine_sums, compute_pair_losses
from codetool.training.sft_examples import SFTExample, Target
from codetool.training.sibling_pairs import TargetPair, list_pairs, sum_pair_weights

BATCHINGS = ("padded", "packed", "tree")


def target(value: float, group: str, weight: float = 1.0) -> Target:
    return Target(0, weight, label_prob=value, group=group)


def process(task: str, node: str, soft: float, label: bool | None = None, times: int = 1) -> ProcessExample:
    group = node.rpartition("-")[0] or "0"
    return ProcessExample(task, node, group, (), "", True, soft, soft > 0, soft, label, times)


def random_tasks(seed: int) -> list[list[SFTExample]]:
    """Trees of which each step has up to three children."""
    draw = random.Random(seed)

    def grow(task: str, path: tuple[int, ...], name: str, left: int) -> list[SFTExample]:
        children = [(*path, *(draw.randrange(9) for _ in range(draw.randint(1, 5)))) for _ in range(draw.randint(1, 3))]
        made = [SFTExample(task, child, (target(draw.random(), name),)) for child in children]
        below = [grow(task, child, f"{name}-{place}", left - 1) for place, child in enumerate(children) if left]
        return [*made, *(each for part in below for each in part)]

    return [grow(f"t{task}", tuple(draw.randrange(9) for _ in range(6)), f"t{task}", 2) for task in range(4)]


def test_siblings_whose_values_differ_are_pairs_weighted_by_how_often_both_were_sampled() -> None:
    targets = [
        target(0.5, "a", 2.0), target(0.5, "a"), target(1.0, "a", 3.0), target(0.0, "b"), target(1.0, ""),
    ]  # fmt: skip
    assert list_pairs(targets) == [TargetPair(2, 0, 6.0), TargetPair(2, 1, 3.0)]


@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize("seed", range(3))
def test_no_sibling_group_is_split_and_a_pass_is_as_large_as_allowed_at_most(seed: int, batching: str) -> None:
    tasks = random_tasks(seed)
    passes = arrange_rows(tasks, batching, 40)  # type: ignore[arg-type]
    groups = [{target.group for row in rows for target in row.targets} for rows in passes]
    assert len(passes) > 2 and sum(map(len, groups)) == len(set().union(*groups))
    assert sum(len(row.targets) for rows in passes for row in rows) == sum(map(len, tasks))
    for rows, group in zip(passes, groups, strict=True):
        length = sum(len(row.tokens) for row in rows)
        assert max(length, len(rows) * max(len(row.tokens) for row in rows)) <= 40 or len(group) == 1
    pairs = sum(len(list_pairs([target for row in rows for target in row.targets])) for rows in passes)
    assert pairs == len(list_pairs([each.targets[0] for task in tasks for each in task])) > 10


def test_a_pass_of_siblings_shares_prefixes_as_any_other() -> None:
    [first, *_] = random_tasks(5)
    [[row]] = arrange_rows([first], "tree", 1000)
    [alike] = pack_examples([first], 1000, share=True)
    assert row.tokens == alike.tokens and row.subtree_ends == alike.subtree_ends


def test_the_loss_of_a_pair_is_the_negative_log_probability_that_the_better_step_wins() -> None:
    differences = torch.tensor([1.0, -0.5, 2.0])
    losses = compute_pair_losses(differences, torch.tensor([[0, 1], [1, 2]]))
    assert losses.tolist() == pytest.approx([-math.log(1 / (1 + math.exp(-1.5))), -math.log(1 / (1 + math.exp(2.5)))])


def test_passes_add_up_to_the_loss_of_their_update() -> None:
    tasks = random_tasks(1)
    passes = arrange_rows(tasks, "tree", 40)
    totals = sum(row.weight for rows in passes for row in rows), sum(map(sum_pair_weights, passes))
    parts, sums = 0.0, torch.zeros(4, dtype=torch.float64)
    pointwise = pairwise = 0.0
    for number, rows in enumerate(passes):
        batch = build_batch(rows, *totals)
        losses = PassLosses(
            torch.full((len(batch.weights),), 1.0 + number), torch.full((len(batch.pairs),), 2.0 - number)
        )
        parts += float(losses.sum_weighted(batch, 0.25)) / totals[0]
        sums += losses.count_sums(batch)
        pointwise += (1.0 + number) * len(batch.weights) / totals[0]
        pairwise += (2.0 - number) * len(batch.pairs) / totals[1]
    assert parts == pytest.approx(0.75 * pointwise + 0.25 * pairwise, rel=1e-5)
    assert combine_sums(sums, 0.25) == pytest.approx(parts, rel=1e-5)


def test_trees_of_one_task_in_two_files_are_not_compared(tmp_path: Path) -> None:
    steps = [process("t", "1", 0.5), process("t", "2", 1.0), process("u", "1", 0.5), process("t", "1", 0.0)]
    assert number_trees(steps) == [0, 0, 1, 2]
    config = training_jobs.config(tmp_path, tmp_path, tmp_path, "train.loss=pairs")
    groups = [found.group for found in choose_targets(steps, config.train) if found]
    assert groups == ["0 0", "0 0", "1 0", "2 0"]


def test_pairs_alone_leave_out_steps_that_differ_from_no_sibling(tmp_path: Path) -> None:
    steps = [
        process("t", "1", 0.5),
        process("t", "2", 1.0, times=3),
        process("t", "1-1", 0.5),
        process("t", "1-2", 0.5),
    ]
    alone = training_jobs.config(tmp_path, tmp_path, tmp_path, "train.loss=pairs", "train.pairs_weight=1").train
    assert [found and found.weight for found in choose_targets(steps, alone)] == [1.0, 3.0, None, None]
    mixed = training_jobs.config(tmp_path, tmp_path, tmp_path, "train.loss=pairs").train
    assert all(choose_targets(steps, mixed))


def test_pairs_alone_without_a_pair_are_refused(tmp_path: Path) -> None:
    tiny_models.save("llama", tmp_path / "model")
    data = training_jobs.process_file(tmp_path / "process.jsonl", tasks=2)
    examples.save_examples(data, [replace(each, soft=0.5) for each in examples.load_examples((data,))])
    words = ("train.loss=pairs", "train.pairs_weight=1")
    with pytest.raises(ConfigError, match="no two siblings differ; try train.pairs_weight=0.5"):
        training_jobs.job(training_jobs.config(tmp_path / "model", data, tmp_path / "out", *words), tmp_path / "run")
