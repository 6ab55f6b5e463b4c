"""A disk that takes no more, at every write of a run: one message, nothing damaged, and the same command ends equal."""

from __future__ import annotations

import errno
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from command_line import ROOT, read_lines, strip_seconds
from failing_disk import FailingDisk, run_on
from in_process import evaluate_run, remove_seconds, scripted

from codetool.errors import WriteError
from codetool.runs import journal

JOURNALS = ("results", "trees", "candidates", "tools")
WORDS = ("search=beam", "search.n=2", "limit=2", "concurrency=1")


def run(outputs: Path, policy: ChatServer, monkeypatch: pytest.MonkeyPatch, disk: FailingDisk) -> None:
    run_on(disk, monkeypatch, lambda outputs: evaluate_run(outputs, *scripted(policy), *WORDS), outputs)


def content(outputs: Path) -> dict[str, Any]:
    """What must be equal. Lines of a journal must all be good, and nothing else may lie about."""
    [folder] = outputs.glob("evaluate/*")
    assert not [file.name for file in folder.iterdir() if file.suffix in (".new", ".damaged")]
    metrics = remove_seconds(json.loads((folder / "metrics.json").read_text()))
    return {"metrics": metrics, **{name: as_set(strip_seconds(read_lines(folder, name))) for name in JOURNALS}}


def as_set(records: list[dict[str, Any]]) -> set[str]:
    """Records without their order. Of paths with equal prompts, either may be the one that drew a candidate."""
    drawn = [record | {"path": None} if "key" in record else record for record in records]
    return {json.dumps(record, sort_keys=True) for record in drawn}


@pytest.fixture
def expected(tmp_path: Path, policy: ChatServer, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], int]:
    """The undisturbed run, and its number of operations."""
    disk = FailingDisk(None)
    run(tmp_path / "undisturbed", policy, monkeypatch, disk)
    return content(tmp_path / "undisturbed"), disk.operations


def check_failure(
    tmp_path: Path, policy: ChatServer, monkeypatch: pytest.MonkeyPatch, disk: FailingDisk, equal: dict[str, Any]
) -> None:
    outputs = tmp_path / f"full-{disk.fails_at}"
    with pytest.raises(WriteError, match=r"^\S*evaluate/\S+ cannot be written: .*\. What is finished is") as told:
        run(outputs, policy, monkeypatch, disk)
    assert "\n" not in str(told.value)
    for file in outputs.glob("evaluate/*/*.jsonl"):
        assert list(journal.read_records(file)) == [json.loads(line) for line in file.read_bytes().splitlines()]
    run(outputs, policy, monkeypatch, FailingDisk(None))
    assert content(outputs) == equal
    shutil.rmtree(outputs)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_run_whose_disk_fails_continues_when_the_disk_does(
    tmp_path: Path, policy: ChatServer, monkeypatch: pytest.MonkeyPatch, expected: Any, error: int
) -> None:
    equal, operations = expected
    check_failure(tmp_path, policy, monkeypatch, FailingDisk(operations // 3, error), equal)


@pytest.mark.parametrize(
    "step", [pytest.param(7, marks=pytest.mark.slow), pytest.param(1, marks=pytest.mark.exhaustive)]
)
def test_the_disk_may_be_full_at_every_write(
    tmp_path: Path, policy: ChatServer, monkeypatch: pytest.MonkeyPatch, expected: Any, step: int
) -> None:
    equal, operations = expected
    assert operations > 20
    for number in range(1, operations, step):  # the last one flushes the names in the folder, which may fail
        check_failure(tmp_path, policy, monkeypatch, FailingDisk(number), equal)


SCRIPT = """
mount -t tmpfs -o size={size}k tmpfs {outputs} || exit 99
{command}
echo "exit $?"
mount -o remount,size=64m {outputs}
{command} && cp -r {outputs}/. {copy}
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [4, 12, 20, 28, 36])
def test_a_real_file_system_that_is_full_is_one_line(
    tmp_path: Path, policy: ChatServer, monkeypatch: pytest.MonkeyPatch, expected: Any, size: int
) -> None:
    """A tmpfs of so many KiB in a mount namespace of its own, which is then enlarged."""
    if subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
        pytest.skip("no user and mount namespaces here")
    outputs, copy = tmp_path / "outputs", tmp_path / "copy"
    outputs.mkdir()
    copy.mkdir()
    words = [sys.executable, "run.py", f"outputs={outputs}", "logger=none", *scripted(policy), *WORDS]
    script = SCRIPT.format(size=size, outputs=outputs, copy=copy, command=shlex.join(words))
    done = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "exit 1\n" in done.stdout, done.stdout + done.stderr
    told = [line for line in done.stderr.splitlines() if "No space left on device" in line]
    assert len(told) == 1 and told[0].startswith(f"error: {outputs}"), done.stderr
    assert "Traceback" not in done.stderr
    assert content(copy) == expected[0]
