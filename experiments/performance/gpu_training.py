"""Speed of training on a GPU: trees in one sequence against examples packed without padding, with the same loss.

    python experiments/performance/gpu_training.py           # a GPU; writes results/gpu_training.json
    python experiments/performance/gpu_training.py --tiny    # a CPU: a model of two layers; writes nothing

The model has the shape of Qwen2.5-1.5B, random weights in bf16 and a LoRA adapter. The task is to learn every step of
rollout trees of random tokens. Sides:

- `tree_dense`: our packing of trees with a dense attention mask, `train.attention_mask=dense`.
- `tree_blocks`: the same with FlexAttention's block-sparse mask, `train.attention_mask=blocks`.
- `packed`: an example for each step with its whole prefix, one after the other in a sequence (padding-free), with
  flash-attn's variable-length kernel if it is installed, else that of PyTorch.

All sides have the same examples in an update, so their losses must agree. A forward pass has at most `--lengths`
tokens. `peak_share` counts the floating-point operations that a side's own tokens need: frozen weights forward and
backward, attention over the pairs that the mask allows, and the logits of the targets.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AttentionInterface, AutoModelForCausalLM, Qwen2Config

from codetool.training import tree_attention
from codetool.training.batch import TrainBatch, arrange_rows, build_batch
from codetool.training.sft_examples import SFTExample, Target
from codetool.training.trainable_model import TrainableModel

RESULTS = Path(__file__).parent / "results"
SIDES = ("tree_dense", "tree_blocks", "packed")
PACKED = "codetool_packed"
"""Name under which the attention of the side `packed` is registered."""
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0}
"""Dense bf16 operations a second in 10^12, from NVIDIA's data sheets (SXM)."""
LOSS_TOLERANCE = 1e-2
RANK, ALPHA = 16, 32


@dataclass(frozen=True)
class Sizes:
    """Shape of the model and of the trees."""

    hidden: int = 1536
    layers: int = 28
    heads: int = 12
    kv_heads: int = 2
    intermediate: int = 8960
    vocabulary: int = 151_936
    prompt: int = 1000
    """Tokens of a task's prompt."""
    step: int = 90
    """Tokens of a step."""
    children: int = 2
    depth: int = 5


TINY = Sizes(64, 2, 4, 2, 128, 1000, prompt=40, step=8, children=2, depth=3)


def grow_tree(sizes: Sizes, number: int) -> list[SFTExample]:
    """Return an example for each step of a tree of random tokens, which learns the tokens of that step."""
    draw = random.Random(number)

    def draw_tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(10, sizes.vocabulary) for _ in range(count))

    def add_steps(prefix: tuple[int, ...], left: int) -> Iterator[SFTExample]:
        for _ in range(sizes.children if left else 0):
            step = draw_tokens(sizes.step)
            first = len(prefix) - 1
            targets = tuple(Target(first + i, token=token) for i, token in enumerate(step))
            yield SFTExample(str(number), (*prefix, *step[:-1]), targets)
            yield from add_steps((*prefix, *step), left - 1)

    return list(add_steps(draw_tokens(sizes.prompt), sizes.depth))


@dataclass(frozen=True)
class ExampleStarts:
    """Where the examples of a padding-free sequence start."""

    starts: Tensor
    """`(examples + 1,)`: index of the first token of each example, then the length of the sequence."""
    longest: int


class PackedModel(TrainableModel):
    """The model whose sequences hold examples one after the other."""

    def forward(self, batch: TrainBatch) -> Tensor:
        """Return the hidden states at the targets, as our model does."""
        starts = (batch.positions[0] == 0).nonzero().flatten().int()
        starts = F.pad(starts, (0, 1), value=batch.tokens.shape[1])
        pack = ExampleStarts(starts, int(starts.diff().max()))
        hidden = self.unwrapped.base_model(
            input_ids=batch.tokens, position_ids=batch.positions, use_cache=False, pack=pack
        )
        target_states: Tensor = hidden.last_hidden_state.flatten(0, 1)[batch.target_positions]
        return target_states


