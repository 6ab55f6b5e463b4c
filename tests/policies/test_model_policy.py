"""`policy.backend` and `policy.path`: what is loaded, what is served, what identifies it, and what is missing."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_server import chat, serve_chat
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from no_servers import NO_SERVERS
from omegaconf import DictConfig
from tiny_models import save_random_adapter, save_random_model

from codetool.config.run_config import validate
from codetool.errors import ConfigError, MissingError
from codetool.model_types import ServedModel, Weights
from codetool.policies.model import ModelPolicyConfig
from codetool.types import Task

Compose = Callable[..., DictConfig]
LARGE = ["qwen7b", "qwen7b_coder", "llama8b"]


class Servers:
    """Servers that are one running elsewhere; they remember what they were asked for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Weights] = []

    async def serve(self, weights: Weights) -> ServedModel:
        self.asked.append(weights)
        return ServedModel(self.url, "m")


@pytest.fixture
def option(composed: Compose) -> Callable[..., ModelPolicyConfig]:
    def make(*words: str) -> ModelPolicyConfig:
        made_of = instantiate(composed(*words).policy, _convert_="all")
        assert isinstance(made_of, ModelPolicyConfig)
        return made_of

    return make


Option = Callable[..., ModelPolicyConfig]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_random_model(tmp_path / "qwen", "Qwen2")
    return tmp_path / "qwen"


