"""Each fault of a service is on disk when it happens: what a command counted is kept if it is killed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest

from codetool.errors import WriteError
from codetool.http.fault_counts import collect_faults, report_fault, report_given_up, report_unused_tokens
from codetool.runs import journal
from codetool.stages.fault_journal import FAULTS_FILE, FaultJournal, read_faults, record_faults

KILLED = """
import os, signal, sys
from pathlib import Path
from codetool.http.fault_counts import report_fault, report_given_up
from codetool.stages.fault_journal import record_faults
with record_faults(Path(sys.argv[1])):
    report_fault("judge", "timeout")
    report_given_up("judge")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_command_keeps_its_counts(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    with record_faults(tmp_path):
        report_fault("judge", "timeout")
        report_fault("policy", "status_503")
        report_unused_tokens("policy", 7, 2)
    assert read_faults(tmp_path) == {
        "judge": {"kinds": {"timeout": 2}, "given_up": 1},
        "policy": {"kinds": {"status_503": 1}, "unused_tokens_in": 7, "unused_tokens_out": 2},
    }


def test_without_a_fault_there_is_no_file(tmp_path: Path) -> None:
    with record_faults(tmp_path):
        pass
    assert not (tmp_path / FAULTS_FILE).exists() and read_faults(tmp_path) == {}


def test_faults_of_many_threads_are_all_counted(tmp_path: Path) -> None:
    with record_faults(tmp_path), ThreadPoolExecutor(8) as pool:
        for _ in range(200):
            pool.submit(copy_context().run, report_fault, "prm", "timeout")
    assert read_faults(tmp_path) == {"prm": {"kinds": {"timeout": 200}}}


class FullDisk:
    """`os` for the module that writes journals, whose writes fail while `is_full`."""

    is_full = True

    def write(self, descriptor: int, data: bytes) -> int:
        if self.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(descriptor, data)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)


def test_a_full_disk_delays_counts_and_is_reported_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk()
    monkeypatch.setattr(journal, "os", disk)
    with record_faults(tmp_path):
        report_fault("tools", "timeout")
        assert read_faults(tmp_path) == {}
        disk.is_full = False
        report_fault("tools", "timeout")
        assert read_faults(tmp_path) == {"tools": {"kinds": {"timeout": 2}}}
        disk.is_full = True
    with pytest.raises(WriteError, match="No space left on device"), record_faults(tmp_path):
        report_fault("tools", "timeout")
    with pytest.raises(KeyError), record_faults(tmp_path):
        report_fault("tools", "timeout")
        raise KeyError("the error that ends the command")


def test_a_fault_after_the_end_is_ignored(tmp_path: Path) -> None:
    file = FaultJournal(tmp_path)
    with collect_faults(file.append) as counts:
        report_fault("policy", "timeout")
        file.close()
        report_given_up("policy")
    assert read_faults(tmp_path) == {"policy": {"kinds": {"timeout": 1}}}
    assert counts.encode() == {"policy": {"kinds": {"timeout": 1}, "given_up": 1}}
