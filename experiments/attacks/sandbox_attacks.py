"""Attacks of a step on the sandbox, on its siblings and on what the host concludes about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from checkouts import HERE, WEAKER, Outcome, Target
from stand_ins import TASK, CountingTool

CHANGE_FOLDERS = """
import ctypes, os, time
libc = ctypes.CDLL(None)
end = time.monotonic() + 3
while time.monotonic() < end:
    for n in range(2, 60):
        for path in (b"/scratch/%d" % n, b"../%d" % n):
            libc.chmod(path, 0)
            libc.utime(path, 0)
    for path in ("/scratch", "..", "/", "/scratch/..", "/proc/self/cwd/.."):
        libc.chmod(path.encode(), 0)
"""
BURN = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\nprint('done')"
HASHES = """
import hashlib, threading
def work():
    while True: hashlib.sha256(bytes(1_000_000))
threads = [threading.Thread(target=work) for _ in range(31)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


async def change_folders_of_siblings(target: Target) -> Outcome:
    """A1: a step changes the permissions of all folders that it can name, again and again; others must not notice."""
    async with target.open_sandbox(timeout=10.0) as sandbox:
        victim, attacker = [await sandbox.start(TASK, CountingTool()) for _ in range(2)]
        await victim.run("open('mine', 'w').write('kept')")
        attacking = asyncio.ensure_future(attacker.run(CHANGE_FOLDERS))
        await asyncio.sleep(0.2)
        failed = 0
        for _ in range(12):
            try:
                honest = await asyncio.wait_for(sandbox.start(TASK, CountingTool()), 20)
                failed += not (await honest.run("open('f', 'w').write('x'); print(open('f').read())")).ran
                await honest.close()
            except Exception:
                failed += 1
        with suppress(Exception):
            failed += not (await (await victim.branch()).run("print(open('mine').read())")).ran
        attacking.cancel()
        await asyncio.gather(attacking, return_exceptions=True)
    return Outcome(f"{failed} of 13 honest steps after it fail", not failed)


async def break_the_audit(target: Target) -> Outcome:
    """A2: a process gives itself a name that is no text; the audit of idle processes must go on."""
    name = "import ctypes\nctypes.CDLL(None).prctl(15, b'\\xff\\xff) R', 0, 0, 0)"
    async with target.open_sandbox() as sandbox:
        interpreter = await sandbox.start(TASK, CountingTool())
        await interpreter.run(name)
        try:
            await asyncio.wait_for(sandbox.audit(), 3.5)
        except TimeoutError:
            return Outcome("the audit goes on", True)
        except Exception as error:
            return Outcome(f"the audit ends: {type(error).__name__}: {error}", False)
    return Outcome("the audit returned", False)


async def kill_the_sandbox(target: Target) -> Outcome:
    """A4: the sandbox's first process is killed from outside; a step in progress must not be to blame."""
    async with target.open_sandbox() as sandbox:
        interpreter = await sandbox.start(TASK, CountingTool())
        running = asyncio.ensure_future(interpreter.run("import time\ntime.sleep(2)\nprint('done')"))
        await asyncio.sleep(0.5)
        first = psutil.Process().children()[0]
        first.kill()
        try:
            execution = await asyncio.wait_for(running, 15)
            ended = f"the step ends with status {execution.status!r} and output {execution.observation!r}"
            blamed = not execution.ran
        except Exception as error:
            ended, blamed = f"internal error {type(error).__name__}", False
        try:
            again = await asyncio.wait_for(sandbox.start(TASK, CountingTool()), 15)
            restarted = (await again.run("print(1)")).ran
        except Exception as error:
            return Outcome(f"{ended}; no further start: {type(error).__name__}", False)
    return Outcome(f"{ended}; the next one {'runs' if restarted else 'fails'}", not blamed and restarted)


async def starve_others(target: Target) -> Outcome:
    """A5: steps with 31 computing threads each run beside honest steps; no honest one may reach its time limit."""
    async with target.open_sandbox(timeout=4.0) as sandbox:
        hogs = [await sandbox.start(TASK, CountingTool()) for _ in range(3)]
        honest = [await sandbox.start(TASK, CountingTool()) for _ in range(7)]
        hashing = [asyncio.ensure_future(hog.run(HASHES)) for hog in hogs]
        await asyncio.sleep(0.3)
        codes = [BURN.format(seconds=0.8 + 0.3 * k) for k in range(7)]
        steps = await asyncio.gather(*(each.run(code) for each, code in zip(honest, codes, strict=True)))
        stopped = sum(step.status == "timeout" for step in await asyncio.gather(*hashing))
    late = sum(step.status == "timeout" for step in steps)
    return Outcome(f"{late} of 7 honest steps time out, {stopped} of 3 hostile ones", not late and stopped == 3)


FORGE = """
import sys
for name, module in list(sys.modules.items()):
    if name.startswith('codetool'):
        for each in ('describe', 'format_exception', 'compile'):
            if hasattr(module, each): setattr(module, each, lambda *a, **k: '')
import builtins, ast, traceback
builtins.compile = lambda *a, **k: (lambda: None).__code__
ast.parse = lambda *a, **k: ast.Module([], [])
"""


async def forge_verdicts(target: Target) -> Outcome:
    """A10: an earlier step replaces what reports errors; a step that is no Python must still count as failed."""
    codes = {"no Python": "this is not python (", "return": "return 1", "raises": "1 / 0"}
    ends = {}
    async with target.open_sandbox() as sandbox:
        root = await sandbox.start(TASK, CountingTool())
        await root.run(FORGE)
        for name, code in codes.items():
            branch = await root.branch()
            ends[name] = (await branch.run(code)).status
    ran = [name for name, status in ends.items() if status == "ok"]
    return Outcome(f"after the forgery: {ends}", not ran)


async def delay_branches(target: Target) -> Outcome:
    """A11: each child of a process sleeps before it answers; the time is limited, once for the parent."""
    async with target.open_sandbox() as sandbox:
        root = await sandbox.start(TASK, CountingTool())
        await root.run("import os, time\nos.register_at_fork(after_in_child=lambda: time.sleep(1000))")
        started = time.monotonic()
        ends, charged = [], 0.0
        for _ in range(3):
            try:
                execution = await (await root.branch()).run("print(1)")
                ends.append(execution.status)
                charged += execution.seconds
            except Exception as error:
                ends.append(type(error).__name__)
    spent = time.monotonic() - started
    return Outcome(f"three branches cost {spent:.1f} s ({', '.join(ends)}), {charged:.1f} s of it charged", spent < 10)


WRITE = """
written = 0
try:
    for n in range(200):
        with open('f%d' % n, 'wb', buffering=0) as file:
            for _ in range(3): written += file.write(bytes(1 << 20))
except OSError as error: print(type(error).__name__)
print(written >> 20)
"""


async def fill_the_disk(target: Target) -> Outcome:
    """A15: without user namespaces, a step writes 600 MiB into a scratch folder of 4 MiB."""
    return await run_weaker(target, "_fill_the_disk")


async def _fill_the_disk(target: Target) -> Outcome:
    import logging

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("codetool").addHandler(handler)
    async with target.open_sandbox(isolation="best_effort", scratch_mib=4, timeout=30.0) as sandbox:
        root = await sandbox.start(TASK, CountingTool())
        execution = await root.run(WRITE)
        words = " ".join(said)
    warned = "scratch" in words and ("limit" in words or "bound" in words or "MiB" in words)
    written = (execution.observation.split() or [execution.status])[-1]
    bounded = not written.isdigit() or int(written) <= 8
    return Outcome(f"{written} MiB written, {'said' if warned else 'not said'}", bounded or warned)


async def run_weaker(target: Target, function: str, python: Path = Path(sys.executable)) -> Outcome:
    """Run a function of this module in a process that may not make user namespaces."""
    command = [sys.executable, str(WEAKER), "no_namespaces", str(python), str(HERE.parent / "attacks.py")]
    command += ["--attack", f"sandbox_attacks.{function}", "--checkout", str(target.checkout)]
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-1, env=os.environ)
    out, err = await process.communicate()
    happened, _, right = (out.decode().strip().splitlines() or [""])[-1].rpartition("\t")
    return Outcome(happened or err.decode()[-300:], right == "True")


