"""`provenance.json`: what it holds, who reads it, and that it holds no secret."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codetool.errors import ConfigError
from codetool.runs import provenance
from codetool.runs.code_version import CodeVersion
from codetool.runs.identity import Identity
from codetool.runs.provenance import PROVENANCE_FILE, count_results_by_code, describe_other_code, record_session

IDENTITY = Identity({"seed": 0, "search": {"_option_": "beam"}}, {"benchmark": "ab"}, "0.1.0")
FIRST = CodeVersion("0.1.0", "a" * 64, "c" * 40, False)
SECOND = replace(FIRST, sha256="b" * 64, changed=True)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    def change(code: CodeVersion) -> None:
        monkeypatch.setattr(provenance, "read_code_version", lambda settings: code)

    change(FIRST)
    return change


def session(folder: Path, *words: str, done: int | None = None, settings: Any = None) -> None:
    with record_session(folder, IDENTITY, settings or {}, ["python", "run.py", *words], done=done):
        pass


def content(folder: Path) -> dict[str, Any]:
    return json.loads((folder / PROVENANCE_FILE).read_text())


@pytest.mark.usefixtures("use")
def test_what_it_holds_while_a_command_runs_and_when_it_has_ended(tmp_path: Path) -> None:
    with record_session(tmp_path, IDENTITY, {}, ["python", "run.py", "search=beam"], done=0) as mine:
        mine.record_sandbox({"namespaces": "no network"}, {"restarts": 1})
        [running] = content(tmp_path)["sessions"]
    [ended] = content(tmp_path)["sessions"]
    assert running == ended | {"ended": None}
    assert ended["started"] <= ended["ended"]
    assert ended["command"] == "python run.py search=beam"
    assert ended["code"] == {
        "version": "0.1.0",
        "sha256": "a" * 64,
        "commit": "c" * 40,
        "changed": False,
        "plugins": {},
    }
    assert ended["python"].startswith("CPython 3") and ended["platform"] and ended["cpu"]["cores"]
    assert isinstance(ended["gpus"], list)
    assert {"torch", "pydantic", "hydra-core"} <= ended["packages"].keys() and "pytest" not in ended["packages"]
    assert ended["sandbox"] == {"namespaces": "no network"}
    found = provenance.read_provenance(tmp_path)
    assert found.identity == IDENTITY
    assert content(tmp_path)["identity"]["digest"] == IDENTITY.digest
    assert found.sandboxes == [{"namespaces": "no network"}]
    with record_session(tmp_path, IDENTITY, {}, []) as mine:
        mine.record_sandbox({"namespaces": "no network"}, {"restarts": 2, "interrupted:memory": 4})
    assert provenance.read_sandbox_events(tmp_path) == {"interrupted:memory": 4, "restarts": 3}


@pytest.mark.usefixtures("use")
def test_a_command_that_fails_or_is_stopped_has_an_end_too(tmp_path: Path) -> None:
    for error in (ConfigError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)), record_session(tmp_path, IDENTITY, {}, []):
            raise error
    assert all(each["ended"] for each in content(tmp_path)["sessions"])


def test_a_folder_that_other_code_continues_says_so_and_names_each(
    tmp_path: Path, use: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        session(tmp_path, done=0)
        session(tmp_path, done=3)
        assert caplog.messages == []
        use(SECOND)
        assert describe_other_code(tmp_path, SECOND) is not None
        session(tmp_path, done=4)
    [line] = caplog.messages
    assert "code has changed" in line and "fresh=true" in line and "\n" not in line
    assert str(FIRST) in line and str(SECOND) in line
    assert [(row["sha256"][0], row["results"]) for row in count_results_by_code(tmp_path, 6)] == [("a", 4), ("b", 2)]
    result = content(tmp_path)["result"]
    use(FIRST)
    session(tmp_path, done=6)
    assert content(tmp_path)["result"] == result
    assert [(row["sha256"][0], row["results"]) for row in count_results_by_code(tmp_path, 7)] == [("a", 5), ("b", 2)]


@pytest.mark.usefixtures("use")
def test_no_secret_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "abcdefgh12345")
    monkeypatch.setenv("SHORT_TOKEN", "hunter2")
    monkeypatch.setenv("ODD_NAME", "named-by-a-setting")
    monkeypatch.setenv("NESTED", "in-a-list-of-settings")
    settings = {"policy": {"key_env": "ODD_NAME"}, "tools": {"secrets": [{"env": "NESTED"}]}}
    words = (
        "policy.base_url=https://me:pass@host/v1?api-version=3&api_key=zzz&x=1", "a='Bearer abcdefgh12345'",
        "b=hunter2", "c=named-by-a-setting", "d=in-a-list-of-settings", "e=sk-proj-0123456789abcdefghij", "limit=6",
    )  # fmt: skip
    session(tmp_path, *words, settings=settings)
    text = (tmp_path / PROVENANCE_FILE).read_text()
    for secret in ("me:pass", "zzz", "abcdefgh12345", "hunter2", "named-by", "in-a-list", "sk-proj"):
        assert secret not in text
    assert "https://[secret]@host/v1?api-version=3&api_key=[secret]&x=1" in text and "limit=6" in text


@pytest.mark.parametrize("text", ["", "[]", "{", '{"sessions": []}'])
def test_a_file_that_is_none_is_one_message(tmp_path: Path, text: str) -> None:
    (tmp_path / PROVENANCE_FILE).write_text(text)
    with pytest.raises(ConfigError, match=str(tmp_path)):
        provenance.read_provenance(tmp_path)


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path} has no provenance.json"):
        provenance.read_provenance(tmp_path)
