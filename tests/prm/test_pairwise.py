"""The PRM that compares siblings in pairs, on small random models and against a scripted server."""

import asyncio
import math
from itertools import permutations

import pytest
import tiny_models
import torch
from chat_server import Reply, serve_chat
from composing import compose_config
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from judging import after, option, steps, task
from no_servers import NO_SERVERS
from transformers import AutoModelForCausalLM, AutoTokenizer

from codetool.config.overrides import compose_all
from codetool.runs.identity import select_identity_settings

SIBLINGS = steps("search", "give up", "search by title and then read the credits")
PATH = after("search", "603 The Matrix " * 20).path


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


def local(folder, *overrides):
    return option("pairwise", f"path={folder}", "precision=float32", "device=cpu", *overrides)


async def scores(settings, candidates, path=PATH):
    async with settings.open(NO_SERVERS) as prm:
        return (await prm.score(task(), path, candidates)).values


def by_hand(folder, settings, candidates, path):
    """The scores from prompts read whole and alone, with logits for every position."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    labels = tokenizer.convert_tokens_to_ids(list(settings.labels))

    def chosen(first, second):
        chat = settings.prompt.messages(task(), path, first, second)
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        with torch.no_grad():
            return float(model(torch.tensor([ids])).logits[0, -1, labels].softmax(-1)[0])

    def wins(one, other):
        return (chosen(one, other) + 1 - chosen(other, one)) / 2

    others = [[other for other in candidates if other is not one] for one in candidates]
    return [sum(wins(one, o) for o in rest) / len(rest) for one, rest in zip(candidates, others, strict=True)]


@pytest.mark.parametrize("path", [(), PATH])
async def test_scores_are_those_of_prompts_read_whole_and_alone(folder, path):
    settings = local(folder)
    expected = by_hand(folder, settings, SIBLINGS, path)
    assert max(expected) - min(expected) > 0.005  # worth comparing
    assert await scores(settings, SIBLINGS, path) == pytest.approx(expected, abs=1e-5)


async def test_what_one_of_two_wins_the_other_loses(qwen):
    first, second = await scores(local(qwen), SIBLINGS[:2])
    assert first + second == pytest.approx(1, abs=1e-9)
    assert first != pytest.approx(0.5, abs=1e-4)


async def test_the_order_of_candidates_changes_nothing(qwen):
    async with local(qwen).open(NO_SERVERS) as prm:
        found = []
        for order in permutations(range(3)):
            values = (await prm.score(task(), PATH, [SIBLINGS[i] for i in order])).values
            found.append([values[order.index(i)] for i in range(3)])
    for each in found[1:]:
        assert each == pytest.approx(found[0], abs=1e-5)


async def test_scores_are_probabilities_with_a_mean_of_one_half(qwen):
    values = await scores(local(qwen), SIBLINGS)
    assert all(0 <= value <= 1 for value in values)
    assert sum(values) == pytest.approx(1.5, abs=1e-6)


async def test_the_same_text_twice_is_one_sibling(qwen):
    once = await scores(local(qwen), SIBLINGS)
    again = await scores(local(qwen), [*SIBLINGS, SIBLINGS[0]])
    assert again[3] == again[0]
    assert again[:3] == pytest.approx(once, abs=1e-5)


@pytest.mark.parametrize("candidates", [SIBLINGS[:1], [SIBLINGS[0], SIBLINGS[0]]])
async def test_alone_it_is_one_half_and_nothing_is_read(qwen, candidates):
    async with local(qwen).open(NO_SERVERS) as prm:
        found = await prm.score(task(), PATH, candidates)
    assert set(found.values) == {0.5} and found.tokens == 0


async def test_the_path_is_read_once_for_all_pairs(qwen):
    path = after("search", "603 The Matrix " * 150).path
    settings = local(qwen)
    tokenizer = AutoTokenizer.from_pretrained(qwen, local_files_only=True)
    before = len(tokenizer.apply_chat_template(settings.prompt.prefix_messages(task(), path), return_dict=False))
    async with settings.open(NO_SERVERS) as prm:
        found = await prm.score(task(), path, SIBLINGS)
    assert before < found.tokens_computed < 2 * before  # six prompts


async def test_tasks_in_flight_do_not_notice_each_other(qwen):
    async with local(qwen).open(NO_SERVERS) as prm:
        alone = [(await prm.score(task(f"q{i}"), PATH, SIBLINGS)).values for i in range(3)]
    async with local(qwen).open(NO_SERVERS) as prm:
        together = await asyncio.gather(*(prm.score(task(f"q{i}"), PATH, SIBLINGS) for i in range(3)))
    for one, other in zip(alone, together, strict=True):
        assert other.values == pytest.approx(one, abs=1e-5)


async def test_a_pair_beyond_the_context_is_undecided(tmp_path):
    tiny_models.save("llama", tmp_path, context=900)
    long = steps("search " * 800)[0]
    pair = await scores(local(tmp_path), SIBLINGS[:2], ())
    values = await scores(local(tmp_path), [*SIBLINGS[:2], long], ())
    assert values[2] == 0.5
    assert values[:2] == pytest.approx([(value + 0.5) / 2 for value in pair], abs=1e-5)


def test_the_prompt_of_a_longer_path_extends_the_shorter_ones_and_proposals_come_last():
    prompt, longer = option("pairwise").prompt, after("read", "Wachowski", PATH[0]).path
    short, long = [prompt.prefix_messages(task(), path)[1]["content"] for path in (PATH, longer)]
    assert long.startswith(short)
    asked = prompt.messages(task(), PATH, SIBLINGS[0], SIBLINGS[1])[1]["content"]
    assert asked.startswith(short)
    assert asked.index(SIBLINGS[0].text, len(short)) < asked.index(SIBLINGS[1].text, len(short))
    assert asked.endswith(SIBLINGS[1].text)


def test_the_prompt_names_its_labels():
    made = option("pairwise")
    assert made.labels == ("A", "B")
    assert all(f'"{label}"' in made.prompt.steps.system for label in made.labels)
    assert all(f"Proposal {label}:" in made.prompt.pair for label in made.labels)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("score=logit_ratio", "pairs are compared by one"),
        ("sees_observation=true", "pairs are shown by text"),
        ("prompt.pair='{{ query }}'", "uses query; it may use first, k, second"),
    ],
)
def test_what_does_not_go_with_pairs_is_refused(override, said):
    with pytest.raises(InstantiationException, match=said):
        option("pairwise", override)


@pytest.mark.parametrize("name", ["llama8b", "smollm2"])
def test_any_model_may_judge_in_pairs(name):
    [config] = compose_all([f"prm={name}", "prm_prompt@prm.prompt=pairwise", "prm.labels=[A,B]"])
    assert instantiate(config.prm, _convert_="all").prompt == option("pairwise").prompt


def test_it_is_another_result_than_the_same_model_pointwise():
    pair, point = [select_identity_settings(*compose_config(f"prm={name}"))["prm"] for name in ("pairwise", "qwen7b")]
    assert pair["model"] == point["model"]
    assert pair != point


# Behind a server


def told(**probabilities):
    top = [{"token": token, "logprob": math.log(value)} for token, value in probabilities.items()]
    choice = {"index": 0, "message": {"role": "assistant", "content": "A"}, "logprobs": {"content": [{}]}}
    choice["logprobs"]["content"][0] = {"token": "A", "top_logprobs": top}
    return Reply(body={"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 1}})


def of_first(first_wins):
    """A server whose model names the first proposal with the probability that `first_wins(first is "search")` gives."""

    def answer(body):
        asked = body["messages"][1]["content"]
        chance = first_wins(asked.index("Step: search") < asked.index("Step: give up"))
        return told(A=0.8 * chance, B=0.8 * (1 - chance), C=0.2)

    return answer


@pytest.mark.parametrize(
    ("first_wins", "expected"),
    [
        (lambda better: 0.9 if better else 0.3, 0.8),  # (0.9 + 1 - 0.3) / 2
        (lambda better: 0.9, 0.5),  # it likes the first place, whoever stands there
    ],
)
async def test_a_server_is_asked_in_both_orders(first_wins, expected):
    async with serve_chat(of_first(first_wins)) as server:
        settings = option("pairwise", "backend=endpoint", f"base_url={server.url}")
        async with settings.open(NO_SERVERS) as prm:
            found = await prm.score(task(), [], SIBLINGS[:2])
    assert found.values == pytest.approx([expected, 1 - expected])
    assert found.tokens == 200 and len(server.requests) == 2
    assert {body["max_tokens"] for body in server.requests} == {1}


async def test_a_pair_that_a_server_refuses_as_too_long_is_undecided():
    refusal = Reply(400, {"error": {"message": "maximum context length is 4096 tokens"}})
    async with serve_chat(lambda _: refusal) as server:
        settings = option("pairwise", "backend=endpoint", f"base_url={server.url}")
        async with settings.open(NO_SERVERS) as prm:
            assert (await prm.score(task(), [], SIBLINGS)).values == (0.5, 0.5, 0.5)