def refuse(*_: object) -> None:
    raise AssertionError("a hub was asked")


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("backend", ["vllm", "transformers"])
def test_a_missing_model_is_told_with_the_three_ways_to_supply_it(
    option: Option, name: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    policy = option(f"policy={name}", f"policy.backend={backend}")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(MissingError) as raised:
        policy.checksum()
    said = str(raised.value)
    assert f"model {policy.model} is missing" in said
    assert "policy.path=" in said
    assert "policy.backend=endpoint policy.base_url=" in said
    assert f"hf download {policy.model}" in said


def test_a_download_of_the_hubs_own_tools_is_found(
    option: Option, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen2.5-7B-Instruct" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    assert option("policy=qwen7b").weights() == Weights(snapshot, None, "bfloat16")
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(MissingError):
        option("policy=qwen7b").weights()


def test_a_path_is_a_folder_of_weights_or_an_adapter_and_anything_else_is_told(
    option: Option, tmp_path: Path, folder: Path
) -> None:
    lora = save_random_adapter(tmp_path / "lora", base_model_name_or_path=str(folder))
    assert option("policy=qwen7b", f"policy.path={folder}").weights() == Weights(folder, None, "bfloat16")
    assert option("policy=qwen7b", f"policy.path={lora}").weights() == Weights(folder, lora, "bfloat16")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(MissingError, match=r"policy\.path="):
            option("policy=qwen7b", f"policy.path={path}").weights()


def test_weights_are_served_by_the_runs_own_server_alone(option: Option, folder: Path) -> None:
    words = ["policy=qwen7b", f"policy.path={folder}"]
    assert option(*words).weights() is not None
    assert option(*words, "policy.backend=transformers").weights() is None
    assert option(*words, "policy.base_url=http://127.0.0.1:9/v1").weights() is None
    assert option(*words, "policy.backend=endpoint", "policy.base_url=http://127.0.0.1:9/v1").weights() is None


def test_the_checksum_tells_adapters_apart_and_not_where_they_lie(option: Option, tmp_path: Path, folder: Path) -> None:
    first = save_random_adapter(tmp_path / "one", base_model_name_or_path=str(folder))
    other = save_random_adapter(tmp_path / "two", rank=2, base_model_name_or_path=str(folder))
    sums = [option("policy=qwen7b", f"policy.path={path}").checksum() for path in (first, other)]
    first.rename(tmp_path / "moved")
    sums.append(option("policy=qwen7b", f"policy.path={tmp_path / 'moved'}").checksum())
    assert sums[0] == sums[2] != sums[1]


def test_a_model_in_a_folder_and_the_base_of_an_adapter_are_known_by_their_files(
    option: Option, tmp_path: Path, folder: Path
) -> None:
    lora = save_random_adapter(tmp_path / "lora", base_model_name_or_path=str(folder))
    options = [option("policy=qwen7b", f"policy.{words}") for words in (f"model={folder}", f"path={lora}")]
    before = [each.checksum() for each in options]
    save_random_model(folder, "Qwen2", rms_norm_eps=1e-3)
    after = [each.checksum() for each in options]
    assert len({*before, *after}) == 4


def test_what_a_server_is_said_to_serve_is_known_by_its_path(option: Option, tmp_path: Path, folder: Path) -> None:
    server = ["policy=qwen7b", "policy.base_url=http://127.0.0.1:9/v1"]
    paths = ["null", "/no/such/one", "/no/such/other", str(folder)]
    sums = [option(*server, f"policy.path={path}").checksum() for path in paths]
    assert sums[0] is None
    assert len({*sums}) == 4
    with pytest.raises(MissingError, match="is no folder"):
        option("policy=qwen7b", "policy.path=/no/such/one").checksum()


@pytest.mark.parametrize("name", ["openai", "qwen7b"])
@pytest.mark.parametrize("address", ["http://me:hidden@h/v1", "http://hidden@h/v1", "me:hidden@h/v1"])
def test_an_address_with_a_password_is_refused_and_not_repeated(name: str, address: str) -> None:
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        config = compose("config", [f"policy={name}", "policy.model=m", f"policy.base_url={address}"])
        with pytest.raises(ConfigError, match=r"^policy\.base_url must not hold .* policy\.key_env=NAME\.$") as raised:
            validate(config)
    assert "hidden" not in str(raised.value)


def test_an_endpoint_needs_an_address_and_this_process_has_none(option: Option) -> None:
    for words in (
        ["policy.backend=endpoint"],
        ["policy.backend=transformers", "policy.base_url=http://127.0.0.1:9/v1"],
    ):
        with pytest.raises(InstantiationException, match=r"policy\.base_url"):
            option("policy=qwen7b", *words)


def test_options_that_do_not_go_together_are_told_in_one_line() -> None:
    with initialize_config_dir(str(Path(__file__).parents[2] / "conf"), version_base="1.3"):
        config = compose("config", ["policy=qwen7b", "policy.backend=endpoint"])
    with pytest.raises(ConfigError, match=r"^policy\.backend=endpoint needs .*policy\.base_url=http://HOST:PORT/v1$"):
        validate(config)


async def test_a_managed_server_is_asked_for_all_candidates_at_once(option: Option, folder: Path, task: Task) -> None:
    policy = option("policy=qwen7b", f"policy.path={folder}")
    async with serve_chat(lambda body: chat("a", "b", "c")) as server:
        servers = Servers(server.url)
        async with policy.open(servers) as live:
            drawn = await live.propose(task, (), 3)
    assert [candidate.raw for candidate in drawn] == ["a", "b", "c"]
    assert [body["n"] for body in server.requests] == [3]
    assert servers.asked == [policy.weights()]


async def test_a_running_server_is_used_and_none_started(option: Option, task: Task) -> None:
    async with serve_chat(lambda body: chat("a")) as server:
        policy = option("policy=qwen7b", f"policy.base_url={server.url}", "policy.model=m")
        async with policy.open(NO_SERVERS) as live:
            assert [candidate.raw for candidate in await live.propose(task, (), 1)] == ["a"]


async def test_another_family_writes_in_this_process_with_its_own_tokenizer(
    option: Option, folder: Path, task: Task
) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = Tokenizer(models.WordLevel({chr(33 + i): i for i in range(97)}, unk_token="!"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content[:40] }}{% endfor %}")
    words = ["policy=qwen7b", f"policy.path={folder}", "policy.backend=transformers", "policy.max_tokens=9"]
    async with option(*words, "policy.precision=float32").open(NO_SERVERS) as live:
        four = await live.propose(task, (), 4)
        later = await live.propose(task, (), 2, first=2)
    assert len({candidate.raw for candidate in four}) == 4
    assert [candidate.raw for candidate in later] == [candidate.raw for candidate in four[2:]]
    assert all(candidate.tokens_out == 9 for candidate in four)


async def test_a_folder_without_a_tokenizer_is_told(option: Option, folder: Path) -> None:
    policy = option("policy=qwen7b", f"policy.path={folder}", "policy.backend=transformers")
    with pytest.raises((MissingError, ConfigError), match=r"tokenizer\.json"):
        async with policy.open(NO_SERVERS):
            pass
