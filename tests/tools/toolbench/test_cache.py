"""The published cache: which calls it knows, what it reads, what it keeps, and what breaks."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest
from cache_world import API, said, write

from codetool.runs import bounded_input
from codetool.tool_calls.toolbench_api import Api
from codetool.tools.toolbench.cache import ResponseCache, canonicalize


def cache(folder: Path, most: int = 1 << 20) -> ResponseCache:
    return ResponseCache(folder / "tool_response_cache", most)


def known(folder: Path, arguments: dict[str, Any]) -> tuple[Any, bool] | None:
    found = cache(folder).find(API, arguments)
    return (found.reply.data, found.exact) if found else None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, API, {"{'artist_id': 5, 'tour': True}": said({"name": "Ada"}), "{'from': '2022'}": said("x")})
    return tmp_path


def test_exact_arguments_are_found_as_such(folder: Path) -> None:
    assert known(folder, {"artist_id": 5, "tour": True}) == ({"name": "Ada"}, True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"tour": True, "artist_id": 5},
        {"artist_id": "5", "tour": "true"},
        {"artist_id": 5.0, "tour": True, "page": None},
        {"Artist ID": 5, "tour": "True", "toolbench_key": "k"},
    ],
)
def test_other_orders_types_and_spellings_are_found_too(folder: Path, arguments: dict[str, Any]) -> None:
    assert known(folder, arguments) == ({"name": "Ada"}, False)


@pytest.mark.parametrize("arguments", [{}, {"artist_id": 6, "tour": True}, {"artist_id": 5}, {"artist_id": "5 "}])
def test_other_calls_are_not_known(folder: Path, arguments: dict[str, Any]) -> None:
    assert known(folder, arguments) is None


def test_an_exact_answer_goes_before_a_canonical_one(tmp_path: Path) -> None:
    write(tmp_path, API, {"{'id': '1'}": said("text"), "{'id': 1}": said("number")})
    assert known(tmp_path, {"id": 1}) == ("number", True)
    assert known(tmp_path, {"id": "1"}) == ("text", True)
    assert known(tmp_path, {"is_id": 1.0}) == ("text", False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": [1, 2]}, {"a": "[1, 2]"}),
        ({"a": {"x": 1, "y": None}}, {"a": "{'x': '1'}"}),
        ({"a": " é"}, {"a": "e\u0301 "}),
        ({"a": 5}, {"a": "5.0"}),
    ],
)
def test_spellings_of_one_value_are_one(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonicalize(one) == canonicalize(other)


@pytest.mark.parametrize(("one", "other"), [({"a": "1.10"}, {"a": "1.1"}), ({"a": "007"}, {"a": 7}), ({"a": ""}, {})])
def test_different_values_stay_different(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert canonicalize(one) != canonicalize(other)


@pytest.mark.parametrize("broken", [b'{"{}": {"err', b"[1]", b"\xff\xfe", b""])
def test_a_broken_file_is_named_and_skipped(folder: Path, broken: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file = write(folder, API, {})
    file.write_bytes(broken)
    with caplog.at_level(logging.WARNING):
        assert known(folder, {}) is None
    assert str(file) in caplog.text


def test_entries_that_are_none_do_not_cost_the_others(tmp_path: Path) -> None:
    entries = {"no literal": said("a"), "{'x': 1}": "no reply", "[1]": said("b"), "{}": said("good")}
    write(tmp_path, API, entries)
    assert known(tmp_path, {}) == ("good", True)


def test_a_file_that_has_changed_is_read_again_and_a_torn_one_keeps_what_was_known(folder: Path) -> None:
    shelf = cache(folder)
    file = write(folder, API, {"{}": said("one")})
    first = shelf.find(API, {})
    file.write_text(json.dumps({"{}": said("the second")}))
    second = shelf.find(API, {})
    file.write_text('{"{}": {"error": "", "resp')
    third = shelf.find(API, {})
    assert [found and found.reply.data for found in (first, second, third)] == ["one", "the second", "the second"]


def test_files_beyond_the_limit_are_forgotten_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apis = [Api("Data", "clique", f"api_{number}") for number in range(4)]
    for api in apis:
        write(tmp_path, api, {"{}": said("x" * 1000)})
    reads: list[str] = []
    real = bounded_input.read_bytes
    monkeypatch.setattr("codetool.tools.toolbench.cache.read_bytes", lambda file: reads.append(file.stem) or real(file))
    shelf = cache(tmp_path, most=2500)
    for api in (apis[0], apis[1], apis[0], apis[2], apis[0], apis[1]):
        assert shelf.find(api, {}) is not None
    assert reads == ["api_0", "api_1", "api_2", "api_1"]


@pytest.mark.parametrize("name", ["..", "a/../../x", "", "x\0"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    write(tmp_path, API, {"{}": said("x")})
    assert cache(tmp_path).find(Api(name, "clique", "artist"), {}) is None
    assert cache(tmp_path).find(Api("Data", "clique", name), {}) is None


def test_only_successful_calls_are_examples(tmp_path: Path) -> None:
    entries = {f"{{'a': {number}}}": said({"n": number}) for number in range(3)}
    write(tmp_path, API, {"{}": said("", "bad"), "{'b': 1}": said({"message": "Not Found"})} | entries)
    assert [each.arguments for each in cache(tmp_path).examples(API, 2)] == [{"a": 0}, {"a": 1}]


def test_many_threads_read_while_another_writes(tmp_path: Path) -> None:
    """A writer that replaces the file, as a recorder that is careful does: each reader sees one whole version."""
    shelf, stop, wrong = cache(tmp_path), threading.Event(), list[Any]()
    file = write(tmp_path, API, {"{}": said(0)})

    def read() -> None:
        last = 0
        while not stop.is_set():
            found = shelf.find(API, {})
            if found is None or found.reply.data < last:
                wrong.append(found)
            else:
                last = found.reply.data

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for version in range(1, 60):
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"{}": said(version)}))
        part.replace(file)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
