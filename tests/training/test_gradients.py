"""Loss and gradients of shared forward passes, against plain transformers on one example at a time.

The other side uses the model's own attention and logits of every position, and knows nothing of packs.
"""

import random
from dataclasses import dataclass, replace

import pytest
import tiny_models
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from codetool.training import trainable_model
from codetool.training.batch import arrange_rows, build_batch
from codetool.training.module import SFT
from codetool.training.sft_examples import SFTExample, Target
from codetool.training.sibling_pairs import sum_pair_weights
from codetool.training.tuning import TuningConfig

LABELS = (11, 23)
BATCHINGS = ("padded", "packed", "tree")
ENDING = (2, 3, 4)
TUNING = {
    "learning_rate": 1e-3, "rank": 4, "alpha": 8, "dropout": 0.0, "modules": "all-linear", "init_adapter": None,
    "base_dtype": "float32", "precision": "32-true",
}  # fmt: skip
ROOM = 90


@dataclass(frozen=True)
class Taught:
    """What is learned: examples by task, the two labels of a PRM, and its loss."""

    groups: list
    labels: tuple | None
    loss: str
    pairs_weight: float = 0.0


def _paths(seed, depth=3):
    """The nodes of a tree of two children each, as the tokens that lead to them."""
    draw = random.Random(seed)

    def below(path, left):
        for _ in range(2 if left else 0):
            longer = (*path, *(draw.randrange(5, 300) for _ in range(draw.randint(1, 6))))
            yield longer
            yield from below(longer, left - 1)

    return list(below(tuple(draw.randrange(5, 300) for _ in range(12)), depth))


def _prm(hard, loss):
    draw = random.Random(5)

    def judged(path):
        share = float(draw.random() < 0.5) if hard else draw.random()
        prompt = path + ENDING
        return SFTExample("t", prompt, (Target(len(prompt) - 1, float(draw.randint(1, 3)), label_prob=share),))

    return Taught([[judged(path) for path in _paths(seed)] for seed in range(2)], LABELS, loss)


def _pairs(weight):
    """The steps after each path are siblings; some of them have the same target."""
    draw = random.Random(5)

    def judged(path, parent):
        prompt = path + ENDING
        value = draw.choice([0.0, 0.5, 1.0])
        target = Target(len(prompt) - 1, float(draw.randint(1, 3)), label_prob=value, group=str(parent))
        return SFTExample("t", prompt, (target,))

    def below(seed):
        paths = _paths(seed)
        prefixes = [
            max((each for each in paths if path[: len(each)] == each != path), key=len, default=seed) for path in paths
        ]
        return [judged(path, prefix) for path, prefix in zip(paths, prefixes, strict=True)]

    return Taught([below(seed) for seed in range(2)], LABELS, "pairs", weight)


def _policy():
    """Each node is written after what leads to it: a target before each of its tokens but the prompt's."""

    def written(path):
        first = 12 if len(path) < 20 else len(path) // 2
        return SFTExample("t", path[:-1], tuple(Target(i - 1, 0.5, path[i]) for i in range(first, len(path))))

    return Taught([[written(path) for path in _paths(seed)] for seed in range(2)], None, "labels")


TAUGHT = {
    "hard labels": _prm(hard=True, loss="labels"),
    "soft labels": _prm(hard=False, loss="labels"),
    "hard labels among all tokens": _prm(hard=True, loss="vocabulary"),
    "soft labels among all tokens": _prm(hard=False, loss="vocabulary"),
    "pairs of siblings and soft labels": _pairs(0.3),
    "steps": _policy(),
}


@pytest.fixture(scope="module", params=tiny_models.KINDS)
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp(request.param)
    tiny_models.save(request.param, made)
    return made


def _trainable(weights):
    """The trained weights by name; an adapter's second factors, which start at zero, are drawn so that all learn."""
    torch.manual_seed(3)
    found = {name: weight for name, weight in sorted(weights) if weight.requires_grad}
    for name, weight in found.items():
        if ".lora_" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return found


