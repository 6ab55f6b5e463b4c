import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from codetool.runs.body_store import BodyStore, StoredBody, read_body
from codetool.tools.recordings import Recordings
from codetool.tools.writes import TaskWrites
from codetool.types import ToolAnswer, ToolCall

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG = ["né€ \ud800 " * 200, "b" * 100_000, "c\x00" * 600]


def test_bodies_beyond_the_limit_are_read_back_from_a_file() -> None:
    store = BodyStore(max_chars_in_memory=1000)
    bodies = [store.keep(text) for text in ("x" * 900, *LONG, "short")]
    assert [isinstance(body, StoredBody) for body in bodies] == [False, True, True, True, False]
    assert [read_body(body) for body in bodies] == ["x" * 900, *LONG, "short"]


def test_a_body_that_still_fits_is_kept_in_memory() -> None:
    store = BodyStore(max_chars_in_memory=1000)
    assert [isinstance(store.keep("x" * 600), StoredBody) for _ in range(2)] == [False, True]
    assert BodyStore(max_chars_in_memory=600).keep("x" * 600) == "x" * 600


def test_a_full_disk_leaves_bodies_in_memory_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    store = BodyStore(max_chars_in_memory=0)
    with caplog.at_level(logging.WARNING):
        assert [store.keep(text) for text in LONG] == LONG
    assert len(caplog.records) == 1 and "No space left" in caplog.text


async def test_recordings_answer_from_the_file_as_from_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.tools.recordings.BodyStore", lambda _: BodyStore(0))
    file, recordings = tmp_path / "r.jsonl", Recordings({})
    calls = [ToolCall("GET", "http://a.test/x", {"n": number}) for number in range(3)]
    for call, body in zip(calls, LONG, strict=True):
        recordings.add(file, ToolAnswer(call, 200, body, "live"), NOW)
    write = ToolCall("POST", "http://a.test/x", {"n": 1})
    recordings.add(file, ToolAnswer(write, 201, LONG[1], "live"), NOW, TaskWrites("task"))
    for loaded in (recordings, Recordings.load([file])):
        answers = [await loaded.answer(call) for call in calls]
        assert [answer and answer.body for answer in answers] == LONG
        assert all(isinstance(body, StoredBody) for _, body, _ in loaded._answers.values())
        [[bound]] = loaded._bound.values()
        assert bound.to_answer(write).body == LONG[1]
