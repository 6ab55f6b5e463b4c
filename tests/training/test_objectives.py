"""Objectives of a policy: advantages and losses by hand, and packed passes against the loss of one step at a time."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from training_jobs import policy_steps
from transformers import AutoModelForCausalLM

from codetool.errors import ConfigError
from codetool.model_types import PolicyStep
from codetool.models.chat_template import ChatTokenizer
from codetool.process_data.transcripts import Transcript
from codetool.training.batch import arrange_rows, build_batch
from codetool.training.fork_advantages import Advantages, AdvantageSettings, compute_advantages
from codetool.training.module import SFT
from codetool.training.objectives.dpo import DPOConfig, DPOLoss, StepPair
from codetool.training.objectives.grpo import GRPOConfig, GRPOLoss
from codetool.training.objectives.sft import SFTConfig
from codetool.training.policy_examples import PolicyExamples, encode_steps
from codetool.training.step_loss import TokenOutputs, compute_entropies
from codetool.training.trainable_model import TrainableModel, load_trainable_model
from codetool.training.tuning import TuningConfig

DPO: dict[str, Any] = {"learning_rate": 1e-5, "beta": 0.5, "estimate": "soft", "min_margin": 0.0, "sft_weight": 0.2}
ADVANTAGES: dict[str, Any] = {
    "fork_weight": 1.0, "trajectory_weight": 1.0, "discount": 0.5, "normalize": False, "error_penalty": 0.0,
    "length_penalty": 0.0,
}  # fmt: skip
GRPO: dict[str, Any] = {
    **ADVANTAGES, "learning_rate": 1e-5, "clip_low": 0.2, "clip_high": 0.3, "kl_weight": 0.1, "token_weight": "step",
}  # fmt: skip
ROOM = 120


def step(node_id: str, reward: float | None = None, multiplicity: int = 1, *, executed: bool = True) -> PolicyStep:
    group = node_id.rpartition("-")[0] or "0"
    return PolicyStep(
        task_id="t", node_id=node_id, group=group, prompt=(), completion="x", ending="", executed=executed,
        finished=reward is not None, reward=reward, multiplicity=multiplicity,
    )  # fmt: skip


TREE = [step("1"), step("2", 0.0, executed=False), step("1-1", 1.0, 3), step("1-2", 0.0)]


def advantages(**changes: Any) -> dict[int, float]:
    return dict(compute_advantages(TREE, AdvantageSettings(**ADVANTAGES | changes)).by_step)


def test_a_step_is_compared_with_its_siblings_by_the_mean_reward_below_it() -> None:
    assert advantages(trajectory_weight=0.0) == pytest.approx({0: 0.375, 1: -0.375, 2: 0.25, 3: -0.75})
    normal = advantages(trajectory_weight=0.0, normalize=True)
    assert normal == pytest.approx({0: 1, 1: -1, 2: 0.25 / math.sqrt(0.1875), 3: -0.75 / math.sqrt(0.1875)})


def test_the_advantage_of_its_paths_is_discounted_by_their_length() -> None:
    # five leaves with a mean reward of 0.6; below step 1 they are one step away
    assert advantages(fork_weight=0.0) == pytest.approx({0: 0.5 * (0.75 - 0.6), 1: -0.6, 2: 0.4, 3: -0.6})


def test_errors_and_length_are_terms_of_the_reward() -> None:
    found = advantages(trajectory_weight=0.0, error_penalty=0.5, length_penalty=0.1)
    assert found == pytest.approx({0: (0.55 + 0.6) / 2, 1: -(0.55 + 0.6) / 2, 2: 0.25, 3: -0.75})


def test_siblings_without_spread_are_left_out_and_counted() -> None:
    tree = [step("1"), step("2"), step("1-1", 1.0), step("1-2", 1.0), step("2-1", 0.0), step("3")]
    found = compute_advantages([*tree, *(replace(each, tree=1) for each in tree[2:4])], AdvantageSettings(**ADVANTAGES))
    assert set(found.by_step) == {0, 1}  # nothing is known of step 3, and a second tree is one of its own
    assert (found.groups, found.without_spread) == (4, 3)


def outputs(now: list[float], initial: list[float], steps: tuple[int, ...], weights: list[float]) -> TokenOutputs:
    tensors = [torch.tensor(values, dtype=torch.float64) for values in (now, initial, weights)]
    return TokenOutputs(tensors[0], torch.zeros(len(now)), tensors[1], tensors[2], steps)


def test_the_loss_of_a_pair_is_that_of_the_paper() -> None:
    loss = DPOLoss(DPOConfig(**DPO | {"sft_weight": 0.0}), [StepPair(4, 7, 2.0), StepPair(4, 9, 1.0)])
    found = loss.compute(
        outputs([-1.0, -2.0, -3.0, -1.0], [-1.5, -2.5, -2.0, -1.0], (4, 4, 7, 9), [1.0] * 4)
    )  # log-ratios 1, -1 and 0, times beta 0.5
    expected = 2 * math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(-0.5))
    assert float(found.summed) == pytest.approx(expected)
    assert {name: float(total / weight) for name, (total, weight) in found.metrics.items()} == pytest.approx(
        {
            "reward_margin": 2.5 / 3,
            "accuracy": 1.0,
            "reward_better": 0.5,
            "reward_worse": -1 / 3,
            "kl": (2 * (math.exp(-0.5) + 0.5 - 1) + math.e - 2) / 4,
        }
    )
    more = DPOLoss(DPOConfig(**DPO), [StepPair(4, 7, 2.0), StepPair(4, 9, 1.0)])
    again = more.compute(outputs([-1.0, -2.0, -3.0, -1.0], [-1.5, -2.5, -2.0, -1.0], (4, 4, 7, 9), [1.0] * 4))
    assert float(again.summed) == pytest.approx(expected + 3 * 0.2 * 1.5)  # mean of the better step's tokens


def test_the_loss_of_a_token_is_clipped_as_in_the_paper_and_has_the_k3_estimate() -> None:
    recorded = {0: (math.log(0.5), math.log(0.5)), 1: (math.log(0.5), math.log(0.5))}
    loss = GRPOLoss(GRPOConfig(**GRPO), Advantages({0: 2.0, 1: -1.0}, 4, 3), recorded, is_recorded=True)
    now = [math.log(0.8), math.log(0.55), math.log(0.3), math.log(0.9)]  # ratios 1.6, 1.1, 0.6, 1.8
    initial = [math.log(0.8), math.log(0.8), math.log(0.3), math.log(0.45)]
    found = loss.compute(outputs(now, initial, (0, 0, 1, 1), [0.5, 0.5, 0.25, 0.25]))
    gains = [1.3 * 2, 1.1 * 2, -0.8, -1.8]  # min(ratio A, clipped A)
    kl = [0.0, 0.8 / 0.55 - math.log(0.8 / 0.55) - 1, 0.0, 0.5 - math.log(0.5) - 1]
    weights = [0.5, 0.5, 0.25, 0.25]
    expected = sum(w * (0.1 * d - gain) for w, d, gain in zip(weights, kl, gains, strict=True))
    assert float(found.summed) == pytest.approx(expected)
    metrics = {name: float(total / weight) for name, (total, weight) in found.metrics.items()}
    assert metrics["clip_share"] == pytest.approx((0.5 + 0.25) / 1.5)  # the first and the third token
    assert metrics["kl"] == pytest.approx(sum(w * d for w, d in zip(weights, kl, strict=True)) / 1.5)
    assert metrics["mean_abs_advantage"] == pytest.approx(2.5 / 1.5)
    assert metrics["groups_left_out"] == pytest.approx(0.75)


def test_the_entropy_is_that_of_the_distribution() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, -1e9, -1e9, -1e9]])
    assert compute_entropies(logits).tolist() == pytest.approx([math.log(4), 0.0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("llama")
    tiny_models.save("llama", made)
    return made


def made_of(objective: Any, folder: Path) -> tuple[PolicyExamples, list[PolicyStep]]:
    """The examples of trees whose tokens were recorded with probabilities near those of the model."""
    tokenizer = ChatTokenizer(folder)
    records = [each for tree in policy_steps(5) for each in tree]
    near = initial_of(objective.build_examples(records, tokenizer, 1000), folder, seed=3)
    for index, values in near.items():
        tokens = tuple(tokenizer.tokenize_literally(records[index].completion + records[index].ending))
        records[index] = replace(records[index], tokens=tokens, log_probabilities=tuple(values.clamp(max=0).tolist()))
    return objective.build_examples(records, tokenizer, 1000), records


def load(folder: Path) -> TrainableModel:
    tuning = TuningConfig(
        method="full", learning_rate=1e-3, rank=4, alpha=8, dropout=0.0, modules="all-linear", init_adapter=None,
        base_dtype="float32", precision="32-true",
    )  # fmt: skip
    return load_trainable_model(folder, torch.float32, tuning, checkpointing=False).double()


def initial_of(made: PolicyExamples, folder: Path, seed: int = 1) -> dict[int, torch.Tensor]:
    """Log-probabilities of an initial policy near the model, for every step."""
    draw, single = torch.Generator().manual_seed(seed), OneByOne(folder, made)
    return {
        index: single.log_probabilities(index).detach()
        + torch.rand(len(example.targets), generator=draw, dtype=torch.float64)
        - 0.5
        for index, example in single.examples.items()
    }


def packed(folder: Path, made: PolicyExamples, batching: Any) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of an update of several passes, and its gradients, by the training module."""
    trained = load(folder)
    module = SFT(str(folder), {}, {}, {}, 1, step_loss=made.loss)
    module.trained, module.initial = trained, initial_of(made, folder)
    tasks: dict[str, list[Any]] = {}
    for example in made.examples:
        tasks.setdefault(example.task_id, []).append(example)
    passes = arrange_rows(list(tasks.values()), batching, ROOM)
    assert len(passes) > 1
    total, loss = sum(row.weight for rows in passes for row in rows), 0.0
    for rows in passes:
        batch = build_batch(rows, total)
        part = module.compute_losses(batch).sum_weighted(batch, 0.0) / batch.total_weight
        part.backward()
        loss += part.item()
    return loss, {name: weight.grad for name, weight in trained.model.named_parameters()}


