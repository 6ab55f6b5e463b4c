import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codetool.errors import ConfigError
from codetool.runs import journal
from codetool.runs.journal import Journal


def test_records_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    records = [{"n": n, "text": "ä\n\u2028"} for n in range(3)]
    with Journal(path) as file:
        for record in records:
            file.append(record)
    assert list(journal.read_records(path)) == records


def test_half_a_surrogate_pair_survives(tmp_path: Path) -> None:
    """Generated code can send one as an argument: `json={"a": "\\ud800"}`."""
    path = tmp_path / "a.jsonl"
    with Journal(path) as file:
        file.append({"text": "a\ud800b\\ud800 ä"})
    assert list(journal.read_records(path)) == [{"text": "a\ud800b\\ud800 ä"}]


def test_a_replaced_file_is_never_half_written(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        journal.atomic_write(path, [b"new ", b"and longer"])
        assert reader.read() == b"old"  # the old file is whole for whoever has it open: the new one is another file
    assert path.read_bytes() == b"new and longer"


def test_reading_a_missing_journal_gives_nothing(tmp_path: Path) -> None:
    assert list(journal.read_records(tmp_path / "none.jsonl")) == []


@pytest.mark.parametrize("size", [0, 70_000])
def test_a_torn_last_line_is_ignored_and_cut_off_before_the_next_record(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.jsonl"
    whole = journal.encode_record({"n": 1})
    path.write_bytes(whole + b'{"n": 2, "text": "' + b"x" * size)
    assert list(journal.read_records(path)) == [{"n": 1}]
    with Journal(path) as file:
        file.append({"n": 3})
    assert path.read_bytes() == whole + journal.encode_record({"n": 3})


def test_a_file_that_is_one_torn_line_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1')
    with Journal(path):
        pass
    assert path.read_bytes() == b""


SHORT_LIVED = """
import sys
from pathlib import Path
from codetool.runs.journal import Journal
for n in range(60):
    with Journal(Path(sys.argv[1])) as file:
        file.append({"n": n, "text": "x" * 600})
"""


def test_processes_that_open_one_file_again_and_again_cut_off_no_line_of_another(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path) as long_lived:  # it blocks none of them
        writers = [subprocess.Popen([sys.executable, "-c", SHORT_LIVED, str(path)]) for _ in range(4)]
        while any(writer.poll() is None for writer in writers):
            long_lived.append({"n": None})
            time.sleep(0.001)
    assert [writer.returncode for writer in writers] == [0] * 4
    assert sum(record["n"] is not None for record in journal.read_records(path)) == 240


WRITER = """
import sys
from pathlib import Path
from codetool.runs.journal import Journal
with Journal(Path(sys.argv[1])) as file:
    n = 0
    while True:
        file.append({"n": n, "text": "x" * (n % 5000)})
        n += 1
"""


def test_a_kill_at_any_moment_loses_no_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        while not path.exists() or path.stat().st_size < 1_000_000:
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
    assert [record["n"] for record in journal.read_records(path)] == list(
        range(sum(1 for _ in journal.read_records(path)))
    )


def test_a_line_that_somebody_else_wrote_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(journal.encode_record({"n": 1}) + b"garbage\n" + journal.encode_record({"n": 2}))
    with pytest.raises(ConfigError, match=r"a\.jsonl, line 2, .*garbage.*fresh=true"):
        list(journal.read_records(path))


def test_the_last_record_of_a_task_counts_and_replaced_ones_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for task_id, n in [("a", 1), ("b", 2), ("a", 3), ("a", 4)]:
        journal.append_line(path, f'{{"task_id": "{task_id}", "n": {n}}}')
    latest, replaced = journal.read_latest_records(path, {"task_id": str})
    assert ({task_id: record["n"] for task_id, record in latest.items()}, replaced) == ({"b": 2, "a": 4}, 2)


def test_an_appended_line_begins_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    journal.append_line(path, '{"n": 1}')
    journal.append_line(path, '{"n": 2}')
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n'
    path.write_bytes(b'{"n": 1}\n{"n":')
    journal.append_line(path, '{"n": 2}')
    assert path.read_bytes() == b'{"n": 1}\n{"n":\n{"n": 2}\n'
