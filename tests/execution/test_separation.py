"""Hostile code cannot make its branches share something, nor harm a branch of others by what it does to its own."""

import asyncio
import os
from pathlib import Path

import pytest
from sandbox_support import TASK, Tool, settings

from codetool.execution.forking import fork_process
from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.live_process import LiveProcess
from codetool.execution.protocol import ProtocolError
from codetool.execution.sandbox import Sandbox

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.environ.get("CODETOOL_TEST_ISOLATION") == "best_effort", reason="needs a mount namespace for each branch"
    ),
]

WORKER = "import os, sys\nworker = sys.modules['codetool.execution.inside.worker']\n"
FILL = "open('f', 'w').write('BREACH')\n"
SABOTAGE = {
    "stays in its parent's mounts": (
        "worker.unshare = lambda flags: None",
        "it did not move into a mount namespace of its own",
    ),
    "keeps its parent's open files": (
        "worker.scratch.FolderCopy.run = lambda self: None\nkept = os.open('.', os.O_DIRECTORY)",
        "it holds an open file of its parent",
    ),
    "keeps a file that its parent removed": (
        "kept = open('g', 'w'); os.unlink('g')\nworker.scratch.FolderCopy._replace = lambda *_: None",
        "it holds an open file of its parent",
    ),
    "keeps a pipe to its siblings": (
        "pipe = os.pipe()\nworker.scratch.FolderCopy.run = lambda self: None",
        "it holds an open file of its parent",
    ),
    "keeps its parent's line to the host": (
        "worker.HostConnection.switch_socket = lambda self, socket: setattr(self, 'socket', socket)\n"
        "kept = os.dup(3)\nworker.scratch.FolderCopy.run = lambda self: None",
        "it holds an open file of its parent",
    ),
    "works in its parent's folder": (
        "worker.os.chdir = lambda path: None",
        "it works in its parent's folder",
    ),
    "starts a thread among its parent's mounts": (
        "import threading, time\ndef sleep(): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
        "os.register_at_fork(after_in_child=sleep)",
        "it has threads before its first step",
    ),
    "leaves its mounts in a thread": (
        "import threading\nunshare = worker.unshare\n"
        "def by_thread(flags):\n    t = threading.Thread(target=unshare, args=(flags,)); t.start(); t.join()\n"
        "worker.unshare = by_thread",
        "it did not move into a mount namespace of its own",
    ),
    "moves twice": (
        "unshare = worker.unshare\nworker.unshare = lambda flags: (unshare(flags), unshare(flags))",
        "Operation not permitted",
    ),
    "dies": ("worker.unshare = lambda flags: os._exit(0)", "closed"),
    "reports nonsense": ("worker.HostConnection.send = lambda self, kind, **_: self.socket.sendall(b'xxxx' * 9)", "."),
}


def require_process(interpreter: SandboxInterpreter) -> LiveProcess:
    assert interpreter.process is not None
    return interpreter.process


@pytest.mark.parametrize("filled", [True, False])
@pytest.mark.parametrize("name", SABOTAGE)
async def test_branch_that_shares_something_is_killed(name: str, filled: bool, sandbox: Sandbox) -> None:
    sabotage, reason = SABOTAGE[name]
    root, honest = await sandbox.start(TASK, Tool()), await sandbox.start(TASK, Tool())
    execution = await root.run(WORKER + (FILL if filled else "") + sabotage)
    assert execution.status in ("ok", "killed"), execution
    if root.process is not None and root.process.alive:
        with pytest.raises(Exception, match=reason):
            await fork_process(root.process)
        assert not root.process.alive, "the process whose code is the reason ends too"
    branch = await honest.branch()
    assert (await branch.run("print(6 * 7)")).observation == "42\n"
    assert (await (await sandbox.start(TASK, Tool())).run("print(6 * 7)")).observation == "42\n"
    for interpreter in (root, honest, branch):
        await interpreter.close()


