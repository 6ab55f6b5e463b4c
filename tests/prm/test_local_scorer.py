"""The generative PRM in this process, on small random models, against scores made one by one by transformers."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny_models
import torch
from judging import after, steps, task, tiny
from no_servers import NO_SERVERS
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from codetool.errors import ConfigError, MissingError
from codetool.models.packed_model import PackedModel, PrefixGroup
from codetool.models.scoring_worker import STEM_CHUNK

SIBLINGS = steps("search", "give up", "search by title and then read the credits")


@pytest.fixture(scope="module", params=tiny_models.KINDS)
def folder(request, tmp_path_factory):
    made = tmp_path_factory.mktemp(request.param)
    tiny_models.save(request.param, made)
    return made


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    made = tmp_path_factory.mktemp("qwen")
    tiny_models.save("qwen2", made)
    return made


class OneByOne:
    """The general implementation: each prompt rendered and read whole, alone, with logits for every position."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
        self.labels = self.tokenizer.convert_tokens_to_ids(["yes", "no"])

    def prompt(self, settings, query, path, step):
        chat = settings.prompt.messages(query, path, step)
        return self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)

    def logits(self, settings, query, path, step):
        with torch.no_grad():
            ids = torch.tensor([self.prompt(settings, query, path, step)])
            return self.model(ids).logits[0, -1, self.labels]

    def score(self, settings, query, path, step):
        return float(self.logits(settings, query, path, step).softmax(-1)[0])


def test_scores_of_these_models_are_worth_comparing(folder):
    settings, reference = tiny(folder), OneByOne(folder)
    values = [reference.score(settings, task(), [], step) for step in SIBLINGS]
    assert max(values) - min(values) > 0.01


async def test_siblings_and_longer_paths_score_as_if_read_alone(folder):
    settings, reference = tiny(folder), OneByOne(folder)
    first = after("search", "603 The Matrix " * 60)
    second = after("read the credits", "directed by", first)
    async with settings.open(NO_SERVERS) as prm:
        for path in ((), first.path, second.path):
            scores = await prm.score(task(), path, SIBLINGS)
            expected = [reference.score(settings, task(), path, step) for step in SIBLINGS]
            assert scores.values == pytest.approx(expected, abs=1e-5)


async def test_bfloat16_changes_scores_by_its_rounding_alone(folder):
    """Eight bits of precision: a score moves by a few hundredths at most, whatever is read together."""
    settings, reference = tiny(folder, "precision=bfloat16"), OneByOne(folder)
    path = after("search", "603 The Matrix " * 60).path
    async with settings.open(NO_SERVERS) as prm:
        together = (await prm.score(task(), path, SIBLINGS)).values
    async with tiny(folder, "precision=bfloat16", "prefix_cache_tokens=0").open(NO_SERVERS) as prm:
        alone = [(await prm.score(task(), path, [step])).values[0] for step in SIBLINGS]
    expected = [reference.score(settings, task(), path, step) for step in SIBLINGS]
    assert together == pytest.approx(expected, abs=0.05)
    assert together == pytest.approx(alone, abs=0.05)


@pytest.mark.parametrize("batch_tokens", [300, 8192])
async def test_tasks_in_flight_are_scored_together_and_none_notices(folder, batch_tokens):
    settings, reference = tiny(folder, f"max_batch_tokens={batch_tokens}"), OneByOne(folder)
    cases = [(task(f"query {i}"), after("search", "film " * 40 * i).path) for i in (1, 3, 8)]
    async with settings.open(NO_SERVERS) as prm:
        together = await asyncio.gather(*(prm.score(query, path, SIBLINGS) for query, path in cases))
    for (query, path), scores in zip(cases, together, strict=True):
        expected = [reference.score(settings, query, path, step) for step in SIBLINGS]
        assert scores.values == pytest.approx(expected, abs=1e-5)


async def test_requests_that_arrive_during_a_pass_share_the_next(qwen, monkeypatch):
    passes, started, go_on = [], threading.Event(), threading.Event()
    read = PackedModel.forward

    def watched(self, families, labels):
        passes.append(len(families))
        started.set()
        assert go_on.wait(10)
        return read(self, families, labels)

    monkeypatch.setattr(PackedModel, "forward", watched)
    async with tiny(qwen).open(NO_SERVERS) as prm:
        go_on.set()
        await prm.score(task("known start"), [], SIBLINGS[:1])
        passes.clear(), started.clear(), go_on.clear()
        first = asyncio.ensure_future(prm.score(task("first"), [], SIBLINGS[:1]))
        await asyncio.to_thread(started.wait)
        others = [asyncio.ensure_future(prm.score(task(f"{i}"), [], SIBLINGS[:1])) for i in range(4)]
        await asyncio.sleep(0.05)
        go_on.set()
        await asyncio.gather(first, *others)
    assert passes == [1, 4]


