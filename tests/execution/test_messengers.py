"""What a branch could learn of another by way of their ancestor, a file that both see, or the kernel's bookkeeping."""

import asyncio
import time
from pathlib import Path

import pytest
from attacks import HELPERS
from sandbox_support import TASK, Tool, settings

from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.sandbox import Sandbox
from codetool.execution.settling import is_apart

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEEP_SOCKET = """
import os, select, stat
kept, stolen = [], []
close = os.close
def keep(number):
    try:
        if stat.S_ISSOCK(os.fstat(number).st_mode): kept.append(os.dup(number))
    except OSError: pass
    close(number)
os.close = keep
def look():
    for number in kept:
        if select.select([number], [], [], 0)[0]: stolen.append(os.read(number, 1000))
os.register_at_fork(before=look)
"""


async def test_ancestor_that_keeps_the_socket_of_a_branch_is_not_used_any_more(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    assert (await root.run(KEEP_SOCKET)).status == "ok"
    first = await root.branch()
    assert (await first.run("print('only for the first')")).observation == "only for the first\n"
    second = await root.branch()
    assert (await second.run("print(len(kept), stolen)")).observation == "0 []\n"
    await root.close()


@pytest.mark.parametrize("where", ["its open files", "its unread messages"])
async def test_socket_is_found_where_a_parent_keeps_it(
    where: str, root: SandboxInterpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was sent is in the unread message, too, until it is received."""
    branch = await root.branch()
    assert root.process is not None
    parent = root.process
    monkeypatch.setattr("codetool.execution.forking.FORK_SECONDS", 0.3)
    if where == "its open files":
        monkeypatch.setattr("codetool.execution.forking.is_apart", lambda *_: False)
        assert (await (await root.branch()).run("print(1)")).observation == "1\n", "it is rebuilt from the zygote"
    else:
        monkeypatch.setattr("codetool.execution.channel.Channel.has_unread_data", lambda _: True)
        assert "delays every fork" in ((await (await root.branch()).run("print(1)")).error or "")
    assert not parent.alive
    monkeypatch.undo()
    assert (await branch.run("print(2)")).observation == "2\n"


async def test_parent_is_apart_only_while_it_sleeps_and_without_the_socket(root: SandboxInterpreter) -> None:
    assert root.process is not None
    held = {file.stat().st_ino for file in Path(f"/proc/{root.process.pid}/fd").iterdir()}
    deadline = time.monotonic() + 10
    while is_apart(root.process.pid, 1) is None and time.monotonic() < deadline:
        await asyncio.sleep(0.001)
    assert is_apart(root.process.pid, 1) is True
    assert all(is_apart(root.process.pid, inode) is False for inode in held)


async def test_ends_of_branches_tell_their_ancestor_nothing(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    await root.run(
        "import os, signal, resource\nseen = []\n"
        "try: signal.signal(signal.SIGCHLD, signal.SIG_DFL); print('handled')\nexcept OSError: pass\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])\n"
        "def look():\n"
        "    for wait in (lambda: os.waitpid(-1, os.WNOHANG), lambda: os.waitid(os.P_ALL, 0, os.WEXITED)):\n"
        "        try: seen.append(wait())\n"
        "        except ChildProcessError: pass\n"
        "    if signal.sigtimedwait([signal.SIGCHLD], 0): seen.append('signal')\n"
        "    if resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime: seen.append('time')\n"
        "os.register_at_fork(before=look)"
    )
    first = await root.branch()
    assert (await first.run("import os\nos._exit(42)")).status == "killed"
    assert (await (await root.branch()).run("print(seen)")).observation == "[]\n"
    await root.close()


async def test_lock_of_a_file_that_all_see_tells_nobody_anything(root: SandboxInterpreter) -> None:
    first, second = await root.branch(), await root.branch()
    lock = "import fcntl, json, struct\nf = open(json.__file__)\n"
    for kind in ("fcntl.flock(f, fcntl.LOCK_EX)", "fcntl.lockf(f, fcntl.LOCK_SH)"):
        assert (await first.run(lock + kind)).status == "ok"
    look = (
        f"{lock}fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "asked = fcntl.fcntl(f, fcntl.F_GETLK, struct.pack('hhqqi', fcntl.F_WRLCK, 0, 0, 0, 0))\n"
        "print(struct.unpack('hhqqi', asked)[0] == fcntl.F_UNLCK)"
    )
    assert (await second.run(look)).observation == "True\n"


async def test_database_works_without_effective_locks(root: SandboxInterpreter) -> None:
    code = (
        "import sqlite3\na, b = sqlite3.connect('d'), sqlite3.connect('d')\n"
        "a.execute('create table t (x)'); a.execute('insert into t values (1)'); a.commit()\n"
        "b.execute('insert into t values (2)'); b.commit()\nprint(a.execute('select sum(x) from t').fetchone())"
    )
    assert (await root.run(code)).observation == "(3,)\n"


async def test_message_that_drips_does_not_stop_the_clock() -> None:
    drip = HELPERS["line"] + (
        "import time\nos.write(line.socket.fileno(), struct.pack('!I', 100000))\n"
        "while True: os.write(line.socket.fileno(), b'x'); time.sleep({pause})"
    )
    async with settings(timeout=0.4).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        for pause in (0.001, 0.05):
            execution = await asyncio.wait_for((await root.branch()).run(drip.format(pause=pause)), 30)
            assert execution.status == "timeout", execution


async def test_report_of_any_size_is_cut_and_its_text_is_text(root: SandboxInterpreter) -> None:
    execution = await root.run(
        HELPERS["line"]
        + "line.socket.sendall(frame(kind='done', token=line.token, observation='\\ud800' * 9000, error='e' * 200000, "
        "stderr='s' * 9000))\nimport time\ntime.sleep(60)"
    )
    assert execution.status == "exception"
    assert len(execution.error or "") == 2500
    assert execution.observation.startswith("?" * 2000)
    assert len(execution.observation) < 3100


async def test_headers_of_a_request_are_text(sandbox: Sandbox) -> None:
    tool = Tool()
    root = await sandbox.start(TASK, tool)
    await root.run(
        HELPERS["line"] + "line.socket.sendall(frame(kind='call', token=line.token, method='GET', body=None, "
        "url='https://a.example/\\ud800', headers=[['n\\ud800', 'v\\ud800']]))\nimport time\ntime.sleep(60)"
    )
    assert [(request.url, request.headers) for request in tool.asked] == [("https://a.example/?", (("n?", "v?"),))]
    await root.close()
