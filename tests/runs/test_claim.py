"""Claims: one process among several machines, told by the files that they create in a shared folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from codetool.errors import WriteError
from codetool.runs import claim
from codetool.runs.claim import ClaimedError, find_holders, hold_claim


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is claimed, with times of fractions of a second."""
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.02)
    monkeypatch.setattr(claim, "SILENT_SECONDS", 0.25)
    monkeypatch.setattr(claim, "POLL_SECONDS", 0.01)
    return tmp_path / "1-of-2"


def describe(holder: str) -> str:
    return f"held by {holder}"


def write_claim(base: Path, **changes: object) -> Path:
    """The first claim, of a process of another machine unless the changes say otherwise."""
    owner = {"host": "node7", "machine": "another", "process": 12, "process_started": "34"} | changes
    file = base.with_name(f"{base.name}.claim-1")
    file.write_text(json.dumps(owner) + "\n.")
    return file


def test_one_process_holds_a_claim_until_its_context_ends(base: Path) -> None:
    with hold_claim(base, describe):
        with pytest.raises(ClaimedError, match=f"held by process {os.getpid()} on "), hold_claim(base, describe):
            pass
        assert list(find_holders([base, base.with_name("2-of-2")])) == [base]
    assert find_holders([base]) == {}
    with pytest.raises(ZeroDivisionError), hold_claim(base, describe):
        _ = 1 / 0
    with hold_claim(base, describe):
        assert base.with_name("1-of-2.claim-3").exists()


def test_of_many_that_claim_at_once_one_gets_it(base: Path) -> None:
    got: list[bool] = []
    start, refused = threading.Barrier(8), threading.Semaphore(0)

    def try_to_claim() -> None:
        start.wait()
        try:
            with hold_claim(base, describe):
                got.append(True)
                assert all(refused.acquire(timeout=5) for _ in range(7))
        except ClaimedError:
            got.append(False)
            refused.release()

    threads = [threading.Thread(target=try_to_claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(got) == [False] * 7 + [True]


def test_a_killed_process_of_this_machine_holds_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "SILENT_SECONDS", 60.0)  # it is not waited for
    program = (
        "import os, sys; from pathlib import Path; from codetool.runs.claim import hold_claim\n"
        "with hold_claim(Path(sys.argv[1]), str): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(base)]).returncode == -9
    started = time.monotonic()
    with hold_claim(base, describe) as held:
        held.check()
    assert time.monotonic() - started < 5


def test_a_process_number_that_another_process_has_now_holds_nothing(base: Path) -> None:
    write_claim(base, machine=claim._read_machine(), process=os.getpid(), process_started="1")
    assert find_holders([base]) == {}


@pytest.mark.parametrize("content", [None, "", '{"host": "node7", "mach', "[]\n"])
def test_a_silent_claim_of_another_machine_is_over_after_a_while(base: Path, content: str | None) -> None:
    file = write_claim(base)
    if content is not None:
        file.write_text(content)  # killed while it was writing
    started = time.monotonic()
    with hold_claim(base, describe):
        assert time.monotonic() - started >= 0.25
    assert base.with_name("1-of-2.claim-2").exists()


def test_a_claim_of_another_machine_that_gives_signs_of_life_is_respected(base: Path) -> None:
    file = write_claim(base)
    threading.Timer(0.05, lambda: file.write_text(file.read_text() + ".")).start()
    with pytest.raises(ClaimedError, match="held by process 12 on node7"), hold_claim(base, describe):
        pass


def test_a_claim_that_ends_while_it_is_watched_is_over_at_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "SILENT_SECONDS", 60.0)
    file = write_claim(base)
    threading.Timer(0.05, lambda: file.write_bytes(file.read_bytes() + claim.END)).start()
    with hold_claim(base, describe):
        pass


def test_signs_of_life_are_written(base: Path) -> None:
    with hold_claim(base, describe):
        file = base.with_name("1-of-2.claim-1")
        until = time.monotonic() + 5
        while not file.read_bytes().endswith(b"..."):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert file.read_bytes().endswith(claim.END)


def test_who_seemed_lost_and_comes_back_is_told_that_another_goes_on(base: Path) -> None:
    with hold_claim(base, describe) as held:
        held.check()
        base.with_name("1-of-2.claim-2").touch()
        with pytest.raises(WriteError, match="another process goes on with this work"):
            held.check()