async def test_the_shared_prefix_is_read_once_and_a_child_reads_only_what_is_new(folder):
    settings, reference = tiny(folder), OneByOne(folder)
    path = after("search", "603").path
    lengths = [len(reference.prompt(settings, task(), path, step)) for step in SIBLINGS]
    async with settings.open(NO_SERVERS) as prm:
        first = await prm.score(task(), [], steps("search", "give up"))
        second = await prm.score(task(), path, SIBLINGS)
        again = await prm.score(task(), path, SIBLINGS)
    assert first.tokens_computed < 1.3 * min(lengths)
    assert second.tokens_computed < 0.6 * min(lengths)  # three prompts for less than one
    assert again.values == pytest.approx(second.values, abs=1e-5)
    assert again.tokens_computed < second.tokens_computed


async def test_without_room_for_prefixes_scores_stay_and_everything_is_read_again(qwen):
    path = after("search", "603 " * 2 * STEM_CHUNK).path
    async with tiny(qwen).open(NO_SERVERS) as roomy, tiny(qwen, "prefix_cache_tokens=0").open(NO_SERVERS) as narrow:
        expected = await roomy.score(task(), path, SIBLINGS)
        for _ in range(2):
            scores = await narrow.score(task(), path, SIBLINGS)
            assert scores.values == pytest.approx(expected.values, abs=1e-5)
            assert scores.tokens_computed == expected.tokens_computed


async def test_one_candidate_alone_and_the_same_twice(folder):
    settings, reference = tiny(folder), OneByOne(folder)
    path = after("search", "603 " * 3 * STEM_CHUNK).path
    expected = reference.score(settings, task(), path, SIBLINGS[0])
    async with settings.open(NO_SERVERS) as prm:
        alone = await prm.score(task(), path, SIBLINGS[:1])
        twice = await prm.score(task(), path, [SIBLINGS[0], SIBLINGS[0]])
    assert [*alone.values, *twice.values] == pytest.approx([expected] * 3, abs=1e-5)
    assert len(alone.values) == 1 and len(twice.values) == 2


async def test_the_ratio_of_logits_is_the_references_formula(qwen):
    settings, reference = tiny(qwen, "score=logit_ratio"), OneByOne(qwen)
    async with settings.open(NO_SERVERS) as prm:
        scores = await prm.score(task(), [], SIBLINGS)
    for value, step in zip(scores.values, SIBLINGS, strict=True):
        yes, no = reference.logits(settings, task(), [], step).tolist()
        assert value == pytest.approx(yes / (yes + no), rel=1e-3)


async def test_labels_can_be_other_words_and_turn_the_score_round(qwen):
    async with tiny(qwen).open(NO_SERVERS) as one, tiny(qwen, "labels=[no,yes]").open(NO_SERVERS) as other:
        values = (await one.score(task(), [], SIBLINGS)).values
        turned = (await other.score(task(), [], SIBLINGS)).values
    assert [1 - value for value in turned] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "said"), [("[promising,no]", "'promising' is . tokens"), ("[yes,yes]", "they must differ")]
)
async def test_labels_that_are_not_two_single_tokens_are_told_before_any_task(qwen, labels, said):
    with pytest.raises(ConfigError, match=f"prm.labels.*{said}"):
        async with tiny(qwen, f"labels={labels}").open(NO_SERVERS):
            pass


async def test_what_the_step_printed_changes_nothing_unless_it_is_to_be_seen(qwen):
    ran = [after("search", observation).execution for observation in ("603", "an error")]
    twice = [SIBLINGS[0], SIBLINGS[0]]
    async with tiny(qwen).open(NO_SERVERS) as blind, tiny(qwen, "sees_observation=true").open(NO_SERVERS) as seeing:
        assert (blind.sees_observation, seeing.sees_observation) == (False, True)
        assert len(set((await seeing.score(task(), [], twice, ran)).values)) == 2