HONEST_PATHS = {
    "chdir": ("import os; os.mkdir('d'); os.chdir('d'); open('f', 'w').write('x')", "print(open('f').read())"),
    "mkdtemp": (
        "import tempfile; d = tempfile.mkdtemp(); open(d + '/f', 'w').write('x')",
        "print(open(d + '/f').read()); open(d + '/g', 'w')",
    ),
    "sqlite": (
        "import sqlite3; c = sqlite3.connect('b.db'); c.execute('create table t (a)'); c.commit()",
        "c.execute('insert into t values (1)'); c.commit(); print(c.execute('select * from t').fetchall())",
    ),
    "absolute path": (
        "import os; p = os.path.abspath('f'); open(p, 'w').write('x')",
        "print(open(p).read()); open(p, 'a').write('y')",
    ),
    "sparse files": (
        "for name in 'stu': open(name, 'wb').truncate(3 << 20)",
        "import os; print(sum(os.path.getsize(name) for name in 'stu'))",
    ),
    "open file": ("f = open('o', 'w+'); f.write('ab'); f.flush()", "f.write('c'); f.seek(0); print(f.read())"),
}


async def keep_files(target: Target) -> Outcome:
    """A17: honest code finds its files where it left them, in the next step of a branch."""
    broken = []
    async with target.open_sandbox() as sandbox:
        for name, (first, second) in HONEST_PATHS.items():
            root = await sandbox.start(TASK, CountingTool())
            before = await root.run(first)
            branch = await (await root.branch()).branch()
            after = await branch.run(second)
            if not (before.ran and after.ran and after.observation.strip()):
                broken.append(f"{name} ({(before.error or after.error or after.status).split(':')[0]})")
            await root.close()
    return Outcome(f"{len(broken)} of {len(HONEST_PATHS)} programs break: {', '.join(broken) or 'none'}", not broken)