def shared(folder, taught, method, batching, *, checkpointing=False):
    """The loss over all targets and its gradients, by the training module, pass after pass."""
    trained = trainable_model.load_trainable_model(
        folder, torch.float32, TuningConfig(method=method, **TUNING), checkpointing=checkpointing
    ).double()
    module = SFT(str(folder), {}, {}, {}, 1, labels=taught.labels, loss=taught.loss, pairs_weight=taught.pairs_weight)
    module.trained = trained
    weights = _trainable(trained.model.named_parameters())
    passes = arrange_rows(taught.groups, batching, ROOM)
    assert len(passes) > 1, "examples of one task should be in several passes"
    total = sum(row.weight for rows in passes for row in rows)
    pair_total = sum(map(sum_pair_weights, passes))
    trained.train()
    loss = 0.0
    for rows in passes:
        made = build_batch(rows, total, pair_total)
        part = module.compute_losses(made).sum_weighted(made, taught.pairs_weight) / made.total_weight
        part.backward()
        loss += part.item()
    return loss, {name: weight.grad for name, weight in weights.items()}


def one_by_one(folder, taught, method):
    """The same of plain transformers."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if method == "lora":
        plain = get_peft_model(plain, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    weights = _trainable(plain.double().train().named_parameters())
    examples = [each for group in taught.groups for each in group]
    if taught.loss == "pairs":
        loss = _loss_of_pairs(plain, examples, taught)
        loss.backward()
        return loss.item(), {name: weight.grad for name, weight in weights.items()}
    total = sum(target.weight for each in examples for target in each.targets)
    loss = 0.0
    for each in examples:
        logits = plain(torch.tensor([each.tokens])).logits[0]
        part = sum(target.weight * _loss(logits[target.position], target, taught) for target in each.targets) / total
        part.backward()
        loss += part.item()
    return loss, {name: weight.grad for name, weight in weights.items()}


def _loss(logits, target, taught):
    if taught.labels is None:
        return -logits.log_softmax(-1)[target.token]
    if taught.loss == "labels":
        logits = logits[list(taught.labels)]
        said = logits.log_softmax(-1)
    else:
        said = logits.log_softmax(-1)[list(taught.labels)]
    return -(target.label_prob * said[0] + (1 - target.label_prob) * said[1])


def _loss_of_pairs(plain, examples, taught):
    """The pairwise loss and the pointwise one, from a forward pass for each example."""
    targets = [each.targets[0] for each in examples]
    logits = [plain(torch.tensor([each.tokens])).logits[0, -1, list(taught.labels)] for each in examples]
    differences = [first - second for first, second in logits]
    pairs = [
        (one, other, targets[one].weight * targets[other].weight)
        for one in range(len(targets))
        for other in range(len(targets))
        if targets[one].group == targets[other].group and targets[one].label_prob > targets[other].label_prob
    ]
    assert len(pairs) > 5
    pairwise = sum(
        -weight * torch.log(torch.sigmoid(differences[one] - differences[other])) for one, other, weight in pairs
    )
    labels = replace(taught, loss="labels", labels=(0, 1))
    pointwise = sum(target.weight * _loss(each, target, labels) for each, target in zip(logits, targets, strict=True))
    share = taught.pairs_weight
    by_pairs = pairwise / sum(weight for _, _, weight in pairs)
    return share * by_pairs + (1 - share) * pointwise / sum(target.weight for target in targets)


def equal(found, expected, atol=1e-6):
    (loss, gradients), (exact, wanted) = found, expected
    assert loss == pytest.approx(exact, abs=1e-6)
    assert set(gradients) == set(wanted)
    for name, gradient in wanted.items():
        assert gradient is not None and gradient.abs().max() > 0, f"{name} learns nothing, so nothing is compared"
        torch.testing.assert_close(
            gradients[name], gradient, rtol=1e-6, atol=atol, msg=lambda text, n=name: f"{n}: {text}"
        )


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", TAUGHT)
def test_gradients_are_those_of_one_example_at_a_time(folder, kind, method):
    expected = one_by_one(folder, TAUGHT[kind], method)
    for batching in BATCHINGS:
        rounding = 1e-5 if kind.startswith("pairs") else 1e-6  # of norms and logits in float32
        equal(shared(folder, TAUGHT[kind], method, batching), expected, rounding)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_activations_computed_again_change_no_gradient(folder, method, batching):
    found = shared(folder, TAUGHT["soft labels"], method, batching, checkpointing=True)
    equal(found, one_by_one(folder, TAUGHT["soft labels"], method))


def test_a_tree_is_read_in_fewer_tokens_than_its_examples(folder):
    groups = TAUGHT["hard labels"].groups
    read = sum(build_batch(rows, 1.0).num_tokens for rows in arrange_rows(groups, "tree", ROOM))
    assert 2 * read < sum(len(each.tokens) for group in groups for each in group)