class OneByOne:
    """Plain transformers, which computes each step alone."""

    def __init__(self, folder: Path, made: PolicyExamples) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager"
        ).double()
        self.examples = {each.targets[0].example_index: each for each in made.examples}

    def log_probabilities(self, index: int) -> torch.Tensor:
        example = self.examples[index]
        logits = self.model(torch.tensor([example.tokens])).logits[0].log_softmax(-1)
        return torch.stack([logits[target.position, target.token] for target in example.targets])

    def gradients(self, loss: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
        loss.backward()
        return loss.item(), {name: weight.grad for name, weight in self.model.named_parameters()}


def assert_equal(found: Any, expected: Any) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5, abs=1e-6)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in found[1].items():
        assert torch.allclose(gradient, expected[1][name], atol=2e-6, rtol=1e-4), name


@pytest.mark.parametrize("batching", ["tree", "packed", "padded"])
def test_the_preference_loss_of_packed_siblings_is_that_of_single_steps(folder: Path, batching: str) -> None:
    made, records = made_of(DPOConfig(**DPO), folder)
    single, initial = OneByOne(folder, made), initial_of(made, folder)
    terms, weights = [], []
    for i, one in enumerate(records):
        for j, other in enumerate(records):
            if (one.tree, one.group) == (other.tree, other.group) and (one.soft or 0) > (other.soft or 0):
                better, worse = single.log_probabilities(i), single.log_probabilities(j)
                ratio = (better - initial[i]).sum() - (worse - initial[j]).sum()
                weights.append(one.multiplicity * other.multiplicity)
                terms.append(weights[-1] * (-torch.nn.functional.logsigmoid(0.5 * ratio) - 0.2 * better.mean()))
    assert len(terms) > 3
    assert_equal(packed(folder, made, batching), single.gradients(torch.stack(terms).sum() / sum(weights)))


