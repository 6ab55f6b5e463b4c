import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from codetool.errors import ConfigError, MissingError
from codetool.tools.recordings import Recordings, append
from codetool.types import ToolAnswer, ToolCall

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def call(**arguments: object) -> ToolCall:
    return ToolCall("GET", "http://a.test/x", arguments)


def live(status: int = 200, body: str = "{}", **arguments: object) -> ToolAnswer:
    return ToolAnswer(call(**arguments), status, body, "live")


async def body_of(file: Path, **arguments: object) -> str | None:
    answer = await Recordings.load([file]).answer(call(**arguments))
    return answer.body if answer else None


async def test_an_answer_is_found_again_under_any_spelling_of_its_call(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    Recordings({}).add(file, live(404, "née", b=1, a="x"), NOW)
    answer = await Recordings.load([file]).answer(call(a=" x", b="1"))
    assert answer == ToolAnswer(call(a=" x", b="1"), 404, "née", "recorded")


async def test_an_unknown_call_is_left_to_the_next_source() -> None:
    assert await Recordings({}).answer(call(a=1)) is None


async def test_an_added_answer_is_known_at_once(tmp_path: Path) -> None:
    recordings = Recordings({})
    recordings.add(tmp_path / "r", live(a=1), NOW)
    assert await recordings.answer(call(a=1)) is not None


def test_a_line_holds_these_fields(tmp_path: Path) -> None:
    Recordings({}).add(tmp_path / "r", live(a=1), NOW)
    assert json.loads((tmp_path / "r").read_text()) == {
        "key": 'GET http://a.test/x {"a":"1"}',
        "method": "GET",
        "url": "http://a.test/x",
        "arguments": {"a": 1},
        "status": 200,
        "body": "{}",
        "recorded_at": "2026-01-02T03:04:05+00:00",
    }


async def test_the_last_line_and_the_last_file_win(tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    for file, bodies in ((one, "ab"), (two, "cd")):
        for body in bodies:
            Recordings({}).add(file, live(body=body), NOW)
    for files, expected in (([one, two], "d"), ([two, one], "b")):
        answer = await Recordings.load(files).answer(call())
        assert answer is not None and answer.body == expected


@pytest.mark.parametrize(
    "answer",
    [
        live(500),
        live(503),
        live(429),
        live(401),
        ToolAnswer(call(), 200, "{}", "replica"),
        ToolAnswer(call(), 200, "{}", "recorded"),
        ToolAnswer(call(), 404, "{}", "live", failure="unreachable"),
        ToolAnswer(call(), 404, "{}", None, failure="miss"),
    ],
)
def test_only_the_live_services_own_word_is_recorded(answer: ToolAnswer, tmp_path: Path) -> None:
    Recordings({}).add(tmp_path / "r", answer, NOW)
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("cut", [1, 20, 80])
async def test_a_torn_last_line_costs_nothing_but_itself(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "r"
    for name in ("a", "b"):
        Recordings({}).add(file, live(body=name, n=name), NOW)
    file.write_bytes(file.read_bytes()[:-cut])
    Recordings({}).add(file, live(body="c", n="c"), NOW)
    found = [await body_of(file, n=name) for name in ("a", "b", "c")]
    assert found == ["a", "b" if cut == 1 else None, "c"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.jsonl"):
        Recordings.load([tmp_path / "nowhere.jsonl"])


@pytest.mark.parametrize("line", ['{"a": 1}', "[1]", "3"])
def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "r").write_text(line + "\n")
    with pytest.raises(ConfigError, match="line 1"):
        Recordings.load([tmp_path / "r"])


def _write_many(file: Path, who: int) -> None:
    for number in range(100):
        Recordings({}).add(file, live(body="x" * 20_000, who=who, number=number), NOW)


def test_two_processes_may_record_into_one_file(tmp_path: Path) -> None:
    file = tmp_path / "r"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(file, who)) for who in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(Recordings.load([file])) == len(file.read_text().splitlines()) == 200


def test_a_killed_writer_leaves_a_readable_file(tmp_path: Path) -> None:
    file = tmp_path / "r"
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "from test_recordings import _write_many; [_write_many(Path(sys.argv[1]), i) for i in range(1000)]"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(file), str(Path(__file__).parent)])
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and not (file.exists() and file.stat().st_size > 500_000):
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    whole = file.read_bytes().count(b"\n")
    assert whole >= 20
    assert whole <= len(Recordings.load([file])) <= whole + 1
    append(file, json.dumps({"key": "k", "status": 200, "body": ""}))
    assert len(Recordings.load([file])) >= whole + 1


def test_an_append_is_one_write_that_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda f, data: done.append("write") or write(f, data))
    monkeypatch.setattr(os, "fsync", lambda f: done.append("fsync") or fsync(f))
    append(tmp_path / "r", "x" * 100_000)
    assert done == ["write", "fsync"]