async def read_gold_answers(target: Target) -> Outcome:
    """A8: without user namespaces, a step reads the test split of a package that is installed as a copy."""
    environment = target.folder / "environment"
    site = environment / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    shutil.copytree(target.checkout / "codetool", site / "codetool", ignore=shutil.ignore_patterns("adapters"))
    (site / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    (environment / "bin").mkdir()
    (environment / "bin/python").symlink_to(Path(sys.executable).resolve())
    (environment / "pyvenv.cfg").write_text(f"home = {Path(sys.base_prefix, 'bin')}\n")
    os.environ["PYTHONPATH"] = ""
    return await run_weaker(target, "_read_gold_answers", environment / "bin/python")


async def _read_gold_answers(target: Target) -> Outcome:
    import codetool.types

    package = Path(codetool.types.__file__).parent
    paths = [package / "benchmarks/data/tmdb_verified/test.jsonl", package / "types.py"]
    paths += [Path("/proc/self/root") / path.relative_to("/") for path in paths]
    async with target.open_sandbox(isolation="best_effort") as sandbox:
        root = await sandbox.start(TASK, CountingTool())
        read = [str(path) for path in paths if (await root.run(f"print(open({str(path)!r}).read(99))")).ran]
    installed = "site-packages" in str(package)
    return Outcome(f"{len(read)} of {len(paths)} paths to the package can be read", installed and not read)


SANDBOX_ATTACKS = {
    "A1": change_folders_of_siblings,
    "A2": break_the_audit,
    "A4": kill_the_sandbox,
    "A5": starve_others,
    "A8": read_gold_answers,
    "A10": forge_verdicts,
    "A11": delay_branches,
    "A15": fill_the_disk,
    "A17": keep_files,
}
