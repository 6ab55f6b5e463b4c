"""The host finds syntax errors, and no code makes it compile for long or in much memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sandbox_support import TASK, Tool, settings

from codetool.execution.syntax_check import find_syntax_error, is_cheap

LIMITED = """
import resource, sys
from codetool.execution.syntax_check import is_cheap
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
print(is_cheap(sys.stdin.read()))
# VmHWM, as ru_maxrss begins with the size of the process that this one was forked from
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
NESTED = "".join("\t" * i + "try: x\n" + "\t" * i + "finally:\n" for i in range(19)) + "\t" * 19 + "x;" * 3000
RETURNS = "def f():\n try:\n" + "  if x: return 1\n" * 2000 + " finally:\n  " + "y;" * 10_000
TRIES = "".join(" " * i + "try:\n" for i in range(1, 18)) + " " * 18 + "return 1\n"
ENDS = "".join(" " * i + "finally:\n" + " " * (i + 1) + "if x: return 2\n" for i in range(17, 0, -1))
EXITS = "async def f():\n async with " + ",".join("a" * 19) + ":\n" + "  if x: return 1\n" * 3500
FIELDS = 'f"' + "{1}" * 100_000 + '"'
CLASSES = "class A: pass\n" * 20_000


@pytest.mark.parametrize("code", [NESTED, RETURNS, f"def f():\n{TRIES}{ENDS}", EXITS, FIELDS, CLASSES])
def test_code_that_python_multiplies_is_not_compiled_by_the_host(code: str) -> None:
    command = [sys.executable, "-c", LIMITED]
    done = subprocess.run(command, input=code, capture_output=True, text=True, timeout=60, check=False)
    found, kibibytes = done.stdout.split()
    assert (done.returncode, found, done.stderr) == (0, "False", "")
    assert int(kibibytes) < 100 * 1024


@pytest.mark.parametrize("code", ["return", "break", "def f(a, a): pass", "x = (", "nonlocal x", "[x := 1 for x in y]"])
@pytest.mark.parametrize("before", ["", "try: pass\nfinally: x = 1\n", "x = 1\n" * 3000])
def test_error_of_any_pass_of_the_compiler_is_found(code: str, before: str) -> None:
    assert str(find_syntax_error(before + code)).startswith("SyntaxError: ")


def test_honest_code_with_many_blocks_has_no_error() -> None:
    blocks = "def f():\n for i in x:\n  try:\n   with a as b, c: return 1\n  finally:\n   if x: return 2\n"
    assert is_cheap(blocks * 50)
    assert find_syntax_error(blocks * 50 + "return") is not None
    assert find_syntax_error(blocks * 50) is None


FORGE = "import builtins\nold = compile\nbuiltins.compile = lambda *a, **k: old('pass', 'x', 'exec')"


async def test_new_process_checks_what_the_host_does_not_compile() -> None:
    long = "x = 1\n" * 20_000
    async with settings(max_live_processes=2, timeout=2).open() as sandbox:
        root, other = await sandbox.start(TASK, Tool()), await sandbox.start(TASK, Tool())
        await root.run(FORGE)
        for code, expected in ((f"{long}x = (", "SyntaxError: '(' was never closed"), (f"{long}return", "SyntaxError")):
            execution = await (await root.branch()).run(code)
            assert (execution.status, str(execution.error)[: len(expected)]) == ("exception", expected)
        bomb = await (await root.branch()).run(NESTED)
        assert (bomb.status, bomb.error) == ("exception", "MemoryError")
        assert (await other.run(f"{long}print(x)")).observation == "1\n"
        assert sandbox.live_branches <= 2
