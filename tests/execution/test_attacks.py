import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from attacks import HELPERS, Attack, bundles
from sandbox_support import BREACH, TASK, Tool, settings

from codetool.execution.interpreter import SandboxInterpreter
from codetool.execution.sandbox import Sandbox
from codetool.types import HttpRequest, ToolAnswer, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROJECT = Path(__file__).parents[2]
STEP_SECONDS = 0.2
"""The limit of a step in this module's sandbox."""
BUNDLES = bundles(12)


async def pid(interpreter: SandboxInterpreter) -> int:
    return int((await interpreter.run("import os\nprint(os.getpid())")).observation)


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def short_limits() -> AsyncIterator[None]:
    """Less patience with forks, of which some attacks use up all."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr("codetool.execution.forking.FORK_SECONDS", 0.5)
    yield
    monkeypatch.undo()


@pytest.mark.parametrize("attacks", BUNDLES, ids=lambda attacks: f"{attacks[0].section}: {attacks[0].name}")
async def test_attacks_fail_and_cost_only_their_own_branches(attacks: list[Attack], sandbox: Sandbox) -> None:
    known = set(sandbox.handle.processes())
    root = await sandbox.start(TASK, Tool())
    victims, sibling = [await root.branch() for _ in attacks], await root.branch()
    sibling_pid = await pid(sibling)
    at_once = asyncio.Semaphore(4)

    async def attack_limited(attack: Attack, victim: SandboxInterpreter) -> None:
        async with at_once:
            await check_attack(attack, victim, sibling_pid)

    await asyncio.gather(*map(attack_limited, attacks, victims))
    for other in (sibling, await root.branch()):
        assert (await other.run("print(6 * 7)")).observation == "42\n"
        await other.close()
    await root.close()
    assert {process.pid for process in set(sandbox.handle.processes()) - known} == set()
    assert sandbox.counts.keys() <= {"replaced_functions"}


async def check_attack(attack: Attack, victim: SandboxInterpreter, sibling: int) -> None:
    secret = os.environ["CODETOOL_TEST_FILE"]
    filled = {"FILE": secret, "PROJECT": str(PROJECT), "HOST": str(os.getpid()), "SIBLING": str(sibling)}

    def fill(code: str) -> str:
        return re.sub(rf"\b({'|'.join(filled)})\b", lambda match: filled[match[0]], code)

    used, execution = [victim], await victim.run(fill(attack.code))
    for in_branch, code in attack.later:
        assert BREACH not in execution.observation, attack.name
        if not execution.ran:
            break
        if in_branch:
            used.append(await used[-1].branch())
        execution = await used[-1].run(fill(code))
    assert BREACH not in execution.observation, f"{attack.name}: {execution}"
    assert execution.status in attack.ends, f"{attack.name}: {execution}"
    if execution.status == "exception" and attack.errors:
        assert (execution.error or "").startswith(attack.errors), f"{attack.name}: {execution}"
    assert execution.seconds < 3, attack.name
    assert len(execution.observation) <= 2100 + 1100, attack.name
    for interpreter in used:
        await interpreter.close()


async def test_sibling_keeps_running_while_the_attack_runs() -> None:
    async with settings(timeout=30).open() as sandbox:
        root = await sandbox.start(TASK, Tool())
        loop, other = await root.branch(), await root.branch()
        running = asyncio.ensure_future(loop.run("while True: print('x' * 10000)"))
        await asyncio.sleep(0.1)
        assert (await other.run("print(1)")).observation == "1\n"
        assert not running.done()
        await loop.close()
        assert (await running).status == "killed"


async def test_branch_cannot_see_its_siblings_files_nor_its_parents(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    await root.run("import os\nroot = os.getcwd()")
    first, second = await root.branch(), await root.branch()
    await root.run("open('root.txt', 'w').write('BREACH')")
    folder = (await first.run("open('own.txt', 'w').write('BREACH')\nprint(os.getcwd())")).observation.strip()
    for path in (f"{folder}/own.txt", f"{folder}/../../root.txt", f"{folder}/../home/own.txt"):
        execution = await second.run(f"print(open({path!r}).read())")
        assert re.match("PermissionError|FileNotFoundError", execution.error or ""), execution
    execution = await second.run("print(open(root + '/root.txt').read())")
    assert re.match("PermissionError|FileNotFoundError", execution.error or ""), execution
    execution = await root.run(f"print(open({folder!r} + '/own.txt').read())")
    assert re.match("PermissionError|FileNotFoundError", execution.error or ""), "a parent must not see its branch"
    for interpreter in (first, second, root):
        await interpreter.close()


async def test_full_scratch_folder_leaves_room_for_others(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    full, other = await root.branch(), await root.branch()
    if sandbox.in_force["namespaces"].startswith("NO"):
        pytest.skip("without mounts a scratch folder has no size of its own")
    fill = "try:\n    for n in range(10**6): open(f'f{n}', 'wb').write(bytes(2**16))\nexcept OSError as e: print(e)"
    assert "No space left" in (await full.run(fill)).observation
    assert (await other.run("open('f', 'wb').write(bytes(2**20))")).status == "ok"
    child = await full.branch()
    assert (await child.run("print('alive')")).observation == "alive\n"
    for interpreter in (full, other, child, root):
        await interpreter.close()


async def test_code_that_forges_its_end_and_runs_on_is_found_and_killed(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    forger = await root.branch()
    execution = await forger.run(
        HELPERS["line"]
        + "line.socket.sendall(frame(kind='done', token=line.token, observation='x', error=None))\nwhile True: pass"
    )
    assert execution.observation == "x"
    process = forger.process
    assert process is not None
    for _ in range(50):
        await asyncio.sleep(0.1)
        if not process.alive:
            break
    assert not process.alive
    assert (await root.run("print(1)")).observation == "1\n"
    await root.close()


async def test_answer_that_is_never_read_costs_no_more_than_the_steps_time(sandbox: Sandbox) -> None:
    async def long(request: HttpRequest) -> ToolAnswer:
        return ToolAnswer(ToolCall("GET", request.url, {}), 200, "x" * 3_000_000, "replica")

    root = await sandbox.start(TASK, long)
    code = HELPERS["line"] + (
        "line.socket.sendall(frame(kind='call', token=line.token, method='GET', url='https://a.example', body=None))\n"
        "import time\ntime.sleep(60)"
    )
    assert (await asyncio.wait_for(root.run(code), 30)).status == "timeout"
    await root.close()
    async with settings(timeout=60).open() as patient:
        closed = await patient.start(TASK, long)
        step = asyncio.ensure_future(closed.run(code))
        await asyncio.sleep(0.2)
        await closed.close()
        assert (await asyncio.wait_for(step, 30)).status == "killed"


async def test_interpreter_that_sabotages_its_own_fork_is_built_anew(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    bad = await root.branch()
    await bad.run("import os\nos.register_at_fork(after_in_child=lambda: os._exit(1))")
    execution = await (await bad.branch()).run("print(1)")
    assert execution.observation == "1\n"
    assert (await root.run("print(1)")).observation == "1\n"
    await root.close()


async def test_threads_do_not_survive_their_step(sandbox: Sandbox) -> None:
    root = await sandbox.start(TASK, Tool())
    execution = await root.run(
        "import threading, time\nticks = []\ndef tick():\n    while True: ticks.append(1); time.sleep(0.001)\n"
        "threading.Thread(target=tick, daemon=True).start()\nprint('started')"
    )
    assert execution.status == "ok"
    assert execution.observation.startswith("started\n[Threads")
    before = (await root.run("print(len(ticks))")).observation
    await asyncio.sleep(0.1)
    assert (await root.run("print(len(ticks))")).observation == before
    await root.close()
