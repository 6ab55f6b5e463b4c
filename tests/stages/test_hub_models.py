"""Models of a hub in a run: a dry run downloads nothing, and a folder keeps the commits that it recorded."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
from hub_server import Hub, serve_hub
from in_process import evaluate_with_log

from codetool.models import hub_client
from codetool.models.hub_cache import write_commit

MODEL = "Qwen/Qwen2.5-7B-Instruct"
FIRST, SECOND = "a" * 40, "b" * 40
WORDS = (
    "policy=qwen7b", "policy.backend=transformers", "policy.max_tokens=8", "search=greedy", "search.depth=1",
    "prm=none", "benchmark.split=dev", "limit=1",
)  # fmt: skip


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    for name in ("HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    tiny_models.save("qwen2", tmp_path / "weights", context=32768)
    with serve_hub() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        served.add(MODEL, tmp_path / "weights", FIRST, "main")
        yield served


def move_main(hub: Hub) -> None:
    hub.add(MODEL, hub.folders[FIRST], SECOND, "main")
    hub_client._resolve_version.cache_clear()


def record_commit(folder: Path, identity: str, commit: str) -> None:
    """Write the provenance of a run that has begun in the folder."""
    folder.mkdir(parents=True)
    content = {
        "result": "r", "identity": json.loads(identity), "checksums": {}, "sessions": [],
        "models": {"policy": {"model": MODEL, "revision": None, "commit": commit}},
    }  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(content))


def test_a_dry_run_names_the_download_and_a_folder_keeps_its_commit(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    identities: list[str] = []
    from codetool.stages.evaluate import run as stage

    def keep(config: object, parent: Path, stem: str, settings: dict[str, object]) -> object:
        identities.append(json.dumps({"digest": "0", "version": "0", "settings": settings}, default=str))
        return kept(config, parent, stem, settings)  # type: ignore[arg-type]

    kept = stage.keep_recorded_commits
    monkeypatch.setattr(stage, "keep_recorded_commits", keep)
    begun, said = evaluate_with_log(tmp_path / "out", *WORDS, "dry_run=true")
    assert f"would be downloaded: {MODEL} (main, commit {FIRST[:12]}): 6 files" in said
    assert not (tmp_path / "cache").exists() and not begun.folder.exists()
    record_commit(begun.folder, identities[0], FIRST)
    move_main(hub)
    write_commit(tmp_path / "cache", MODEL, "main", SECOND)
    again, _ = evaluate_with_log(tmp_path / "out", *WORDS, "dry_run=true")
    anew, said = evaluate_with_log(tmp_path / "out", *WORDS, "dry_run=true", "fresh=true")
    assert again.folder == begun.folder != anew.folder
    assert f"keeps to it; main is {SECOND[:12]} meanwhile" in caplog.text
    assert f"commit {SECOND[:12]}" in said


@pytest.mark.slow
def test_a_run_downloads_its_model_and_goes_on_with_it_when_the_branch_has_moved(hub: Hub, tmp_path: Path) -> None:
    begun, _ = evaluate_with_log(tmp_path / "out", *WORDS)
    recorded = json.loads((begun.folder / "provenance.json").read_text())["models"]
    assert recorded == {"policy": {"model": MODEL, "revision": None, "commit": FIRST}}
    move_main(hub)
    (tmp_path / "cache").rename(tmp_path / "lost")
    more, said = evaluate_with_log(tmp_path / "out", *WORDS[:-1], "limit=2")
    assert more.folder == begun.folder and len(more.tasks) == 2 and f"commit {FIRST[:12]}" in said
    assert json.loads((begun.folder / "provenance.json").read_text())["models"] == recorded