async def test_an_adapter_is_added_to_its_base(qwen, tmp_path):
    torch.manual_seed(1)
    name = "base_model.model.model.layers.0.self_attn.q_proj"
    down, up = torch.randn(4, 48), torch.randn(48, 4)
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "adapter_model.safetensors")
    config = {"r": 4, "lora_alpha": 8, "peft_type": "LORA", "base_model_name_or_path": str(qwen)}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    reference, settings = OneByOne(qwen), tiny(tmp_path)
    untrained = [reference.score(settings, task(), [], step) for step in SIBLINGS]
    reference.model.model.layers[0].self_attn.q_proj.weight.data += 2 * up @ down
    expected = [reference.score(settings, task(), [], step) for step in SIBLINGS]
    async with settings.open(NO_SERVERS) as prm:
        scores = await prm.score(task(), [], SIBLINGS)
    assert scores.values == pytest.approx(expected, abs=1e-4)
    assert scores.values != pytest.approx(untrained, abs=1e-3)


async def test_a_prompt_beyond_the_context_scores_zero_and_its_sibling_does_not(tmp_path):
    tiny_models.save("llama", tmp_path, context=700)
    async with tiny(tmp_path).open(NO_SERVERS) as prm:
        scores = await prm.score(task(), [], steps("search", "search " * 500))
    assert scores.values[0] > 0 and scores.values[1] == 0.0


async def test_a_text_that_cannot_fit_is_not_tokenised(qwen, monkeypatch):
    async with tiny(qwen).open(NO_SERVERS) as prm:
        most = prm.scorer.max_characters
        monkeypatch.setattr(prm.scorer.tokenizer, "encode", lambda chat: pytest.fail("it was tokenised"))
        judged = await prm.scorer.score_chats([[{"role": "user", "content": "x" * (most + 1)}]], "a task", new=True)
    assert judged.values == (None,) and judged.tokens == 0


async def test_no_text_of_the_context_s_length_has_more_characters(qwen):
    async with tiny(qwen).open(NO_SERVERS) as prm:
        texts = [prm.scorer.tokenizer.decode([token]) for token in range(300)]
        assert max(map(len, texts)) <= prm.scorer.tokenizer.longest_token


async def test_cancelling_a_task_and_closing_end_quietly(qwen):
    async with tiny(qwen).open(NO_SERVERS) as prm:
        waiting = [asyncio.ensure_future(prm.score(task(f"{i}"), [], SIBLINGS)) for i in range(8)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.gather(*waiting[1:])
    assert not any(thread.name == "scoring" for thread in threading.enumerate())


async def test_a_failing_pass_reaches_those_who_wait_and_no_later_one(qwen, monkeypatch):
    async with tiny(qwen).open(NO_SERVERS) as prm:
        with monkeypatch.context() as broken:
            broken.setattr(PackedModel, "forward", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await prm.score(task(), [], SIBLINGS)
        assert len((await prm.score(task(), [], SIBLINGS)).values) == 3


def test_a_pass_over_families_with_different_prefixes_is_each_alone(folder):
    model = PackedModel(folder, None, "float32", "cpu")
    prompts = [tuple(range(start, start + 20)) for start in (10, 40, 70)]
    alone = [model.forward([PrefixGroup([], [prompt])], (5, 6))[0][0] for prompt in prompts]
    ends = [(1, 2, 3), (4,), (5, 6)]
    wholes = [prompt + end for prompt, end in zip(prompts, ends, strict=True)]
    whole = [model.forward([PrefixGroup([], [each])], (5, 6))[0][0].logits for each in wholes]
    families = [PrefixGroup([read.cache], [end, (9, 9)]) for read, end in zip(alone, ends, strict=True)]
    for got, expected in zip(model.forward(families, (5, 6)), whole, strict=True):
        assert got[0].logits == pytest.approx(expected, abs=1e-5)


async def test_another_architecture_is_told_with_what_to_do(tmp_path, qwen):
    for file in qwen.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((qwen / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt_neox"}))
    with pytest.raises(ConfigError, match="gpt_neox.*prm.backend=vllm"):
        async with tiny(tmp_path).open(NO_SERVERS):
            pass


async def test_a_damaged_model_and_an_unknown_device_are_one_message(tmp_path, qwen):
    for file in qwen.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(MissingError, match="model that can be loaded"):
        async with tiny(tmp_path).open(NO_SERVERS):
            pass
    with pytest.raises(ConfigError, match="prm.device='gpu'"):
        async with tiny(qwen, "device=gpu").open(NO_SERVERS):
            pass


def test_torch_is_not_imported_before_a_model_is_opened():
    program = "import sys, codetool.prm.generative; print(sorted({'torch', 'transformers'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