def attend_packed(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, *, scaling: float, pack: ExampleStarts, **_: Any
) -> tuple[Tensor, None]:
    """Compute causal attention within each example of the only row: `(1, heads, length, head)`."""
    if query.device.type == "cpu":
        bounds = pack.starts.tolist()
        parts = [
            F.scaled_dot_product_attention(
                query[:, :, start:stop], key[:, :, start:stop], value[:, :, start:stop], is_causal=True,
                scale=scaling, enable_gqa=True,
            )
            for start, stop in zip(bounds, bounds[1:], strict=False)
        ]  # fmt: skip
        return torch.cat(parts, dim=2).transpose(1, 2), None
    q, k, v = (tensor[0].transpose(0, 1).contiguous() for tensor in (query, key, value))
    bounds_and_longest = (pack.starts, pack.starts, pack.longest, pack.longest)
    if has_flash_attention():
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found, unused-ignore]

        return flash_attn_varlen_func(q, k, v, *bounds_and_longest, softmax_scale=scaling, causal=True)[None], None
    from torch.nn.attention.varlen import varlen_attn

    repeats = q.shape[1] // k.shape[1]
    k, v = (tensor.repeat_interleave(repeats, 1) for tensor in (k, v))
    return varlen_attn(q, k, v, *bounds_and_longest, scale=scaling, window_size=(-1, 0))[None], None


def has_flash_attention() -> bool:
    """Return whether flash-attn is installed."""
    return importlib.util.find_spec("flash_attn") is not None


def build_model(side: str, sizes: Sizes, device: torch.device) -> TrainableModel:
    """Return the model with random weights, the same for every side, and a LoRA adapter that is not zero."""
    tree_attention.register_tree_attention()
    AttentionInterface.register(PACKED, attend_packed)
    config = Qwen2Config(
        hidden_size=sizes.hidden, num_hidden_layers=sizes.layers, num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads, intermediate_size=sizes.intermediate, vocab_size=sizes.vocabulary,
        max_position_embeddings=32_768, tie_word_embeddings=True, use_cache=False,
    )  # fmt: skip
    torch.manual_seed(0)
    name = PACKED if side == "packed" else tree_attention.ATTENTION_NAME
    with device:
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation=name)
        lora = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", init_lora_weights=False)
        model = get_peft_model(model, lora, autocast_adapter_dtype=True).train()
    if side == "packed":
        return PackedModel(model)
    return TrainableModel(model, "blocks" if side == "tree_blocks" else "dense")


def compute_loss(model: TrainableModel, batch: TrainBatch) -> Tensor:
    """Return the share of a pass in the mean loss of its update, in nats."""
    with torch.autocast(batch.tokens.device.type, torch.bfloat16):
        logits = model.logits(model(batch)).float()
    return F.cross_entropy(logits, batch.target_tokens, reduction="sum") / batch.total_weight


def run_update(model: TrainableModel, optimizer: torch.optim.Optimizer, batches: Sequence[TrainBatch]) -> float:
    """Compute the gradients of an update and apply them, and return its loss; it waits for the device."""
    losses = []
    for batch in batches:
        loss = compute_loss(model, batch)
        loss.backward()
        losses.append(loss.detach())
    optimizer.step()
    optimizer.zero_grad()
    return float(sum(losses))


def count_operations(batches: Sequence[TrainBatch], sizes: Sizes) -> float:
    """Return the floating-point operations of an update: two per weight and token in each direction.

    Attention has two products in the forward pass and four in the backward pass, each over the pairs of the mask.
    """
    head = sizes.hidden // sizes.heads
    attention = 2 * sizes.hidden**2 + 2 * sizes.hidden * sizes.kv_heads * head
    weights = sizes.layers * (attention + 3 * sizes.hidden * sizes.intermediate)
    tokens = sum(batch.num_tokens for batch in batches)
    targets = sum(len(batch.target_tokens) for batch in batches)
    pairs = sum(int((batch.positions + 1).sum()) for batch in batches)
    logits = 4.0 * sizes.hidden * sizes.vocabulary * targets
    return 4.0 * weights * tokens + 12.0 * sizes.layers * sizes.hidden * pairs + logits


