"""Models by hub name against a stand-in hub: what is downloaded, at which commit, and what is said if it cannot be."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from hub_server import Hub, serve_hub

from codetool.errors import CodeToolError, MissingError
from codetool.models import hub_client
from codetool.models.hub_cache import read_commit
from codetool.models.hub_model import HubModel
from codetool.models.locate import find_or_build, locate

MODEL = "Qwen/Qwen2.5-7B-Instruct"
FIRST, SECOND = "a" * 40, "b" * 40
TOKEN = "hf_right-token-of-nobody"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with files beside it that no run needs."""
    folder = tmp_path_factory.mktemp("weights")
    tiny_models.save("qwen2", folder, context=32768)
    (folder / "original").mkdir()
    for name in ("README.md", "pytorch_model.bin", "original/params.json", "consolidated.safetensors"):
        (folder / name).write_text("not needed")
    return folder


@pytest.fixture
def hub(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    hub_client._resolve_version.cache_clear()
    with serve_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        served.add(MODEL, weights, FIRST, "main", "v1")
        yield served


def find(revision: str | None = None, model: str = MODEL) -> HubModel:
    found = locate("policy", model, None, revision=revision).hub
    assert found is not None
    return found


def download_in_process(cache: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "codetool.models.hub_download", "policy", MODEL, FIRST, str(cache)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def test_a_model_is_downloaded_once_without_what_no_run_needs_and_keeps_its_commit(
    hub: Hub, weights: Path, tmp_path: Path
) -> None:
    before = locate("policy", MODEL, None)
    assert before.hub is not None and "6 files" in str(before.hub.describe_download())
    assert not (tmp_path / "cache").exists() and hub.count("GET /api/models") == 1
    folders = find_or_build("policy", MODEL, None)
    assert folders.base.name == FIRST and folders.checksum() == before.checksum()
    assert {file.name for file in folders.base.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja",
    }  # fmt: skip
    asked = len(hub.asked)
    assert find_or_build("policy", MODEL, None).hub is not None and len(hub.asked) == asked
    assert hub.tokens == {None}
    # the branch moves: the commit of the download stays
    hub.add(MODEL, weights, SECOND, "main", "next")
    hub_client._resolve_version.cache_clear()
    assert find().commit == FIRST
    assert [find(revision).commit for revision in ("next", SECOND, "v1", FIRST)] == [SECOND, SECOND, FIRST, FIRST]
    assert read_commit(tmp_path / "cache", MODEL, "main") == FIRST


def test_a_download_that_was_killed_goes_on_with_its_commit_and_its_files(
    hub: Hub, weights: Path, tmp_path: Path
) -> None:
    hub.hold = threading.Event()
    model = find()
    with pytest.raises(MissingError, match=r"the download was ended \(exit code -9\); the same command goes on"):
        threading.Thread(target=kill_when_half_is_there, args=(hub,)).start()
        model.download()
    hub.hold.set()
    hub.hold = None
    hub.add(MODEL, weights, SECOND, "main")
    hub_client._resolve_version.cache_clear()
    assert find().commit == FIRST and find().describe_download() is not None
    small = hub.count("GET", "tokenizer.json")
    find().download()
    assert find().describe_download() is None and hub.count("GET", "tokenizer.json") == small == 1


def kill_when_half_is_there(hub: Hub) -> None:
    """Kill the process that downloads, which is this process's only child of that command."""
    assert hub.sent_half.wait(30)
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command, status = (folder / "cmdline").read_bytes(), (folder / "stat").read_text()
        except OSError:
            continue  # it has ended meanwhile
        if b"hub_download" in command and int(status.rpartition(")")[2].split()[1]) == os.getpid():
            os.kill(int(folder.name), signal.SIGKILL)


@pytest.mark.slow
def test_the_download_ends_with_the_process_that_asked_for_it(hub: Hub, tmp_path: Path) -> None:
    hub.hold = threading.Event()
    with download_in_process(tmp_path / "cache") as process:
        assert hub.sent_half.wait(30)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 1
    assert not list(tmp_path.rglob("*.incomplete"))


@pytest.mark.slow
def test_two_processes_download_every_file_once(hub: Hub, tmp_path: Path) -> None:
    hub.hold = threading.Event()
    with download_in_process(tmp_path / "cache") as first, download_in_process(tmp_path / "cache") as second:
        assert hub.sent_half.wait(30)
        time.sleep(1)  # the other one has come to the same file
        hub.hold.set()
        assert [first.wait(60), second.wait(60)] == [0, 0]
    assert hub.count("GET", "model.safetensors") == 1


@pytest.mark.parametrize(
    ("model", "revision", "message"),
    [
        ("no/such", None, r"policy\.model=no/such: the hub has no such model .*Check the name at http.*/no/such"),
        ("me/private", None, r"policy\.model=me/private: .*some accounts only \(HTTP 401\).* HF_TOKEN"),
        (MODEL, "nope", rf"policy\.revision=nope: {MODEL} has no such branch.*{MODEL}/branches"),
        ("meta/gated", None, r"meta/gated is gated: .*without a token.* at http.*/meta/gated and set HF_TOKEN"),
        ("meta/bin", None, r"policy\.model=meta/bin: .*has no weights as \*\.safetensors in revision main"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_that_says_what_to_do(
    hub: Hub, weights: Path, tmp_path: Path, model: str, revision: str | None, message: str
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pytorch_model.bin").touch()
    hub.add("meta/gated", weights, FIRST, "main")
    hub.add("meta/bin", tmp_path / "bin", SECOND, "main")
    hub.hidden.add("me/private")
    hub.gated["meta/gated"] = TOKEN
    with pytest.raises(MissingError, match=message) as raised:
        find_or_build("policy", model, None, revision=revision)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_the_token_opens_a_gated_model_and_stays_out_of_the_cache(
    hub: Hub, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("meta/gated", weights, FIRST, "main")
    hub.gated["meta/gated"] = TOKEN
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(MissingError, match="refuses it to your token.*and set HF_TOKEN") as raised:
        find_or_build("policy", "meta/gated", None)
    assert "hf_wrong" not in str(raised.value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find_or_build("policy", "meta/gated", None).base.is_dir()
    assert not any(TOKEN.encode() in file.read_bytes() for file in (tmp_path / "cache").rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("HF_HUB_OFFLINE", "1", "HF_HUB_OFFLINE=1 forbids to download it"),
        ("HF_ENDPOINT", "http://127.0.0.1:9", r"no connection to 127\.0\.0\.1:9 \(.*refused\)"),
        ("HF_ENDPOINT", "http://me:hidden@hub.invalid", r"unknown host hub\.invalid"),
        ("HF_ENDPOINT", "hub", "HF_ENDPOINT='hub' is no http address"),
    ],
)
def test_without_the_hub_one_message_says_why_at_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    started = time.monotonic()
    with pytest.raises(MissingError, match=rf"model {MODEL} is missing: .*{reason}.*Supply it in one") as raised:
        find()
    assert time.monotonic() - started < 5 and "hidden" not in str(raised.value)


def test_a_version_of_no_hub_is_refused(hub: Hub, weights: Path) -> None:
    for words in (("policy", str(weights), None), ("policy", MODEL, weights), ("prm", "SmolLM2-135M-Instruct", None)):
        with pytest.raises(CodeToolError, match=r"revision=v1 is a version of a model on the hub, and .* is none"):
            locate(*words, revision="v1")  # type: ignore[arg-type]
