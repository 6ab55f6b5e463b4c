import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest

from codetool.runs import journal
from codetool.runs.file_lock import lock_exclusively, unlock
from codetool.runs.journal import Journal


def refuse(number: int) -> Any:
    def flock(*_: object) -> None:
        raise OSError(number, "flock")

    return flock


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_files_are_written_where_the_file_system_has_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", refuse(number))
    with Journal(tmp_path / "a.jsonl") as opened:
        opened.append({"a": 1})
    journal.atomic_write(tmp_path / "b", [b"b"])
    journal.append_line(tmp_path / "c", "c")
    assert [file.read_bytes() for file in sorted(tmp_path.iterdir())] == [b'{"a":1}\n', b"b", b"c\n"]


def test_a_lock_tells_whether_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a").open("w") as first, (tmp_path / "a").open() as second:
        assert lock_exclusively(first)
        with pytest.raises(BlockingIOError):
            lock_exclusively(second, wait=False)
        unlock(first)
        assert lock_exclusively(second, wait=False)
        monkeypatch.setattr(fcntl, "flock", refuse(errno.ENOLCK))
        assert not lock_exclusively(first)
        monkeypatch.setattr(fcntl, "flock", refuse(errno.EIO))
        with pytest.raises(OSError, match="flock"):
            lock_exclusively(first)