def measure(side: str, length: int, sizes: Sizes, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Return the figures of a side with passes of at most `length` tokens."""
    trees = [grow_tree(sizes, number) for number in range(options.trees)]
    total = float(sum(len(example.targets) for tree in trees for example in tree))
    rows = arrange_rows(trees, "packed" if side == "packed" else "tree", length)
    batches = [build_batch(some, total).to(device) for some in rows]
    model = build_model(side, sizes, device)
    optimizer = torch.optim.AdamW((weight for weight in model.parameters() if weight.requires_grad), lr=0.0)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    losses, seconds = [], []
    for _ in range(options.warm_up + options.repeats):
        began = time.perf_counter()
        losses.append(run_update(model, optimizer, batches))
        seconds.append(time.perf_counter() - began)
    median = statistics.median(seconds[options.warm_up :])
    peak = next((tflops for name, tflops in PEAK_TFLOPS.items() if name in name_device(device)), None)
    operations = count_operations(batches, sizes)
    return {
        "side": side, "length": length, "passes": len(batches), "loss": losses[-1],
        "tokens_computed": sum(batch.num_tokens for batch in batches), "learned_tokens": int(total),
        "seconds": round(median, 4), "first_seconds": round(seconds[0], 2),
        "learned_tokens_per_second": round(total / median),
        "tokens_per_second": round(sum(batch.num_tokens for batch in batches) / median),
        "peak_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1) if device.type == "cuda" else None,
        "tera_operations": round(operations / 1e12, 3),
        "peak_share": round(operations / median / peak / 1e12, 3) if peak else None,
    }  # fmt: skip


def name_device(device: torch.device) -> str:
    """Return the name of the GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def run_sides(sizes: Sizes, options: argparse.Namespace, device: torch.device) -> list[dict[str, Any]]:
    """Measure every side at every length; a side that fails has its error as its figure."""
    found = []
    for length in options.lengths:
        for side in options.sides:
            try:
                found.append(measure(side, length, sizes, options, device))
            except (RuntimeError, NotImplementedError) as error:  # out of memory, or a kernel that is not there
                found.append({"side": side, "length": length, "error": f"{type(error).__name__}: {error}"[:300]})
            print(json.dumps(found[-1]), flush=True)
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and store; return 1 if the losses differ by more than the tolerance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a model of two layers, to try the script on a CPU")
    parser.add_argument("--trees", type=int, default=4, help="trees of an update")
    parser.add_argument("--lengths", type=int, nargs="+", help="highest numbers of tokens of a pass")
    parser.add_argument("--repeats", type=int, default=3, help="updates that are measured")
    parser.add_argument("--warm-up", type=int, default=2, help="updates before, in which kernels are compiled")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    options = parser.parse_args(arguments)
    if not options.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU; --tiny tries the script on a CPU")
    device = torch.device("cuda" if torch.cuda.is_available() and not options.tiny else "cpu")
    options.lengths = options.lengths or ([200, 2000] if options.tiny else [8192, 16_384, 32_768])
    found = run_sides(TINY if options.tiny else Sizes(), options, device)
    losses = [figures["loss"] for figures in found if "loss" in figures]
    spread = max(losses) - min(losses) if losses else float("nan")
    print(f"losses within {spread:.1e} (allowed: {LOSS_TOLERANCE:g})")
    if not options.tiny:
        result = {
            "command": "python experiments/performance/gpu_training.py", "device": name_device(device),
            "torch": torch.__version__, "packed_kernel": "flash-attn" if has_flash_attention() else "torch varlen_attn",
            "trees": options.trees, "loss_spread": spread, "figures": found,
        }  # fmt: skip
        (RESULTS / "gpu_training.json").write_text(json.dumps(result, indent=2) + "\n")
    return int(not spread <= LOSS_TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