async def test_child_that_cannot_settle_does_not_cost_the_zygote(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = await sandbox.start(TASK, Tool())

    def refuse(*_: object) -> None:
        raise ProtocolError("made up")

    with monkeypatch.context() as patch:
        patch.setattr("codetool.execution.forking.check_separation", refuse)
        with pytest.raises(Exception, match="made up"):
            await sandbox.start(TASK, Tool())
    assert (await honest.run("print(1)")).observation == "1\n"
    assert (await (await sandbox.start(TASK, Tool())).run("print(2)")).observation == "2\n"


async def test_settled_branch_cannot_take_the_permission_of_a_new_one() -> None:
    steal = "import ctypes\nlibc = ctypes.CDLL(None)\nprint(any(libc.unshare(0x20000) == 0 for _ in range(1000)))"
    async with settings(timeout=20).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        thief = await root.branch()
        stealing = asyncio.ensure_future(thief.run(steal))
        branches = [await root.branch() for _ in range(5)]
        assert [(await branch.run("print(1)")).observation for branch in branches] == ["1\n"] * 5
        assert (await stealing).observation == "False\n"


async def test_step_that_closes_every_folder_it_can_name_ends_no_other_task(sandbox: Sandbox) -> None:
    attacker = await sandbox.start(TASK, Tool())
    code = (
        "import ctypes, time\nlibc = ctypes.CDLL(None)\nend = time.time() + 0.4\nwhile time.time() < end:\n"
        "    libc.chmod(b'/scratch', 0)\n    for n in range(2, 60):\n"
        "        for path in (f'/scratch/{n}', f'/scratch/home/.branches/{n}', f'../{n}'): libc.chmod(path.encode(), 0)"
    )

    async def work(number: int) -> str:
        root = await sandbox.start(TASK, Tool())
        await root.run(f"open('f', 'w').write('{number}')")
        branch = await root.branch()
        execution = await branch.run("print(open('f').read())")
        await root.close()
        await branch.close()
        return execution.observation

    attack = asyncio.ensure_future(attacker.run(code))
    assert await asyncio.gather(*(work(n) for n in range(20))) == [f"{n}\n" for n in range(20)]
    assert (await attack).status in ("ok", "timeout")


@pytest.mark.parametrize("path", ["/scratch", "/scratch/home", "."])
async def test_closed_folder_harms_only_itself_and_its_branches_start(path: str, sandbox: Sandbox) -> None:
    root, other = await sandbox.start(TASK, Tool()), await sandbox.start(TASK, Tool())
    await root.run(f"import os\nopen('f', 'w').write('x')\ntry: os.chmod({path!r}, 0)\nexcept OSError: pass")
    branch = await root.branch()
    assert (await branch.run("os.chmod('/scratch/home', 0o700)\nprint(open('f').read())")).observation == "x\n"
    assert (await (await other.branch()).run("print(2)")).observation == "2\n"
    assert (await (await sandbox.start(TASK, Tool())).run("open('f', 'w')\nprint(3)")).observation == "3\n"


async def test_deep_folders_and_odd_names_are_copied_or_left_out() -> None:
    code = (
        "import os\nfor n in range(500):\n    os.mkdir('d'); os.chdir('d')\nos.chdir('/scratch/home')\n"
        "open(b'\\xff\\n', 'w').write('x')\nopen('.open-9', 'w').write('y'); f = open('.open-9')\nos.mkdir('.branches')"
    )
    async with settings(timeout=20).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        assert (await root.run(code)).status == "ok"
        branch = await root.branch()
        execution = await branch.run("print(open(b'\\xff\\n').read(), f.read(), os.path.isdir('d/d/d'))")
        assert execution.observation == "x y True\n"


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/proc/self/autogroup").exists(), reason="a user's changes may come too often"
)
async def test_step_yields_to_the_host_only_when_it_runs_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codetool.execution.process_status.YIELD_SECONDS", 0.2)
    async with settings().open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        share = Path(f"/proc/{require_process(root).pid}/autogroup")
        await root.run("x = 1")
        assert share.read_text().endswith("nice 0\n")
        await root.run("import time\ntime.sleep(0.4)")
        assert share.read_text().endswith("nice 10\n")
        branch = await root.branch()
        assert Path(f"/proc/{require_process(branch).pid}/autogroup").read_text().endswith("nice 0\n")


async def test_each_branch_has_a_session_of_its_own(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    branches = [root, await root.branch(), await root.branch()]
    sessions = {os.getsid(require_process(branch).pid) for branch in branches}
    assert sessions == {require_process(branch).pid for branch in branches}