@pytest.mark.parametrize("batching", ["tree", "packed", "padded"])
def test_the_group_relative_loss_of_packed_steps_is_that_of_single_steps(folder: Path, batching: str) -> None:
    settings = GRPOConfig(**GRPO)
    made, records = made_of(settings, folder)
    single, initial = OneByOne(folder, made), initial_of(made, folder)
    found = compute_advantages(records, settings).by_step
    terms, weights = [], 0.0
    for i, advantage in found.items():
        now = single.log_probabilities(i)
        ratio = (now - torch.tensor(records[i].log_probabilities, dtype=torch.float64)).exp()
        gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.3) * advantage)
        gap = initial[i] - now
        terms.append(records[i].multiplicity * (0.1 * (gap.exp() - gap - 1) - gain).mean())
        weights += records[i].multiplicity
    assert set(found) == set(single.examples) and len(terms) > 3
    assert_equal(packed(folder, made, batching), single.gradients(torch.stack(terms).sum() / weights))


def test_pairs_need_a_margin_and_their_siblings_share_a_pass(folder: Path) -> None:
    made, records = made_of(DPOConfig(**DPO | {"min_margin": 0.6}), folder)
    kept = {each.targets[0].example_index for each in made.examples}
    values: dict[tuple[int, str], list[float]] = {}
    for each in records:
        values.setdefault((each.tree, each.group), []).append(each.soft or 0.0)
    wide = {key for key, some in values.items() if max(some) - min(some) > 0.6}
    assert kept == {i for i, each in enumerate(records) if (each.tree, each.group) in wide}
    assert f"{len(wide)} pairs of {2 * len(wide)} siblings" in made.summary


def test_tokens_of_another_tokenizer_are_made_anew_with_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    [record] = policy_steps(1)[0][:1]
    foreign = replace(record, tokens=(9, 9, 9), log_probabilities=(-1.0, -1.0, -1.0))
    [[encoded], too_long] = encode_steps([foreign], ChatTokenizer(folder), 1000)
    assert encoded is not None and encoded.log_probabilities == () and too_long == 0
    assert ChatTokenizer(folder).decode(encoded.completion) == record.completion + record.ending
    assert "not of this model's tokenizer" in caplog.text
    assert encode_steps([record], ChatTokenizer(folder), 20) == ([None], 1)


def test_a_transcript_can_be_weighed_by_the_rewards_of_its_steps(folder: Path) -> None:
    messages = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}) * 2
    transcript = Transcript("t", messages, (0, 0, 0, 1), (0.25, 0.5))
    made = SFTConfig(weight="reward").build_examples([transcript], ChatTokenizer(folder), 1000)
    assert [{target.weight for target in each.targets} for each in made.examples] == [{0.5}]
    with pytest.raises(ConfigError, match="objective.weight=reward: the transcripts of task t have no rewards"):
        SFTConfig(weight="reward").build_examples([replace(transcript, rewards=())], ChatTokenizer(folder), 1000)
